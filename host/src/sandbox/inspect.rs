//! What a component is, from its bytes alone, before anything of it is compiled.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::Serialize;
use wasmparser::{Encoding, Parser, Payload};

use super::contract::{CONTRACT, CONTRACT_VERSION, SERVED_VERSIONS, contract_interface, is_served};
use super::wasi;
use crate::storage::digest_of;

/// Most bytes that a component may have. Larger ones are neither read nor compiled.
pub const LARGEST_COMPONENT: u64 = 64 << 20;

const EXPORTS: [&str; 3] = ["worker", "parser", "policy"];
const IMPORTS: [&str; 4] = ["types", "objects", "queue", "textract"];

/// Why this host would not run a component.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("it is empty")]
    Empty,
    #[error("it has {0} bytes, and a component may have {LARGEST_COMPONENT}")]
    TooLarge(usize),
    #[error("it is no WebAssembly ({0})")]
    NotWasm(String),
    #[error("it is a core WebAssembly module, not a component (build it for wasm32-wasip2)")]
    CoreModule,
    #[error("it is cut off or damaged: {0}")]
    Damaged(String),
    #[error("it imports {0:?}, which the sandbox does not grant")]
    ForbiddenImport(String),
    #[error("it is made for {CONTRACT}@{found}; this host serves {}", SERVED_VERSIONS.join(" and "))]
    ContractVersion { found: String },
    #[error("it does not export {0:?}, so it is no receipt worker")]
    MissingExport(String),
}

/// What `host inspect` shows.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
    /// Size in bytes.
    pub size: usize,
    /// Names of what it exports.
    pub exports: Vec<String>,
    /// Names of what it imports.
    pub imports: Vec<String>,
    /// The contract's version that it was built against.
    pub contract: Option<String>,
}

/// Reads a component's file.
///
/// Fails where it cannot be read, and where it has more than [`LARGEST_COMPONENT`] bytes.
pub fn read_component(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path)?.take(LARGEST_COMPONENT + 1).read_to_end(&mut bytes)?;
    if read as u64 > LARGEST_COMPONENT {
        return Err(io::Error::other(format!(
            "it has more than the {LARGEST_COMPONENT} bytes that a component may have"
        )));
    }
    Ok(bytes)
}

/// Reads a component's outside, and says whether this host would run it.
pub fn inspect(bytes: &[u8]) -> (Inspection, Result<(), Refusal>) {
    let mut inspection = Inspection {
        sha256: digest_of(bytes),
        size: bytes.len(),
        exports: Vec::new(),
        imports: Vec::new(),
        contract: None,
    };
    let read = read(bytes, &mut inspection);
    inspection.contract = inspection
        .exports
        .iter()
        .chain(&inspection.imports)
        .find_map(|name| name.strip_prefix(CONTRACT)?.rsplit_once('@').map(|(_, version)| version.to_owned()));
    let verdict = read.and_then(|()| judge(&inspection));
    (inspection, verdict)
}

fn read(bytes: &[u8], inspection: &mut Inspection) -> Result<(), Refusal> {
    if bytes.is_empty() {
        return Err(Refusal::Empty);
    }
    if bytes.len() as u64 > LARGEST_COMPONENT {
        return Err(Refusal::TooLarge(bytes.len()));
    }
    if !bytes.starts_with(b"\0asm") {
        let start = String::from_utf8_lossy(bytes.get(..bytes.len().min(16)).unwrap_or_default()).into_owned();
        return Err(Refusal::NotWasm(format!("it starts with {start:?}")));
    }
    let mut depth = 0_usize;
    let mut ended = false;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|error| Refusal::Damaged(error.to_string()))? {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => return Err(Refusal::CoreModule),
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) if depth > 0 => depth -= 1,
            Payload::End(_) => ended = true,
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    let import = import.map_err(|error| Refusal::Damaged(error.to_string()))?;
                    inspection.imports.push(import.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    let export = export.map_err(|error| Refusal::Damaged(error.to_string()))?;
                    inspection.exports.push(export.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    if ended { Ok(()) } else { Err(Refusal::Damaged("it has no end".to_owned())) }
}

fn judge(inspection: &Inspection) -> Result<(), Refusal> {
    for name in &inspection.imports {
        let contract = contract_interface(name);
        let granted = match contract {
            Some((interface, version)) => {
                check_version(version)?;
                IMPORTS.contains(&interface)
            }
            None => {
                wasi::ALLOWED.iter().any(|prefix| name.starts_with(prefix))
                    && name.rsplit_once('@').is_some_and(|(_, version)| version.starts_with("0.2."))
            }
        };
        if !granted {
            return Err(Refusal::ForbiddenImport(name.clone()));
        }
    }
    for interface in EXPORTS {
        let found = inspection
            .exports
            .iter()
            .filter_map(|name| contract_interface(name))
            .find(|(exported, _)| *exported == interface);
        match found {
            Some((_, version)) => check_version(version)?,
            None => return Err(Refusal::MissingExport(format!("{CONTRACT}/{interface}@{CONTRACT_VERSION}"))),
        }
    }
    Ok(())
}

fn check_version(found: &str) -> Result<(), Refusal> {
    if is_served(found) { Ok(()) } else { Err(Refusal::ContractVersion { found: found.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(bytes: &[u8]) -> Option<Refusal> {
        inspect(bytes).1.err()
    }

    #[test]
    fn what_is_no_component_is_named() {
        assert_eq!(refusal(b""), Some(Refusal::Empty));
        assert!(matches!(refusal(b"#!/bin/sh\n"), Some(Refusal::NotWasm(_))));
        assert_eq!(refusal(b"\0asm\x01\0\0\0"), Some(Refusal::CoreModule));
        assert!(matches!(refusal(b"\0asm\x0d\0"), Some(Refusal::Damaged(_))));
    }

    #[test]
    fn an_empty_component_is_no_worker() {
        assert!(matches!(refusal(b"\0asm\x0d\0\x01\0"), Some(Refusal::MissingExport(_))));
    }
}
