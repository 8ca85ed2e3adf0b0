//! Where and how much is recorded, and why nothing can be.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Where and how much to record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordSettings {
    /// The folder; made where it is missing. One process records into it at a time.
    pub folder: PathBuf,
    /// Bytes of all traces and responses together.
    pub max_bytes: u64,
    /// Age of the oldest trace.
    pub max_age: Duration,
    /// Bytes of one run, with its responses. Of what comes after that only the end is kept, and the trace says so.
    pub per_run_bytes: u64,
    /// Whether card and phone numbers are masked.
    pub redact: bool,
}

impl RecordSettings {
    /// The usual bounds: 256 MiB, 7 days, 16 MiB a run; nothing is masked.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            max_bytes: 256 * 1024 * 1024,
            max_age: Duration::from_secs(7 * 24 * 60 * 60),
            per_run_bytes: 16 * 1024 * 1024,
            redact: false,
        }
    }
}

/// Why nothing can be recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The folder or a file in it cannot be used.
    #[error("cannot record traces: {}: {source}", path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process records there.
    #[error("cannot record traces: another host records into {}; give each a folder of its own", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
}
