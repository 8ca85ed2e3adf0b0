//! What becomes of a job, and how many ended how.

use std::time::Duration;

use super::Lease;
use crate::charging::{Cause, Charge, Circumstances, charge};
use crate::failure::Failure;

/// What was read from a receipt, as the database takes it.
#[derive(Debug, Clone, Default)]
pub struct Completion {
    /// Who was paid.
    pub vendor: Option<String>,
    /// A decimal number.
    pub total: Option<String>,
    /// ISO 4217.
    pub currency: Option<String>,
    /// ISO 8601.
    pub date: Option<String>,
    /// 0 to 100.
    pub confidence: f64,
    /// Key of the OCR artifact.
    pub artifact_key: String,
}

/// What becomes of a job.
#[derive(Debug, Clone)]
pub enum JobOutcome {
    /// Done.
    Complete(Completion),
    /// Back to the queue, invisible for a while.
    Retry {
        /// How long it stays invisible.
        delay: Duration,
        /// Whether the attempt counts.
        charge: bool,
        /// Why; none for a job that was given back without having been worked.
        failure: Option<Failure>,
    },
    /// Given up.
    DeadLetter {
        /// Why.
        failure: Failure,
        /// For people: "permanent failure", "max attempts exceeded".
        notes: &'static str,
    },
}

impl JobOutcome {
    /// Of a failed attempt that costs so much. `delay` is for one that is tried again, `notes` for one that is not.
    pub fn failed(charge: Charge, delay: Duration, failure: Failure, notes: &'static str) -> Self {
        match charge {
            Charge::Dead => Self::DeadLetter { failure, notes },
            Charge::Charged => Self::Retry { delay, charge: true, failure: Some(failure) },
            Charge::Uncharged => Self::Retry { delay, charge: false, failure: Some(failure) },
        }
    }

    /// Back to the queue, without having been worked.
    pub fn given_back(delay: Duration) -> Self {
        let charge = charge(Cause::Unworked, &Circumstances::default()) == Charge::Charged;
        Self::Retry { delay, charge, failure: None }
    }

    /// For the log.
    pub(super) fn doing(&self) -> &'static str {
        match self {
            Self::Complete(_) => "completing",
            Self::Retry { failure: Some(_), .. } => "retrying",
            Self::Retry { failure: None, .. } => "giving back",
            Self::DeadLetter { .. } => "dead-lettering",
        }
    }

    /// Whether it gives back a job that was not begun.
    pub(super) fn is_give_back(&self) -> bool {
        matches!(self, Self::Retry { failure: None, .. })
    }
}

/// How many jobs ended how, as committed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Completed.
    pub processed: u64,
    /// Put back after a failure.
    pub retried: u64,
    /// Moved to the dead letters.
    pub dead: u64,
    /// Taken away meanwhile: lease lost, receipt deleted, image replaced.
    pub lost: u64,
    /// Given back unworked.
    pub released: u64,
}

/// How one job ended here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Completed.
    Processed,
    /// Put back after a failure.
    Retried,
    /// Moved to the dead letters.
    Dead,
    /// Taken away meanwhile.
    Lost,
    /// Given back unworked.
    Released,
}

impl Settled {
    /// As metrics have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Processed => "processed",
            Self::Retried => "retried",
            Self::Dead => "dead",
            Self::Lost => "lost",
            Self::Released => "released",
        }
    }
}

impl Counts {
    pub(super) fn add(&mut self, settled: Settled) {
        let count = match settled {
            Settled::Processed => &mut self.processed,
            Settled::Retried => &mut self.retried,
            Settled::Dead => &mut self.dead,
            Settled::Lost => &mut self.lost,
            Settled::Released => &mut self.released,
        };
        *count += 1;
    }
}

/// One settle to be written.
#[derive(Debug, Clone)]
pub struct SettleEntry {
    pub lease: Lease,
    pub outcome: JobOutcome,
    pub component: Option<String>,
}
