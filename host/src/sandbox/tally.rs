//! What became of a component's jobs, and how far it is trusted.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::failure::FailureKind;
use crate::queue::{Lease, Outcome};

/// How far a component is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It works for good.
    Trusted,
    /// It has just taken over: what it breaks is charged to nobody.
    OnProbation,
    /// It was taken back; what it still has in hand ends on it.
    TakenBack,
}

/// Counts of jobs, as the component decided them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct JobCounts {
    /// Jobs that were decided, or on which the component failed.
    pub jobs: u64,
    /// Runs that trapped or hit a limit.
    pub crashes: u64,
    /// Jobs given up, or put back at the receipt's cost, for a reason that lies in the receipt or the component.
    pub failures: u64,
    /// Jobs completed with neither vendor nor total.
    pub empty: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Tally {
    jobs: AtomicU64,
    crashes: AtomicU64,
    failures: AtomicU64,
    empty: AtomicU64,
    standing: AtomicU8,
    /// What it decided against receipts while on probation.
    verdicts: Mutex<Vec<Lease>>,
    /// Rung when a count changes.
    pub changed: Notify,
}

impl Tally {
    /// The counts so far.
    pub fn counts(&self) -> JobCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        JobCounts {
            crashes: read(&self.crashes),
            failures: read(&self.failures),
            empty: read(&self.empty),
            // Last: a rate that is too low for a moment is better than one over 1.
            jobs: read(&self.jobs),
        }
    }

    /// How far it is trusted.
    pub fn standing(&self) -> Standing {
        match self.standing.load(Ordering::Acquire) {
            0 => Standing::Trusted,
            1 => Standing::OnProbation,
            _ => Standing::TakenBack,
        }
    }

    /// Trusts it more, or less.
    pub fn stand(&self, standing: Standing) {
        let number = match standing {
            Standing::Trusted => 0,
            Standing::OnProbation => 1,
            Standing::TakenBack => 2,
        };
        self.standing.store(number, Ordering::Release);
    }

    /// The leases under which it decided against a receipt while it was not trusted; each once.
    pub fn take_verdicts(&self) -> Vec<Lease> {
        std::mem::take(&mut *self.verdicts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Books what the component decided, once it is committed.
    pub(super) fn decided(&self, lease: Lease, outcome: &Outcome) {
        let against = match outcome {
            Outcome::Complete(read) => {
                if read.vendor.is_none() && read.total.is_none() {
                    self.empty.fetch_add(1, Ordering::Relaxed);
                }
                false
            }
            Outcome::Retry { charge: true, failure: Some(failure), .. } | Outcome::DeadLetter { failure, .. } => {
                if !is_the_surroundings(failure.kind) {
                    self.failures.fetch_add(1, Ordering::Relaxed);
                }
                true
            }
            Outcome::Retry { .. } => false,
        };
        if against && self.standing() != Standing::Trusted {
            self.verdicts.lock().unwrap_or_else(PoisonError::into_inner).push(lease);
        }
        self.jobs.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Books a run that failed.
    pub(super) fn crashed(&self) {
        self.crashes.fetch_add(1, Ordering::Relaxed);
        self.jobs.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_one();
    }
}

/// Failures that say nothing of a component.
fn is_the_surroundings(kind: FailureKind) -> bool {
    matches!(
        kind,
        FailureKind::Throttled
            | FailureKind::TimedOut
            | FailureKind::Unavailable
            | FailureKind::AccessDenied
            | FailureKind::LeaseLost
    )
}
