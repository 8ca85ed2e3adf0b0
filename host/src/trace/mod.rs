//! Traces: one run of a component as text, one JSON event a line. Written beside the work, read by people and by
//! replay. Knows nothing of the sandbox that is recorded.

mod build;
mod event;
mod folder;
mod handover;
mod inventory;
mod line;
mod read;
mod record;
mod redact;
mod settings;
mod time;
mod write;

pub use build::TraceBuilder;
pub use event::{Effect, Event, FailedHow, Header, Json, MaskedIn, Name, Settings};
pub use line::LineError;
pub use read::{Trace, TraceError, traces_in};
pub use record::{RecordStats, Recorder};
pub use redact::redacted;
pub use settings::{RecordError, RecordSettings};
pub use time::utc;

/// Version of the format. A reader refuses every other one.
pub const FORMAT: u32 = 1;

/// How the names of traces end.
pub const SUFFIX: &str = ".trace.jsonl";

/// The folder beside the traces that holds the OCR responses, by digest.
pub const RESPONSES: &str = "responses";
