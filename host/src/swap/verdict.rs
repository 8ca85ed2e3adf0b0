//! What becomes of an offer, and the stages that it goes through.

use serde::{Deserialize, Serialize};

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
    /// It is another one than the one that works, and none that was rolled back.
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
