//! What one pass tells of itself.

use std::time::Duration;

use serde::Serialize;

use super::Report;
use crate::queue::Counts;

/// In numbers: what `host run --once` prints, and an invocation answers.
#[derive(Debug, Serialize)]
pub struct Summary {
    #[serde(flatten)]
    pub counts: Counts,
    /// Runs of the component.
    pub runs: u64,
    /// Runs that failed.
    pub failed_runs: u64,
    /// How long it all took.
    pub milliseconds: u64,
    /// The digest of the component that worked first.
    pub component: String,
}

impl Summary {
    pub fn of(report: Report, took: Duration) -> Self {
        Self {
            counts: report.counts,
            runs: report.runs.runs,
            failed_runs: report.runs.failed,
            milliseconds: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            component: report.component,
        }
    }
}
