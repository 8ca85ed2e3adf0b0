//! The sandbox: runs worker components. Engine, limits, loading with a compile cache, and one `Host` impl file per WIT
//! import. Knows the queue, storage and OCR; they do not know it.

mod bindings;
mod cache;
mod completion;
mod deadline;
mod engine;
mod imports;
mod inspect;
mod limits;
mod program;
mod run;
mod state;
mod wasi;

pub use bindings::exports::snapceit::receipts::parser::ParseError;
pub use bindings::snapceit::receipts::types;
pub use completion::{completion, decimal, iso_date};
pub use engine::{Sandbox, SandboxError};
pub use inspect::{CONTRACT, CONTRACT_VERSION, Inspection, Refusal, inspect};
pub use limits::Limits;
pub use program::{EMBEDDED, LoadError, Program};
pub use run::{RunEnd, RunError};
pub use state::Services;
