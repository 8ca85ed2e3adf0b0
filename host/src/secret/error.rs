//! Why a secret does not give a connection string.

use std::path::PathBuf;

use crate::aws::AwsError;
use crate::failure::{Failure, FailureKind};

/// Why there is no connection string.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("{0}")]
    Reference(&'static str),
    #[error("cannot read the secret {secret}: {source}{}", advice(.source))]
    Unread { secret: String, source: Failure },
    #[error("cannot read the file {}: {reason}", .path.display())]
    File { path: PathBuf, reason: String },
    #[error("the secret {secret}: {reason}")]
    Unfit { secret: String, reason: String },
    #[error(transparent)]
    Aws(#[from] AwsError),
}

impl SecretError {
    /// Whether it may be had later, with nothing changed.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unread { source, .. } => {
                matches!(source.kind, FailureKind::Unavailable | FailureKind::TimedOut | FailureKind::Throttled)
            }
            _ => false,
        }
    }
}

fn advice(failure: &Failure) -> &'static str {
    match failure.kind {
        FailureKind::AccessDenied => {
            "; grant secretsmanager:GetSecretValue or ssm:GetParameter on it, and kms:Decrypt where it has a key of yours"
        }
        FailureKind::NotFound => "; is it of this account and region?",
        _ => "",
    }
}
