//! A component that was checked, compiled and linked: ready to be run.

use std::path::Path;
use std::sync::Arc;

use wasmtime::component::{Component, InstancePre};

use super::ahead;
use super::engine::Sandbox;
use super::exports::Exports;
use super::inspect::{Inspection, Refusal, inspect, read_component};
use super::state::RunState;
use super::tally::Tally;
use super::wasmtime_error;

/// The component that was built together with this host.
pub const EMBEDDED: &[u8] = include_bytes!(env!("WORKER_WASM"));

/// Why a component is not run.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("cannot read the component {path}: {reason}")]
    Read { path: String, reason: String },
    #[error("{name} is refused: {refusal}")]
    Refused { name: String, refusal: Refusal },
    #[error("{name} cannot be compiled: {reason}")]
    Compile { name: String, reason: String },
    #[error("{name} does not fit the contract: {reason}")]
    Link { name: String, reason: String },
}

/// A component that can be run.
pub struct Program {
    /// What it is.
    pub inspection: Inspection,
    /// What became of its jobs.
    pub tally: Arc<Tally>,
    pub(super) pre: InstancePre<RunState>,
    pub(super) exports: Exports,
}

impl Program {
    /// SHA-256 of the component, hexadecimal.
    pub fn digest(&self) -> &str {
        &self.inspection.sha256
    }
}

impl Sandbox {
    /// Loads a component from a file, or the one that is built in.
    pub fn load(&self, path: Option<&Path>) -> Result<Program, LoadError> {
        let Some(path) = path else {
            return self.load_bytes("the built-in component", EMBEDDED);
        };
        let name = path.display().to_string();
        let bytes =
            read_component(path).map_err(|error| LoadError::Read { path: name.clone(), reason: error.to_string() })?;
        self.load_bytes(&name, &bytes)
    }

    /// Checks, compiles (or takes from the cache, or from beside the program) and links a component.
    pub fn load_bytes(&self, name: &str, bytes: &[u8]) -> Result<Program, LoadError> {
        let (inspection, verdict) = inspect(bytes);
        verdict.map_err(|refusal| LoadError::Refused { name: name.to_owned(), refusal })?;
        let digest = inspection.sha256.as_str();
        let cached = self.cache.as_ref().and_then(|cache| cache.load(&self.engine, digest));
        // What the cache has is made for this very processor.
        let component = match cached.or_else(|| ahead::load(&self.engine, digest)) {
            Some(component) => component,
            None => {
                let component = Component::from_binary(&self.engine, bytes)
                    .map_err(|error| LoadError::Compile { name: name.to_owned(), reason: reason(&error) })?;
                if let Some(cache) = &self.cache {
                    cache.store(&self.engine, digest, &component);
                }
                component
            }
        };
        let (pre, exports) = self
            .linkers
            .link(&component)
            .and_then(|pre| Ok((pre, Exports::of(&component)?)))
            .map_err(|error| LoadError::Link { name: name.to_owned(), reason: reason(&error) })?;
        Ok(Program { inspection, tally: Arc::default(), pre, exports })
    }
}

/// The whole chain, and the flag where it is about a limit.
fn reason(error: &wasmtime::Error) -> String {
    let text = format!("{error:#}");
    if wasmtime_error::forbids_code(error) {
        return format!(
            "{text}: this process may not make code executable; take MemoryDenyWriteExecute=yes out of its unit (or the like of \
             SELinux's execmem): compiled components are code"
        );
    }
    match wasmtime_error::limit(error) {
        Some(limit) => format!("{limit}: {text}"),
        None => text,
    }
}
