//! The events of a trace, and how each is written as a line and read back.

use std::borrow::Cow;
use std::fmt;

use serde::de::IgnoredAny;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

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
        /// False where the run was longer than one trace may be: then its tail is missing.
        complete: bool,
    },
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

/// Where a masked value stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MaskedIn {
    /// In the OCR response of this digest.
    Response(String),
    /// In the event of this number.
    Line(u64),
}

/// Why a line is no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// It does not say what was written.
    #[error("it was edited: its sum does not match")]
    Edited,
    /// It is not what this version writes.
    #[error("it is no event: {0}")]
    NoEvent(String),
    /// Another version of the format.
    #[error("it is in format {0}; this host reads format {FORMAT}")]
    Format(u32),
}

impl Event {
    /// A call of an import.
    pub fn call(import: impl Into<Name>, effect: Effect, args: &impl Serialize, result: &impl Serialize) -> Self {
        Self::Call { import: import.into(), effect, args: Json::of(args), result: Json::of(result) }
    }

    /// The event as the trace's line `n`, without the line's end.
    pub fn to_line(&self, n: u64) -> String {
        // Cannot fail: text, numbers, and JSON that is JSON already.
        let mut line = serde_json::to_string(&Numbered(n, self)).unwrap_or_default();
        line.pop();
        let sum = sum_of(&line);
        line.push_str(SUM);
        line.push_str(&sum);
        line.push_str("\"}");
        line
    }

    /// Reads a line without its end: its number and its event.
    pub fn from_line(line: &str) -> Result<(u64, Self), LineError> {
        let no_event = |error: serde_json::Error| LineError::NoEvent(error.to_string());
        let sound = line
            .strip_suffix("\"}")
            .and_then(|line| line.rsplit_once(SUM))
            .is_some_and(|(text, sum)| sum == sum_of(text));
        if !sound {
            // What is no JSON at all is better called that.
            serde_json::from_str::<IgnoredAny>(line).map_err(no_event)?;
            return Err(LineError::Edited);
        }
        let members: Members = serde_json::from_str(line).map_err(no_event)?;
        if let ("header", Some(format)) = (members.event.as_str(), members.format)
            && format != FORMAT
        {
            return Err(LineError::Format(format));
        }
        let (n, name) = (members.n, members.event.clone());
        let event = members.into_event();
        event
            .map(|event| (n, event))
            .ok_or_else(|| LineError::NoEvent(format!("{name:?} is unknown, or lacks a member")))
    }
}

/// What stands between a line's text and its sum.
const SUM: &str = ",\"sum\":\"";

/// Short: it is there to find a changed line, not to keep somebody from making a trace up.
fn sum_of(text: &str) -> String {
    Sha256::digest(text).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

struct Numbered<'a>(u64, &'a Event);

impl Serialize for Numbered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(n, event) = self;
        let mut line = serializer.serialize_map(None)?;
        line.serialize_entry("n", n)?;
        line.serialize_entry("event", event.name())?;
        match event {
            Event::Header(header) => {
                line.serialize_entry("format", &header.format)?;
                line.serialize_entry("component", &header.component)?;
                line.serialize_entry("contract", &header.contract)?;
                line.serialize_entry("host", &header.host)?;
                line.serialize_entry("started", &header.started)?;
                line.serialize_entry("seed", &header.seed)?;
                line.serialize_entry("settings", &header.settings)?;
                line.serialize_entry("redacted", &header.redacted)?;
            }
            Event::Enter { export, args } => {
                line.serialize_entry("export", export)?;
                line.serialize_entry("args", args)?;
            }
            Event::Call { import, effect, args, result } => {
                line.serialize_entry("import", import)?;
                line.serialize_entry("effect", effect)?;
                line.serialize_entry("args", args)?;
                line.serialize_entry("result", result)?;
            }
            Event::Return { export, result } => {
                line.serialize_entry("export", export)?;
                line.serialize_entry("result", result)?;
            }
            Event::Failed { how, message } => {
                line.serialize_entry("how", how)?;
                line.serialize_entry("message", message)?;
            }
            Event::Masked { place, field, what } => {
                match place {
                    MaskedIn::Response(digest) => line.serialize_entry("response", digest)?,
                    MaskedIn::Line(number) => line.serialize_entry("line", number)?,
                }
                line.serialize_entry("field", field)?;
                line.serialize_entry("what", what)?;
            }
            Event::End { events, complete } => {
                line.serialize_entry("events", events)?;
                line.serialize_entry("complete", complete)?;
            }
        }
        line.end()
    }
}

impl Event {
    fn name(&self) -> &'static str {
        match self {
            Self::Header(_) => "header",
            Self::Enter { .. } => "enter",
            Self::Call { .. } => "call",
            Self::Return { .. } => "return",
            Self::Failed { .. } => "failed",
            Self::Masked { .. } => "masked",
            Self::End { .. } => "end",
        }
    }
}

/// The members of any line. Serde's own enums with a tag read through a copy, which JSON kept as text does not survive.
#[derive(Deserialize)]
struct Members {
    n: u64,
    event: String,
    format: Option<u32>,
    component: Option<String>,
    contract: Option<String>,
    host: Option<String>,
    started: Option<String>,
    seed: Option<u64>,
    settings: Option<Settings>,
    redacted: Option<bool>,
    export: Option<Name>,
    import: Option<Name>,
    effect: Option<Effect>,
    // No Option around JSON: `null` would be none.
    #[serde(default)]
    args: Given,
    #[serde(default)]
    result: Given,
    how: Option<FailedHow>,
    message: Option<String>,
    response: Option<String>,
    line: Option<u64>,
    field: Option<String>,
    what: Option<Name>,
    events: Option<u64>,
    complete: Option<bool>,
}

/// JSON that is there, be it `null`.
#[derive(Default)]
struct Given(Option<Json>);

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Json::deserialize(deserializer).map(|json| Self(Some(json)))
    }
}

impl Members {
    /// None where a member is missing.
    fn into_event(self) -> Option<Event> {
        Some(match self.event.as_str() {
            "header" => Event::Header(Header {
                format: self.format?,
                component: self.component?,
                contract: self.contract?,
                host: self.host?,
                started: self.started?,
                seed: self.seed?,
                settings: self.settings?,
                redacted: self.redacted?,
            }),
            "enter" => Event::Enter { export: self.export?, args: self.args.0? },
            "call" => {
                Event::Call { import: self.import?, effect: self.effect?, args: self.args.0?, result: self.result.0? }
            }
            "return" => Event::Return { export: self.export?, result: self.result.0? },
            "failed" => Event::Failed { how: self.how?, message: self.message? },
            "masked" => Event::Masked {
                place: self.response.map(MaskedIn::Response).or(self.line.map(MaskedIn::Line))?,
                field: self.field?,
                what: self.what?,
            },
            "end" => Event::End { events: self.events?, complete: self.complete? },
            _ => return None,
        })
    }
}
