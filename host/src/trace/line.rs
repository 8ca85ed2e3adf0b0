//! An event as a line of text: written with a sum that shows a change, and read back.

use serde::de::IgnoredAny;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::FORMAT;
use super::event::{Effect, Event, FailedHow, Header, Json, MaskedIn, Name, Settings};

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
