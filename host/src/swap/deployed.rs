//! The component that works: one pointer, changed in one step. A run in flight ends on the component it began with.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::OnceCell;

use super::aside::{aside, with_helpers};
use crate::sandbox::{LoadError, Meter, Program};

/// A component that can be put to work.
pub struct Deployed {
    /// Where it came from, for people.
    pub name: String,
    /// As it was read.
    pub bytes: Arc<[u8]>,
    /// What came with it.
    pub signature: Option<String>,
    /// Compiled for work.
    pub program: Arc<Program>,
    /// Compiled for the gate, once it is needed there.
    metered: OnceCell<Arc<Program>>,
}

impl Deployed {
    /// A component that was loaded.
    pub fn new(name: String, bytes: impl Into<Arc<[u8]>>, signature: Option<String>, program: Program) -> Self {
        Self { name, bytes: bytes.into(), signature, program: Arc::new(program), metered: OnceCell::new() }
    }

    /// SHA-256, hexadecimal.
    pub fn digest(&self) -> &str {
        self.program.digest()
    }

    /// Its first digits, for people.
    pub fn short(&self) -> &str {
        short(self.digest())
    }

    /// Compiles it for the gate, beside the work.
    pub(super) async fn metered(&self, meter: &Arc<Meter>) -> Result<Arc<Program>, LoadError> {
        let compile = || async {
            let (meter, name, bytes) = (Arc::clone(meter), self.name.clone(), Arc::clone(&self.bytes));
            let (label, panicked) = (name.clone(), "the compiler panicked".to_owned());
            aside("compile", move || with_helpers(|| meter.load_bytes(&name, &bytes)))
                .await
                .unwrap_or(Err(LoadError::Compile { name: label, reason: panicked }))
                .map(Arc::new)
        };
        self.metered.get_or_try_init(compile).await.cloned()
    }
}

/// The beginning of a digest: enough for people to tell it from another, and for `host components allow`.
pub fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// The pointer.
pub struct Current {
    pointer: ArcSwap<Deployed>,
}

impl Current {
    /// Points to what works first.
    pub fn new(deployed: Arc<Deployed>) -> Self {
        Self { pointer: ArcSwap::new(deployed) }
    }

    /// What works now.
    pub fn load(&self) -> Arc<Deployed> {
        self.pointer.load_full()
    }

    /// Puts `to` to work if `from` works still.
    pub(super) fn switch_from(&self, from: &Arc<Deployed>, to: Arc<Deployed>) -> bool {
        Arc::ptr_eq(&self.pointer.compare_and_swap(from, to), from)
    }
}
