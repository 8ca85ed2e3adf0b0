//! The errors of a start.

use std::io;

use super::trust::Distrusted;
use crate::failure::Failure;
use crate::sandbox::{LoadError, SandboxError};

/// Why a worker has no component to begin with.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot read the component {name}")]
    Read { name: String, source: io::Error },
    #[error("cannot read the component {name}")]
    Fetch { name: String, source: Failure },
    #[error("{name} is refused")]
    Distrusted { name: String, source: Distrusted },
    #[error(
        "{name} ({digest}) is refused: {why}; give another --component, or `host components allow {digest}`. \
         There is no earlier component on this machine to start with"
    )]
    RolledBack { name: String, digest: String, why: String },
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("--shadow (WORKER_SHADOW)")]
    Shadow(#[source] Box<StartError>),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}
