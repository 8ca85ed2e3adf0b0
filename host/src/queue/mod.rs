//! The queue: Postgres. Claims in batches under leases with fencing tokens, settles in batches, listens for
//! notifications, keeps the dead letters. Knows nothing of what works the jobs.

mod claim;
mod claimer;
pub mod components;
mod connect;
pub mod dead_letters;
mod listen;
pub mod migrate;
pub mod prune;
mod pump;
pub mod receipts;
pub mod reparse;
pub mod role;
mod settle;
mod settler;
pub mod status;
mod take_back;
pub mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub use connect::{Database, check_primary, connect};
pub use listen::listen;
pub use pump::{Pump, PumpSettings};
pub use settle::{Completion, Counts, Outcome};
pub use settler::Settlement;
pub use take_back::take_back;

use crate::failure::{Failure, chain};

/// The channel on which the enqueue trigger notifies.
pub const CHANNEL: &str = "receipt_channel";

/// What can go wrong with the queue as a whole; a job's own failures are [`Failure`]s.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    #[error("DATABASE_URL is not a Postgres connection string: {0} (expected postgres://user:password@host:5432/db)")]
    Url(String),
    #[error("DATABASE_URL: sslmode {0:?} is unknown (use disable, prefer, require or verify-full)")]
    SslMode(String),
    #[error("TLS to the database: {0}")]
    Tls(String),
    #[error("cannot connect to the database at {at}: {reason}")]
    Connect { at: String, reason: String },
    #[error("the database at {at} does not answer within {seconds} s")]
    Timeout { at: String, seconds: u64 },
    #[error(
        "the database has no receipt queue (or an older one: version {found}, needed {needed}); run `host migrate`"
    )]
    NotMigrated { found: i64, needed: i64 },
    #[error("the database at {at} is read-only (a replica?); the worker needs the primary")]
    ReadOnly { at: String },
    #[error("migration {name} failed: {reason}")]
    Migration { name: &'static str, reason: String },
    #[error("the database refused {what}: {reason}")]
    Query { what: &'static str, reason: String, code: Option<tokio_postgres::error::SqlState>, closed: bool },
}

impl QueueError {
    fn query(what: &'static str, error: &tokio_postgres::Error) -> Self {
        Self::Query { what, reason: describe(error), code: error.code().cloned(), closed: error.is_closed() }
    }

    /// Whether the same statement may well succeed later: deadlocks and serialization (class 40), resources (53), locks
    /// (55), the operator's interventions and timeouts (57), the system (58).
    fn is_passing(&self) -> bool {
        matches!(self, Self::Query { code: Some(code), .. } if matches!(code.code().get(..2), Some("40" | "53" | "55" | "57" | "58")))
    }

    /// Whether trying again cannot help: the database refused the statement itself (rights, data, a table that is not
    /// there).
    pub fn is_permanent(&self) -> bool {
        matches!(self, Self::Query { code: Some(code), .. } if matches!(code.code().get(..2), Some("22" | "23" | "42")))
    }

    /// Whether the connection is of no use any more.
    fn is_lost_connection(&self) -> bool {
        match self {
            Self::Query { code, closed, .. } => {
                // Class 57: the server shuts down or ended the session; class 08: connection exceptions. No code: the
                // error came from the socket or the driver.
                *closed
                    || code.as_ref().is_none_or(|code| code.code().starts_with("57P") || code.code().starts_with("08"))
            }
            _ => true,
        }
    }

    /// Whether one of the rows is at fault (class 22: data exception, 23: constraint violation, P0: raised by a trigger of
    /// the app's).
    fn is_about_the_data(&self) -> bool {
        matches!(self, Self::Query { code: Some(code), .. } if matches!(code.code().get(..2), Some("22" | "23" | "P0")))
    }
}

const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);

/// A statement that does not come back in time is a lost connection.
async fn bounded<T>(work: impl Future<Output = Result<T, QueueError>>) -> Result<T, QueueError> {
    tokio::time::timeout(STATEMENT_TIMEOUT, work).await.unwrap_or(Err(QueueError::Query {
        what: "a statement",
        reason: format!("no answer within {} s", STATEMENT_TIMEOUT.as_secs()),
        code: None,
        closed: true,
    }))
}

/// A driver error as one line: what the server said, with its hint.
fn describe(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        let hint = db.hint().map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
        return format!("{} [{}]{hint}", db.message(), db.code().code());
    }
    chain(error)
}

/// A claim on one queue row: whoever presents row and token may change it, nobody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lease {
    /// The queue row.
    pub job: i64,
    /// The fencing token: grows with every lease, over all rows.
    pub token: i64,
}

/// A leased job.
#[derive(Debug, Clone)]
pub struct Job {
    /// Row and fencing token.
    pub lease: Lease,
    /// The receipt's id as text, whatever type the app gave it.
    pub receipt_id: String,
    /// Where the receipt's image is, as the app wrote it.
    pub location: Option<String>,
    /// From 1.
    pub attempt: u32,
    /// Attempts granted.
    pub max_attempts: u32,
    /// How often it was claimed, this time included; uncharged attempts count as well.
    pub claims: u32,
    /// To be worked in a run of its own: it was in one that failed without showing on which job.
    pub alone: bool,
    lost: Arc<AtomicBool>,
}

impl Job {
    /// The same job, to be worked in a run of its own.
    pub fn alone(self) -> Self {
        Self { alone: true, ..self }
    }

    /// Claimed before, so that an artifact may exist.
    pub fn claimed_before(&self) -> bool {
        self.claims > 1
    }

    /// Whether the lease is known to be lost. No work on the job is worth anything then.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }
}

impl From<&QueueError> for Failure {
    fn from(error: &QueueError) -> Self {
        Self::new(crate::failure::FailureKind::Unavailable, "queue.Unavailable", error.to_string())
    }
}
