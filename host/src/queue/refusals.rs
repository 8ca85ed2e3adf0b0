//! Whether the database takes results at all: a breaker, and whether it is known that it does. Where it takes none, every receipt
//! would be paid for and none done.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::QueueError;
use crate::breaker::{BreakerSettings, SharedBreaker};

/// Knows whether the database takes results.
#[derive(Debug)]
pub struct Refusals {
    /// Opens when results of different receipts are refused for one reason.
    pub breaker: Arc<SharedBreaker>,
    /// The last reason, but for what is each receipt's own in it.
    reason: Mutex<Option<String>>,
    /// A result was taken, or would have been, and none was refused since.
    ruled_out: AtomicBool,
}

impl Default for Refusals {
    fn default() -> Self {
        let breaker = Arc::new(SharedBreaker::new(BreakerSettings::SETTLES));
        Self { breaker, reason: Mutex::default(), ruled_out: AtomicBool::new(false) }
    }
}

impl Refusals {
    /// A result of this job was refused.
    pub(super) fn refused(&self, job: i64, error: &QueueError) {
        self.refused_for(job, error.likeness(), &error.to_string());
    }

    /// The same, for a reason that is no error of a statement's.
    pub(super) fn refused_for(&self, job: i64, reason: String, why: &str) {
        self.ruled_out.store(false, Ordering::Relaxed);
        let mut last = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_some_and(|last| *last != reason) && self.breaker.is_closed() {
            // Three receipts that are refused for three reasons are three odd receipts.
            self.breaker.reset();
        }
        *last = Some(reason);
        drop(last);
        self.breaker.failed(Some(job), why);
    }

    /// A result of this job was written.
    pub(super) fn written(&self, job: i64) {
        self.rule_out();
        self.breaker.succeeded(Some(job));
    }

    /// A result would have been.
    pub(super) fn rule_out(&self) {
        self.ruled_out.store(true, Ordering::Relaxed);
    }

    /// Whether it is known that results are taken.
    pub(super) fn are_ruled_out(&self) -> bool {
        self.ruled_out.load(Ordering::Relaxed) && self.breaker.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_receipts_for_one_reason_open_it_and_for_three_do_not() {
        let refusals = Refusals::default();
        for (job, reason) in [(1, "a"), (2, "b"), (3, "c"), (3, "c"), (4, "c")] {
            refusals.refused_for(job, reason.to_owned(), reason);
            assert!(refusals.breaker.is_closed(), "{job} {reason}");
        }
        refusals.refused_for(5, "c".to_owned(), "c");
        assert!(!refusals.breaker.is_closed());
        refusals.rule_out();
        assert!(!refusals.are_ruled_out(), "a rehearsal is no result");
        refusals.written(6);
        assert!(refusals.are_ruled_out());
    }
}
