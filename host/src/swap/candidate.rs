//! A component that somebody offers, and the signature beside it.

use std::io;
use std::path::{Path, PathBuf};

pub use crate::sandbox::LARGEST_COMPONENT;
use crate::sandbox::read_component;

/// A component that somebody offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Where it came from, for people: a path, an S3 URL, `host swap NEW.wasm`.
    pub name: String,
    /// The component.
    pub bytes: Vec<u8>,
    /// The text of `NEW.wasm.minisig`, where there is one.
    pub signature: Option<String>,
}

impl Candidate {
    /// Reads a file, and its signature where there is one beside it.
    pub fn read(path: &Path) -> io::Result<Self> {
        let bytes = read_component(path)?;
        let mut signature = path.to_owned().into_os_string();
        signature.push(SIGNATURE_SUFFIX);
        let signature = std::fs::read_to_string(PathBuf::from(signature)).ok();
        Ok(Self { name: path.display().to_string(), bytes, signature })
    }
}

/// A signature file has four lines; what is longer is none.
pub(super) const LONGEST_SIGNATURE: u64 = 16 << 10;

/// What a component's name has behind it to name its signature.
pub const SIGNATURE_SUFFIX: &str = ".minisig";
