//! What became of a component's jobs, and how far it is trusted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::breaker::{BreakerSettings, BreakerState, SharedBreaker};
use crate::charging::ComponentHealth;
use crate::queue::{Job, JobOutcome, Lease};

/// Spared jobs that are counted; of more, the oldest begin anew.
const MOST_COUNTED: usize = 10_000;

/// Counts of jobs, as the component decided them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct JobCounts {
    /// Jobs that were decided, or on which the component failed.
    pub jobs: u64,
    /// Runs that trapped or hit a limit.
    pub crashes: u64,
    /// Jobs given up, put back or let go, for a reason that lies in the receipt or the component.
    pub failures: u64,
    /// Jobs completed with neither vendor nor total.
    pub empty: u64,
}

/// Counts what became of a component's jobs, and holds how far it is trusted.
#[derive(Debug)]
pub struct Tally {
    jobs: AtomicU64,
    crashes: AtomicU64,
    failures: AtomicU64,
    empty: AtomicU64,
    /// What it decided against receipts since it is not trusted; none while it is.
    doubtful: Mutex<Option<Vec<Lease>>>,
    /// How often it failed on each job while it failed on everything; in memory, so that it begins anew with each component and each host.
    uncharged_failures: Mutex<BTreeMap<i64, u32>>,
    /// Rung when a count changes.
    pub changed: Notify,
    /// Opens when it fails on everything. Only where it is trusted: on probation it is rolled back instead.
    pub breaker: Arc<SharedBreaker>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            jobs: AtomicU64::default(),
            crashes: AtomicU64::default(),
            failures: AtomicU64::default(),
            empty: AtomicU64::default(),
            doubtful: Mutex::default(),
            uncharged_failures: Mutex::default(),
            changed: Notify::default(),
            breaker: Arc::new(SharedBreaker::new(BreakerSettings::COMPONENT)),
        }
    }
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

    /// Whether it works for good. What it breaks while it does not is charged to nobody.
    pub fn is_trusted(&self) -> bool {
        self.doubtful().is_none()
    }

    /// From here on it has yet to prove itself: what it decides against receipts is remembered.
    pub fn distrust(&self) {
        self.doubtful().get_or_insert_default();
    }

    /// It has proved itself, and all that it decided stands.
    pub fn trust(&self) {
        *self.doubtful() = None;
    }

    /// The leases under which it decided against a receipt while it was not trusted; each once.
    pub fn take_doubtful(&self) -> Vec<Lease> {
        self.doubtful().as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn doubtful(&self) -> MutexGuard<'_, Option<Vec<Lease>>> {
        self.doubtful.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Books what the component decided, once it is committed. `dependency_failed`: a dependency failed on this job, so that
    /// putting it back is no fault, nor is giving it up after its last attempt. The component's own word for it is not
    /// taken.
    pub(super) fn decided(&self, job: &Job, outcome: &JobOutcome, dependency_failed: bool) {
        let (fault, against) = match outcome {
            JobOutcome::Complete(read) => {
                if read.vendor.is_none() && read.total.is_none() {
                    self.empty.fetch_add(1, Ordering::Relaxed);
                }
                (false, false)
            }
            JobOutcome::Retry { charge, .. } => (!dependency_failed, *charge),
            JobOutcome::DeadLetter { .. } => (!(dependency_failed && job.attempt >= job.max_attempts), true),
        };
        if against && let Some(doubtful) = self.doubtful().as_mut() {
            doubtful.push(job.lease);
        }
        if !dependency_failed {
            self.breaker.succeeded(Some(job.lease.job));
        }
        self.count(fault);
    }

    /// Books a job that the component let go without a word, or never took.
    pub(super) fn left_undone(&self, dependency_failed: bool) {
        self.count(!dependency_failed);
    }

    fn count(&self, fault: bool) {
        if fault {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        self.jobs.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Books a run that came to nothing by the component's own fault, on this job (none: on none in particular).
    pub(super) fn record_run_failure(&self, job: Option<i64>, why: &str) {
        if self.is_trusted() {
            self.breaker.failed(job, why);
        }
    }

    /// How the component fares with others than this job, on which it failed. Counts how often it did while it fails on
    /// everything.
    pub(super) fn health(&self, job: &Job) -> ComponentHealth {
        if !self.is_trusted() {
            return ComponentHealth::Unproven;
        }
        if self.breaker.state() == BreakerState::Closed || self.breaker.is_poisonous(job.lease.job) {
            return ComponentHealth::Works;
        }
        let mut uncharged_failures = self.uncharged_failures.lock().unwrap_or_else(PoisonError::into_inner);
        let times = uncharged_failures.entry(job.lease.job).or_default();
        *times = times.saturating_add(1);
        let times = *times;
        if uncharged_failures.len() > MOST_COUNTED {
            // Not this one, however old: it would never be charged.
            let oldest = uncharged_failures.keys().copied().find(|number| *number != job.lease.job);
            oldest.map(|number| uncharged_failures.remove(&number));
        }
        ComponentHealth::FailsOnAll { times }
    }

    /// Books a run that failed.
    pub(super) fn crashed(&self) {
        self.crashes.fetch_add(1, Ordering::Relaxed);
        self.jobs.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::failure::{Failure, FailureKind};
    use crate::queue::Completion;

    #[test]
    fn failures_on_a_job_are_counted_for_this_component_however_often_it_was_claimed() {
        let tally = Tally::default();
        assert_eq!(tally.health(&Job::for_test(1, 1)), ComponentHealth::Works, "nothing else fails");
        for number in 1..=3 {
            tally.record_run_failure(Some(number), "trap");
        }
        // Throttled for an hour before.
        for times in 1..=30 {
            assert_eq!(tally.health(&Job::for_test(1, 500)), ComponentHealth::FailsOnAll { times });
        }
        assert_eq!(tally.health(&Job::for_test(2, 1)), ComponentHealth::FailsOnAll { times: 1 });
        tally.distrust();
        assert_eq!(tally.health(&Job::for_test(1, 1)), ComponentHealth::Unproven);
    }

    #[test]
    fn the_oldest_of_too_many_is_counted_too() {
        let tally = Tally::default();
        let most = MOST_COUNTED as i64;
        for number in 1..=3 {
            tally.record_run_failure(Some(most + number), "trap");
        }
        for number in 2..=most + 1 {
            assert_eq!(tally.health(&Job::for_test(number, 1)), ComponentHealth::FailsOnAll { times: 1 });
        }
        for times in 1..=30 {
            assert_eq!(tally.health(&Job::for_test(1, 1)), ComponentHealth::FailsOnAll { times });
        }
    }

    /// What is taken back when it is rolled back, and what it is judged by on probation.
    #[test]
    fn what_an_unproven_component_charges_is_remembered_and_what_a_dependency_did_is_no_fault_of_its() {
        let failure = || Failure::new(FailureKind::Internal, "x", "");
        let retry = |charge| JobOutcome::Retry { delay: Duration::ZERO, charge, failure: Some(failure()) };
        let dead = || JobOutcome::DeadLetter { failure: failure(), notes: "" };
        let (first, mut last) = (Job::for_test(1, 1), Job::for_test(2, 1));
        last.attempt = last.max_attempts;
        for (job, outcome, dependency_failed, is_remembered, is_fault) in [
            (&first, JobOutcome::Complete(Completion::default()), false, false, false),
            (&first, retry(false), false, false, true),
            (&first, retry(true), false, true, true),
            (&first, retry(true), true, true, false),
            (&first, dead(), false, true, true),
            (&first, dead(), true, true, true),
            (&last, dead(), true, true, false),
            (&last, dead(), false, true, true),
        ] {
            let tally = Tally::default();
            tally.decided(job, &outcome, dependency_failed);
            assert!(tally.take_doubtful().is_empty(), "trusted: {outcome:?}");
            tally.distrust();
            tally.decided(job, &outcome, dependency_failed);
            assert_eq!(!tally.take_doubtful().is_empty(), is_remembered, "{outcome:?}");
            assert_eq!(tally.counts().failures, if is_fault { 2 } else { 0 }, "{outcome:?} {dependency_failed}");
        }
    }
}
