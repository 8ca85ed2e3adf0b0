//! The queue: Postgres. Claims in batches under leases with fencing tokens, settles in batches, listens for
//! notifications, keeps the dead letters. Knows nothing of what works the jobs.

mod claim;
mod claimer;
mod client;
mod complaint;
pub mod components;
mod connect;
pub mod dead_letters;
mod due;
mod heartbeat;
pub mod hurry;
mod keeper;
mod lane;
mod listen;
pub mod migrate;
mod options;
mod outage;
pub mod place;
mod pooler;
mod prepared;
pub mod prune;
mod pump;
pub mod receipts;
pub mod reconcile;
mod refusals;
pub mod rehearsal;
pub mod reparse;
pub mod role;
mod schema;
mod session;
mod settle;
mod settlement;
mod settler;
pub mod status;
mod suspects;
mod take_back;
mod text;
pub mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub use client::{Client, Connection, Parameter};
pub use connect::{Database, check_primary, connect};
pub use listen::{check as check_listen, listen};
pub use pooler::is_pooled;
pub use prepared::Prepared;
pub use pump::{Pump, PumpSettings};
pub use refusals::Refusals;
pub use schema::Schema;
pub use settle::{Completion, Counts, Outcome, Settled};
pub use settlement::Settlement;
pub use take_back::take_back;

use tokio_postgres::error::SqlState;

use crate::failure::{Failure, chain};

/// The channel on which the enqueue trigger notifies.
pub const CHANNEL: &str = "receipt_channel";

/// What can go wrong with the queue as a whole; a job's own failures are [`Failure`]s.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    #[error("DATABASE_URL is not a Postgres connection string: {0} (expected postgres://user:password@host:5432/db)")]
    Url(String),
    #[error("DATABASE_URL: its sslmode is unknown (use disable, prefer, require, verify-ca or verify-full)")]
    SslMode,
    #[error("TLS to the database: {0}")]
    Tls(String),
    #[error("cannot connect to the database at {at}: {reason}")]
    Connect {
        at: String,
        reason: String,
        /// Whether it may well be there later: nobody answered, or the server is just starting, stopping or full.
        passing: bool,
    },
    #[error("the database at {at} does not answer within {seconds} s")]
    Timeout { at: String, seconds: u64 },
    #[error(
        "the database has no receipt queue in its schema {schema} (or an older one: version {found}, needed {needed}); run \
         `host migrate`{elsewhere}"
    )]
    NotMigrated { schema: Schema, found: i64, needed: i64, elsewhere: place::Elsewhere },
    #[error("DATABASE_URL: schema: {0}")]
    Schema(String),
    #[error(
        "there is no schema {name} in this database; make it (CREATE SCHEMA {}), or name the one that the receipts table is \
         in with --schema",
        .name.quoted()
    )]
    NoSchema { name: Schema },
    #[error(
        "there is no table {}.receipts, but there is {}: nothing was made. {advice}",
        .schema.quoted(), .found.join(" and ")
    )]
    TheLike { schema: Schema, found: Vec<String>, advice: String },
    #[error("the database at {at} is read-only (a replica?); the worker needs the primary")]
    ReadOnly { at: String },
    #[error(
        "notifications do not get through the pooler at {at} (transaction mode?); give LISTEN a direct connection with \
         DATABASE_DIRECT_URL, or run with --no-listen and --every 1s"
    )]
    Pooled { at: String },
    #[error("a notification sent to {from} did not arrive at {at} within {seconds} s; is it the same database?")]
    Unheard { from: String, at: String, seconds: u64 },
    #[error(
        "row-level security hides receipts from role {role:?}, which is to migrate: those that wait would never be queued; \
         migrate as a role with BYPASSRLS, or give this one a policy that is true for it, or ALTER TABLE public.receipts NO \
         FORCE ROW LEVEL SECURITY for as long as it takes"
    )]
    HiddenReceipts { role: String },
    #[error("the queue does not agree with the app's receipts table: {0}")]
    Drifted(String),
    #[error(
        "{missing} of {asked} receipts were set to pending and not queued, so that all of it was undone; host doctor says \
         what keeps the trigger receipts_requeue from its work"
    )]
    NotQueued { missing: usize, asked: usize },
    #[error("{table} is {what}")]
    Unfit { table: String, what: String },
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

    /// Whether rows of this very batch got in somebody's way (class 40: deadlock, serialization), so that fewer of them may
    /// fare better.
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Query { code: Some(code), .. } if code.code().starts_with("40"))
    }

    /// Whether a start that failed with this may succeed later, with nothing changed.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Connect { passing, .. } => *passing,
            Self::Timeout { .. } => true,
            Self::Query { .. } => self.is_passing() || self.is_lost_connection(),
            _ => false,
        }
    }

    /// Whether it took too long: a lock that was waited for, or a time limit.
    fn is_late(&self) -> bool {
        use tokio_postgres::error::SqlState;
        matches!(self, Self::Query { code: Some(code), .. } if [SqlState::LOCK_NOT_AVAILABLE, SqlState::QUERY_CANCELED].contains(code))
    }

    /// Whether somebody else has the row locked.
    fn is_locked(&self) -> bool {
        matches!(self, Self::Query { code: Some(code), .. } if *code == tokio_postgres::error::SqlState::LOCK_NOT_AVAILABLE)
    }

    /// Whether trying again cannot help: the database refused the statement itself (rights, data, a table that is not
    /// there).
    pub fn is_permanent(&self) -> bool {
        matches!(self, Self::Query { code: Some(code), .. } if matches!(code.code().get(..2), Some("22" | "23" | "42" | "RW")))
    }

    /// Whether the connection is of no use any more.
    fn is_lost_connection(&self) -> bool {
        match self {
            Self::Query { code, closed, .. } => {
                // 57P: the server shuts down or ended the session; 08: connection exceptions; 25006: the server is a
                // primary no more, and the next connection may find the one that is. No code: the error came from the
                // socket or the driver.
                *closed
                    || code
                        .as_ref()
                        .is_none_or(|code| ["57P", "08", "25006"].iter().any(|class| code.code().starts_with(class)))
            }
            _ => true,
        }
    }

    /// Whether one of the rows is at fault (class 22: data exception, 23: constraint violation, P0: raised by a trigger of
    /// the app's, RW: it was not written as it was sent).
    fn is_about_the_data(&self) -> bool {
        matches!(self, Self::Query { code: Some(code), .. } if matches!(code.code().get(..2), Some("22" | "23" | "P0" | "RW")))
    }

    /// Whether a result was written, and was not what came back.
    fn is_of_what_was_written(&self) -> bool {
        matches!(self, Self::Query { code: Some(code), .. } if code.code().starts_with("RW"))
    }

    /// Whether a trigger of the app's has raised it.
    fn is_raised(&self) -> bool {
        matches!(self, Self::Query { code: Some(code), .. } if code.code().starts_with("P0"))
    }

    /// What two errors have in common that have one reason: all but numbers and ids.
    fn likeness(&self) -> String {
        match self {
            Self::Query { code: Some(code), .. } if self.is_of_what_was_written() => code.code().to_owned(),
            other => {
                let words = other.to_string();
                let is_id = |word: &&str| word.chars().any(|c| c.is_ascii_digit());
                words.split_whitespace().filter(|word| !is_id(word)).collect::<Vec<_>>().join(" ")
            }
        }
    }

    /// What the refusal of a result is called in its row. The codes are those of receipt_queue_written().
    fn refusal(&self) -> &'static str {
        match self {
            Self::Query { code: Some(code), .. } if code.code() == "RW001" => "queue.NotWritten",
            Self::Query { code: Some(code), .. } if code.code() == "RW002" => "queue.ValueChanged",
            _ => "queue.ResultRefused",
        }
    }
}

