//! The errors of a start.

use crate::aws::AwsError;
use crate::failure::{Failure, FailureKind};
use crate::health::Part;
use crate::queue::QueueError;
use crate::sandbox::SandboxError;
use crate::swap::StartError;
use crate::trace::RecordError;

/// Why a worker does not start.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    #[error(transparent)]
    Aws(#[from] AwsError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error(transparent)]
    Swap(#[from] StartError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("{variable}: there is no bucket {bucket:?}")]
    NoBucket { variable: &'static str, bucket: String },
    #[error("{variable}: bucket {bucket:?} is in another region than {region}")]
    OtherRegion { variable: &'static str, bucket: String, region: String },
    #[error("{variable}: S3 cannot be reached")]
    Unreachable { variable: &'static str, source: Failure },
    #[error("ARTIFACT_BUCKET: nothing can be stored in it (host doctor)")]
    NotStored(#[source] Failure),
    #[error(transparent)]
    Queue(#[from] QueueError),
}

impl WorkerError {
    /// Whether waiting may mend it.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Queue(error) => error.may_pass(),
            Self::Swap(StartError::Fetch { source, .. })
            | Self::Unreachable { source, .. }
            | Self::NotStored(source) => {
                matches!(source.kind, FailureKind::Unavailable | FailureKind::TimedOut | FailureKind::Throttled)
            }
            _ => false,
        }
    }

    /// Whether a login was refused that a secret may yet mend.
    pub(super) fn waits_for_a_secret(&self) -> bool {
        matches!(self, Self::Queue(error) if error.waits_for_a_secret())
    }

    /// What is not there. A schema that is missing is not waited for.
    pub(super) fn part(&self) -> Part {
        match self {
            Self::Queue(_) => Part::Database,
            Self::Aws(_)
            | Self::NoBucket { .. }
            | Self::OtherRegion { .. }
            | Self::Unreachable { .. }
            | Self::NotStored(_) => Part::Storage,
            Self::Sandbox(_) | Self::Swap(_) | Self::Record(_) => Part::Component,
        }
    }
}
