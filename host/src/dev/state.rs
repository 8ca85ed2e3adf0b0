//! What a running `host dev` leaves for the other verbs: where its servers are.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::aws::AwsOverrides;
use crate::queue::{Database, QueueError};

const FILE: &str = "dev.json";

/// A running `host dev`. The file is this user's alone (mode 0600): it holds the passwords of the local servers. It is locked
/// while that process lives: a number of a process may be another's by now, or one of another container's.
#[derive(Clone, Serialize, Deserialize)]
pub struct DevState {
    /// Its folder.
    pub folder: PathBuf,
    /// The process.
    pub pid: u32,
    /// Postgres.
    pub database_url: String,
    /// The receipts' schema; public where a `host dev` before this one wrote the file.
    #[serde(default)]
    pub schema: Option<String>,
    /// S3.
    pub s3_endpoint: String,
    /// Textract.
    pub textract_endpoint: String,
    /// Of the local S3.
    pub access_key: String,
    /// Of the local S3.
    pub secret_key: String,
    /// Region that the clients sign for.
    pub region: String,
    /// The photos' bucket.
    pub source_bucket: String,
    /// The artifacts' bucket.
    pub artifact_bucket: String,
}

impl std::fmt::Debug for DevState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DevState({})", self.folder.display())
    }
}

impl DevState {
    /// The state of the `host dev` that runs on this folder, if one does.
    pub fn read(folder: &Path) -> Option<Self> {
        let path = folder.join(FILE);
        let locked = File::open(&path).ok()?.try_lock_shared();
        let state: Self = serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()?;
        let runs = match locked {
            Ok(()) => false,
            Err(TryLockError::WouldBlock) => true,
            Err(TryLockError::Error(_)) => state.has_process(),
        };
        runs.then_some(state)
    }

    /// All that is known where files cannot be locked.
    fn has_process(&self) -> bool {
        let pid = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw);
        pid.is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
    }

    /// Leaves the state. It counts for as long as the file is held (and where files cannot be locked, as long as this process lives).
    pub fn write(&self) -> std::io::Result<File> {
        let path = self.folder.join(FILE);
        let _ = std::fs::remove_file(&path);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let _ = file.lock();
        file.write_all(serde_json::to_string_pretty(self)?.as_bytes())?;
        Ok(file)
    }

    /// Takes it away.
    pub fn remove(&self) {
        let _ = std::fs::remove_file(self.folder.join(FILE));
    }

    /// Its database.
    pub fn database(&self) -> Result<Database, QueueError> {
        let database = Database::parse(&self.database_url)?;
        Ok(match &self.schema {
            Some(name) => database.with_schema(name.parse().map_err(QueueError::Schema)?),
            None => database,
        })
    }

    /// How to reach its S3 and Textract.
    pub fn aws(&self) -> AwsOverrides {
        AwsOverrides {
            region: Some(self.region.clone()),
            credentials: Some((self.access_key.clone(), self.secret_key.clone())),
            s3_endpoint: Some(self.s3_endpoint.clone()),
            textract_endpoint: Some(self.textract_endpoint.clone()),
        }
    }
}