/// A driver error as one line: what the server said, with its hint.
fn describe(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        let hint = db.hint().map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
        let hint = match hint.as_str() {
            "" if *db.code() == SqlState::INSUFFICIENT_PRIVILEGE && db.message().contains("schema") => {
                " (hint: GRANT USAGE ON SCHEMA to this role, as `host rights` prints it; `host migrate` needs CREATE too)"
            }
            hint => hint,
        };
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
    /// Where the receipt's image is, as the app wrote it; or why that cannot be read.
    pub location: Result<Option<String>, Failure>,
    /// From 1.
    pub attempt: u32,
    /// Attempts granted.
    pub max_attempts: u32,
    /// How often it was claimed, this time included; uncharged attempts count as well.
    pub claims: u32,
    /// Enqueued before we connected to this server. Another one may have known more of it: a failover loses what was
    /// committed last, its claims too.
    enqueued_before: bool,
    /// Since it was enqueued, when it was claimed.
    age: Duration,
    claimed_at: Instant,
    /// To be worked in a run of its own: it was in one that failed without showing on which job.
    pub alone: bool,
    lost: Arc<AtomicBool>,
}

impl Job {
    /// The same job, to be worked in a run of its own.
    pub fn alone(self) -> Self {
        Self { alone: true, ..self }
    }

    /// A job in its first attempt.
    #[cfg(test)]
    pub fn for_test(number: i64, claims: u32) -> Self {
        Self {
            lease: Lease { job: number, token: number },
            receipt_id: number.to_string(),
            location: Ok(None),
            attempt: 1,
            max_attempts: 5,
            claims,
            enqueued_before: false,
            age: Duration::ZERO,
            claimed_at: Instant::now(),
            alone: false,
            lost: Arc::default(),
        }
    }

    /// Claimed before, as far as this server knows or may have forgotten, so that an artifact may exist.
    pub fn claimed_before(&self) -> bool {
        self.claims > 1 || self.enqueued_before
    }

    /// For how long it has been in the queue. One whose image was replaced, or that is to be read again, begins anew.
    pub fn age(&self) -> Duration {
        self.age.saturating_add(self.claimed_at.elapsed())
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
