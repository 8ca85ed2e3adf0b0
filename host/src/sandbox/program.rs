//! A component that was checked, compiled and linked: ready to be run.

use std::path::Path;
use std::sync::Arc;

use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

use super::bindings::ReceiptWorkerPre;
use super::bindings::exports::snapceit::receipts::parser::ParseError;
use super::bindings::exports::snapceit::receipts::policy::Decision;
use super::bindings::exports::snapceit::receipts::worker::Summary;
use super::bindings::snapceit::receipts::types as wit;
use super::engine::Sandbox;
use super::inspect::{Inspection, Refusal, contract_interface, inspect, read_component};
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
    pub(super) pre: ReceiptWorkerPre<RunState>,
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

    /// Checks, compiles (or takes from the cache) and links a component.
    pub fn load_bytes(&self, name: &str, bytes: &[u8]) -> Result<Program, LoadError> {
        let (inspection, verdict) = inspect(bytes);
        verdict.map_err(|refusal| LoadError::Refused { name: name.to_owned(), refusal })?;
        let cached = self.cache.as_ref().and_then(|cache| cache.load(&self.engine, &inspection.sha256));
        let component = match cached {
            Some(component) => component,
            None => {
                let component = Component::from_binary(&self.engine, bytes)
                    .map_err(|error| LoadError::Compile { name: name.to_owned(), reason: reason(&error) })?;
                if let Some(cache) = &self.cache {
                    cache.store(&self.engine, &inspection.sha256, &component);
                }
                component
            }
        };
        let pre = self
            .linker
            .instantiate_pre(&component)
            .and_then(ReceiptWorkerPre::new)
            .and_then(|pre| check_signatures(&component).map(|()| pre))
            .map_err(|error| LoadError::Link { name: name.to_owned(), reason: reason(&error) })?;
        Ok(Program { inspection, tally: Arc::default(), pre })
    }
}

/// Linking checks the imports' signatures; the exports' would else be checked by each run, when jobs are at stake.
fn check_signatures(component: &Component) -> wasmtime::Result<()> {
    let (engine, whole) = (component.engine(), component.component_type());
    let types = whole.instance_type();
    let mut functions = Vec::new();
    for (name, export) in whole.exports(engine) {
        let (Some((interface, _)), ComponentItem::ComponentInstance(instance)) = (contract_interface(name), export.ty)
        else {
            continue;
        };
        for (function, export) in instance.exports(engine) {
            if let ComponentItem::ComponentFunc(found) = export.ty {
                functions.push((format!("{interface}.{function}"), found));
            }
        }
    }
    for (name, found) in functions {
        match name.as_str() {
            "worker.run" => found.typecheck::<(u32,), (Result<Summary, wit::Failure>,)>(&types),
            "parser.parse" => found.typecheck::<(&str,), (Result<wit::Receipt, ParseError>,)>(&types),
            "policy.decide" => found.typecheck::<(&wit::Failure, u32, u32, u64), (Decision,)>(&types),
            _ => Ok(()),
        }
        .map_err(|error| error.context(format!("its {name} has another signature than the contract's")))?;
    }
    Ok(())
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
