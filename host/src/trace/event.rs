//! The events of a trace.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::FORMAT;

/// The name of an import or export, e.g. `queue.claim`.
pub type Name = Cow<'static, str>;

/// A value as JSON text. Compared and written byte for byte: 1.0 is not 1.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Json(Box<RawValue>);

impl Json {
    /// The value as compact JSON. What JSON cannot say (a map with keys that are no text) becomes null.
    pub fn of(value: &impl Serialize) -> Self {
        Self(serde_json::value::to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned()))
    }

    /// This text, where it is one JSON value on one line.
    pub fn parse(text: String) -> Option<Self> {
        if text.contains(['\n', '\r']) {
            return None;
        }
        RawValue::from_string(text).ok().map(Self)
    }

    /// The JSON text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// Reads it as a type of ours.
    pub fn read<'de, T: Deserialize<'de>>(&'de self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.0.get())
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Json {}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The first line.
    Header(Header),
    /// An export was called.
    Enter {
        /// E.g. `worker.run`.
        export: Name,
        /// Arguments by name.
        args: Json,
    },
    /// The component called an import, and got an answer.
    Call {
        /// E.g. `queue.job.complete`.
        import: Name,
        /// What the call does to the world.
        effect: Effect,
        /// Arguments by name; handles are their numbers.
        args: Json,
        /// The answer.
        result: Json,
    },
    /// The export returned.
    Return {
        /// E.g. `worker.run`.
        export: Name,
        /// What it returned.
        result: Json,
    },
    /// The run ended without an answer.
    Failed {
        /// What ended it.
        how: FailedHow,
        /// One line for a person.
        message: String,
    },
    /// The recorder has masked a number.
    Masked {
        /// Where it stood.
        place: MaskedIn,
        /// Path of the value in that place, e.g. `Blocks[12].Text`.
        field: String,
        /// What it looked like: `card number` or `phone number`.
        what: Name,
    },
    /// The last line.
    End {
        /// Lines before this one.
        events: u64,
        /// False where the run was longer than one trace may be: then the calls before its end are missing.
        complete: bool,
    },
}

impl Event {
    /// A call of an import.
    pub fn call(import: impl Into<Name>, effect: Effect, args: &impl Serialize, result: &impl Serialize) -> Self {
        Self::Call { import: import.into(), effect, args: Json::of(args), result: Json::of(result) }
    }
}

/// Where a run came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Version of the format.
    pub format: u32,
    /// SHA-256 of the component, hexadecimal.
    pub component: String,
    /// Version of the contract that it speaks.
    pub contract: String,
    /// Version of the host.
    pub host: String,
    /// When the run began, in UTC to the microsecond.
    pub started: String,
    /// Seed of the run's randomness.
    pub seed: u64,
    /// The sandbox's limits.
    pub settings: Settings,
    /// Whether card and phone numbers are masked.
    pub redacted: bool,
}

impl Header {
    /// A run that begins now on this host. The recorder says whether it is redacted.
    pub fn new(component: &str, contract: &str, seed: u64, settings: Settings) -> Self {
        Self {
            format: FORMAT,
            component: component.to_owned(),
            contract: contract.to_owned(),
            host: env!("CARGO_PKG_VERSION").to_owned(),
            started: super::utc(std::time::SystemTime::now()),
            seed,
            settings,
            redacted: false,
        }
    }
}

/// The limits that a run had.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Bytes of one linear memory.
    pub memory: u64,
    /// Core instances.
    pub instances: u64,
    /// Tables.
    pub tables: u64,
    /// Elements of one table.
    pub table_elements: u64,
    /// Live handles.
    pub handles: u64,
    /// Bytes that one call may pass to the host.
    pub host_call_bytes: u64,
    /// The component's own computing time, in milliseconds.
    pub deadline_ms: u64,
    /// Wall-clock time for each job of the run, in milliseconds.
    pub run_timeout_ms: u64,
    /// Bytes of stdout and stderr that reach the log.
    pub log_bytes: u64,
}

/// What a call does to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Answered by the host itself.
    None,
    /// Looks at the database or the storage.
    Read,
    /// Changes them.
    Write,
    /// Calls a service that costs money.
    External,
}

/// What ended a run that did not return.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailedHow {
    /// The component crashed.
    Trap,
    /// It hit a limit on memory, handles or the like.
    Limit,
    /// It used up its computing time.
    Deadline,
    /// The whole run took too long.
    Timeout,
    /// The host stopped it.
    Cancelled,
    /// The host itself failed.
    Panic,
}

impl FailedHow {
    /// The name that traces use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Limit => "limit",
            Self::Deadline => "deadline",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Panic => "panic",
        }
    }
}

/// Where a masked value stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MaskedIn {
    /// In the OCR response of this digest.
    Response(String),
    /// In the event of this number.
    Line(u64),
}
