//! Hot swap: where a new component comes from, and whether it may be looked at.

pub mod source;
pub mod trust;

use serde::{Deserialize, Serialize};

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

/// What became of an offer; what `host swap` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The candidate's SHA-256, in lower-case hexadecimal.
    pub digest: String,
    /// In one word.
    pub outcome: SwapOutcome,
    /// The last stage that it came to, e.g. `contract`.
    pub stage: String,
    /// Why, in one line.
    pub reason: String,
    /// The digest of the component that it took over from.
    pub previous: Option<String>,
    /// The gate's report, when it came that far.
    pub gate: Option<serde_json::Value>,
    /// How long all of it took, in milliseconds.
    pub milliseconds: u64,
}

/// How an offer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SwapOutcome {
    /// It works now.
    Switched,
    /// It is what works already.
    Unchanged,
    /// It does not get to work.
    Refused,
}

/// Larger components are not read.
pub const LARGEST_COMPONENT: u64 = 64 << 20;
/// A signature file has four lines; what is longer is none.
const LONGEST_SIGNATURE: u64 = 16 << 10;

/// What a component's name has behind it to name its signature.
pub const SIGNATURE_SUFFIX: &str = ".minisig";
