//! The queue: Postgres. Claims in batches under leases with fencing tokens, settles in batches, listens for
//! notifications, keeps the dead letters. Knows nothing of what works the jobs.

pub mod backlog;
mod batch;
mod claim;
mod claim_loop;
mod client;
mod columns;
mod complaint;
pub mod components;
mod connect;
pub mod dead_letters;
mod due;
mod error;
mod fate;
mod heartbeat;
mod hosted;
pub mod hurry;
mod keeper;
mod lane;
mod listen;
mod login;
pub mod migrate;
mod options;
mod outage;
mod outcome;
pub mod place;
mod pooler;
mod prepared;
pub mod prune;
mod pump;
pub mod realtime;
pub mod receipts;
pub mod reconcile;
mod refusals;
pub mod rehearsal;
mod rehearser;
pub mod reparse;
pub mod role;
mod schema;
mod server;
mod session;
mod settle;
mod settlement;
mod settler;
mod shared;
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
pub use error::QueueError;
use error::describe;
pub use listen::{check as check_listen, is_switched_off, listen};
pub use login::Origin;
pub use outcome::{Completion, Counts, JobOutcome, Settled};
pub use pooler::is_pooled;
pub use prepared::Prepared;
pub use pump::Pump;
pub use refusals::Refusals;
pub use schema::Schema;
pub use settlement::Settlement;
pub use shared::PumpSettings;
pub use take_back::take_back;

use crate::charging::Attempt;
use crate::failure::Failure;

/// The channel on which the enqueue trigger notifies.
pub const CHANNEL: &str = "receipt_channel";

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

impl From<&Job> for Attempt {
    fn from(job: &Job) -> Self {
        Self { number: job.attempt, granted: job.max_attempts, claims: job.claims }
    }
}
