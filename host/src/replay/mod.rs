//! Replaying recorded runs, with no database, no S3 and no AWS. The component that was recorded must make the same calls,
//! byte for byte ([`exactly`]); of another one it is shown where it decides differently ([`with_another`]).

mod compare;
mod decision;
mod exact;
mod export;
mod lenient;
mod recorded;
mod story;

pub use compare::{Differences, FieldChange, FieldDifference};
pub use decision::{Decision, decisions_of};
pub use exact::{Exact, Mismatch, Replayed, exactly, exactly_by};
pub use export::{ExportError, Exported, export, name_of};
pub use lenient::{Improvised, LenientReplay, with_another};
pub use recorded::UnreadableCall;
pub use story::{CallFailure, ImageStory, JobStory, OcrStory, RunStory, Story};

use crate::sandbox::RunInput;
use crate::trace::{Event, Trace};

/// What `worker.run` was called with.
fn input_of(trace: &Trace) -> RunInput {
    #[derive(serde::Deserialize)]
    struct Args {
        limit: u32,
    }
    let args = trace.events.iter().find_map(|event| match event {
        Event::Enter { args, .. } => args.read::<Args>().ok(),
        _ => None,
    });
    RunInput { limit: args.map_or(1, |args| args.limit), seed: trace.header.seed }
}
