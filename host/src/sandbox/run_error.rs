//! How a run of a component fails.

use crate::failure::{Failure, FailureKind};

/// How a run failed: the component's fault, not the receipt's and not the host's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    #[error("the component trapped: {0}")]
    Trap(String),
    /// A limit that is hit at the same place in every repetition: memory, handles, stack.
    #[error("the component hit a limit of the sandbox: {0}")]
    Limit(String),
    /// Its computing time is used up.
    #[error("the component hit a limit of the sandbox: {0}")]
    Deadline(String),
    /// The time by the clock on the wall is used up.
    #[error("the component hit a limit of the sandbox: {0}")]
    Timeout(String),
    /// The instructions that were granted are used up; only where they are counted.
    #[error("the component hit a limit of the sandbox: instructions: more than {0}")]
    Fuel(u64),
    #[error("the component reported: {0}")]
    Reported(Failure),
    /// An oracle had no answer.
    #[error("{0}")]
    NoAnswer(String),
}

impl RunError {
    /// In one word, for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Trap(_) => "trap",
            Self::Limit(_) | Self::Fuel(_) => "limit",
            Self::Deadline(_) => "deadline",
            Self::Timeout(_) => "timeout",
            Self::Reported(_) | Self::NoAnswer(_) => "error",
        }
    }

    /// As a job's failure.
    pub(super) fn failure(&self) -> Failure {
        match self {
            Self::Trap(_) => Failure::new(FailureKind::Internal, "component.Trap", self.to_string()),
            Self::Limit(_) | Self::Deadline(_) | Self::Timeout(_) | Self::Fuel(_) => {
                Failure::new(FailureKind::LimitExceeded, "component.Limit", self.to_string())
            }
            Self::Reported(_) | Self::NoAnswer(_) => {
                Failure::new(FailureKind::Internal, "component.Error", self.to_string())
            }
        }
    }
}
