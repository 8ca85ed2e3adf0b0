//! A component that somebody offers, and the signature beside it.

pub use crate::sandbox::LARGEST_COMPONENT;

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

/// A signature file has four lines; what is longer is none.
pub(super) const LONGEST_SIGNATURE: u64 = 16 << 10;

/// What a component's name has behind it to name its signature.
pub const SIGNATURE_SUFFIX: &str = ".minisig";
