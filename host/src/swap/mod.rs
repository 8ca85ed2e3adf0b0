//! Hot swap: where a new component comes from, whether it may be looked at, how it is compared with the one that works, and
//! how it is watched once it works itself.

mod aside;
mod deployed;
pub mod gate;
mod keep;
mod ledger;
mod passage;
mod probation;
mod shadow;
pub mod source;
mod swapper;
pub mod trust;

use serde::{Deserialize, Serialize};

pub use crate::sandbox::LARGEST_COMPONENT;
pub use deployed::{Deployed, short};
pub use keep::Keep;
pub use ledger::in_words as distrust_in_words;
pub use probation::ProbationSettings;
pub use shadow::Shadow;
pub use swapper::{SwapSettings, Swapper};

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

/// What a candidate goes through, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Its bytes are there.
    Read,
    /// It is another one than the one that works, and none that was taken back.
    Digest,
    /// Pinned, or signed, where that is asked for.
    Trust,
    /// The contract's version, and no import that is not granted.
    Contract,
    /// Made native code, while the work goes on.
    Compile,
    /// Compared with the one that works.
    Gate,
    /// Put to work.
    Switch,
}

impl Stage {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Digest => "digest",
            Self::Trust => "trust",
            Self::Contract => "contract",
            Self::Compile => "compile",
            Self::Gate => "gate",
            Self::Switch => "switch",
        }
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A signature file has four lines; what is longer is none.
const LONGEST_SIGNATURE: u64 = 16 << 10;

/// What a component's name has behind it to name its signature.
pub const SIGNATURE_SUFFIX: &str = ".minisig";
