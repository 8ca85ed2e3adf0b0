//! A component that is loaded and can be put to work.

use std::sync::Arc;

use tokio::sync::OnceCell;

use super::aside::{aside, with_helpers};
use super::deployment::Component;
use crate::sandbox::{JobCounts, LoadError, Meter, Program};

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

impl Component for Deployed {
    fn digest(&self) -> &str {
        self.program.digest()
    }

    fn counts(&self) -> JobCounts {
        self.program.tally.counts()
    }

    fn distrust(&self) {
        self.program.tally.distrust();
    }

    fn trust(&self) {
        self.program.tally.trust();
    }
}
