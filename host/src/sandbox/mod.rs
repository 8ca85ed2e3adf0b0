//! The sandbox: runs worker components. Engine, limits, loading with a compile cache, and one `Host` impl file per WIT
//! import. Knows the queue, storage and OCR; they do not know it.

mod aftermath;
mod bindings;
mod cache;
mod call;
mod completion;
mod deadline;
mod engine;
mod failed_attempt;
mod handles;
pub mod import;
mod imports;
mod inspect;
mod limits;
mod meter;
mod oracle;
mod program;
mod random;
mod run;
mod run_error;
mod state;
mod tally;
mod wasi;
mod wasi_context;
mod wasmtime_error;

pub use bindings::exports::snapceit::receipts::parser::ParseError;
pub use bindings::exports::snapceit::receipts::policy::Decision;
pub use bindings::exports::snapceit::receipts::worker::Summary;
pub use bindings::snapceit::receipts::types;
pub use cache::prepare_cache_folder;
pub use completion::{completion, decimal, iso_date};
pub use engine::{Sandbox, SandboxError};
pub use handles::{ArtifactInfo, ImageInfo, JobInfo, TextInfo};
pub use import::{AnyCall, Import, ImportCall};
pub use inspect::{CONTRACT, CONTRACT_VERSION, Inspection, LARGEST_COMPONENT, Refusal, inspect, read_component};
pub use limits::Limits;
pub use meter::{Meter, Metered, PolicyInput, RunInput};
pub use oracle::{Call, NoAnswer, Oracle};
pub use program::{EMBEDDED, LoadError, Program};
pub use run::{RunEnd, Service};
pub use run_error::RunError;
pub use state::{Observer, Services};
pub use tally::{JobCounts, Tally};
