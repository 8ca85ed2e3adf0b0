//! A breaker that many runs feed and the schedule watches.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::Notify;

use super::{Breaker, BreakerSettings, BreakerState};

/// A breaker for many at a time.
#[derive(Debug)]
pub struct SharedBreaker {
    breaker: Mutex<Breaker>,
    /// Rung when the state changes, for the one that watches.
    changed: Notify,
}

/// A breaker as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// `closed`, `open` or `half-open`.
    pub state: &'static str,
    /// The last failure; none while it is closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Failures since the last success.
    pub failures: usize,
    /// Milliseconds since it opened; 0 while it is closed.
    pub open_ms: u64,
}

impl SharedBreaker {
    /// Closed.
    pub fn new(settings: BreakerSettings) -> Self {
        Self { breaker: Mutex::new(Breaker::new(settings)), changed: Notify::new() }
    }

    /// See [`Breaker::state`].
    pub fn state(&self) -> BreakerState {
        self.lock().state(Instant::now())
    }

    /// See [`Breaker::is_poisonous`].
    pub fn is_poisonous(&self, job: i64) -> bool {
        self.lock().is_poisonous(job)
    }

    /// Whether everything is let through.
    pub fn is_closed(&self) -> bool {
        self.state() == BreakerState::Closed
    }

    /// See [`Breaker::failures`].
    pub fn failures(&self) -> usize {
        self.lock().failures()
    }

    /// See [`Breaker::failed`].
    pub fn failed(&self, job: Option<i64>, why: &str) {
        // Without entropy hosts probe in step: no more than a pity.
        let random = getrandom::u64().unwrap_or_default();
        if self.lock().failed(job, why, Instant::now(), random) {
            self.wake();
        }
    }

    /// See [`Breaker::succeeded`].
    pub fn succeeded(&self, job: Option<i64>) {
        if self.lock().succeeded(job, Instant::now()) {
            self.wake();
        }
    }

    /// See [`Breaker::reset`].
    pub fn reset(&self) {
        self.lock().reset();
        self.wake();
    }

    /// For people.
    pub fn report(&self) -> Report {
        let mut breaker = self.lock();
        let now = Instant::now();
        let state = breaker.state(now);
        Report {
            state: state.as_str(),
            why: (state != BreakerState::Closed).then(|| breaker.why().to_owned()),
            failures: breaker.failures(),
            open_ms: millis(breaker.open_for(now)),
        }
    }

    /// Has the watcher look again.
    pub fn wake(&self) {
        self.changed.notify_one();
    }

    /// Waits until the state may have changed. For one watcher.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
