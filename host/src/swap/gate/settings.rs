//! What the gate looks at, and what of it refuses a component.

use std::path::PathBuf;
use std::time::Duration;

/// What the gate looks at.
#[derive(Debug, Clone)]
pub struct GateSettings {
    /// Folders of recorded responses (with or without expectations) and of traces.
    pub folders: Vec<PathBuf>,
    /// The folder that this host records to.
    pub recorded: Option<PathBuf>,
    /// The newest so many traces of it.
    pub runs: usize,
    /// What refuses a component.
    pub policy: GatePolicy,
    /// What is not looked at in this time is not looked at.
    pub timeout: Duration,
}

/// What refuses a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GatePolicy {
    /// Any difference.
    Strict,
    /// A trap, an error, a field that is lost, or more than twice the work.
    NoRegressions,
    /// Nothing: differences are reported.
    Report,
}
