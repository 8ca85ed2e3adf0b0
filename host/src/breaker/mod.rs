//! A circuit breaker: what fails every time is not tried at full speed. It opens after some failures in a row, lets one
//! probe through after a cool-down that doubles, and closes with the first success. Pure: time and chance are given.
//!
//! | state | what is let through | what changes it |
//! |---|---|---|
//! | closed | everything | failures in a row, on jobs enough to tell that no single one is to blame: open |
//! | open | nothing | the cool-down ends: half-open; a success of what had begun before: closed |
//! | half-open | one probe | it fails: open, for twice as long; it succeeds: closed |
//!
//! Where jobs may be poisonous: one that failed before another one succeeded is, and counts no more until it succeeds itself.

mod evidence;
mod shared;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

pub use evidence::{Blame, Judgement, ServiceBreaker, Step};
pub use shared::{Report, SharedBreaker};

/// When it opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Failures in a row that open it, and different jobs that they must be about. At least 1.
    pub failures: usize,
    /// The first cool-down. Each is drawn from its upper half, so that hosts do not probe in step.
    pub first: Duration,
    /// No cool-down is longer.
    pub longest: Duration,
    /// Whether a job may be to blame by itself. Where not, one that failed in the last outage counts in the next one, too.
    pub poison: bool,
}

impl BreakerSettings {
    /// For a component: three receipts are more than one poisonous one. Probes are cheap, and a receipt that arrives when
    /// only the others are poisonous waits for one.
    pub const COMPONENT: Self =
        Self { failures: 3, first: Duration::from_secs(1), longest: Duration::from_secs(60), poison: true };
    /// For the services that a job needs: they come back sooner than a component is mended.
    pub const SERVICES: Self =
        Self { failures: 3, first: Duration::from_secs(1), longest: Duration::from_secs(30), poison: false };
    /// For the database that is to take the results: a probe is tried on it before it is paid for.
    pub const SETTLES: Self = Self::COMPONENT;
}

/// What a breaker lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Everything is let through.
    Closed,
    /// Nothing is, until then.
    Open { until: Instant },
    /// One probe is.
    HalfOpen,
}

impl BreakerState {
    /// In one word, for metrics and people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open { .. } => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

/// A circuit breaker of one thing that can fail.
#[derive(Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    state: BreakerState,
    /// Since the last success.
    failures: usize,
    /// The jobs that these were about.
    jobs: BTreeSet<i64>,
    /// Those of them that were about no job at all.
    jobless: usize,
    /// Jobs on which it failed before it succeeded with another: they are to blame, and not what fails on them. The newest.
    poisonous: BTreeSet<i64>,
    /// The last failure, in words.
    why: String,
    /// The next cool-down.
    cool_down: Duration,
    opened: Option<Instant>,
    /// When it closed last, and how long it had been open.
    closed: Option<(Instant, Duration)>,
}

/// Poisonous jobs that are remembered.
const MOST_POISONOUS: usize = 1000;

impl Breaker {
    /// Closed.
    pub fn new(settings: BreakerSettings) -> Self {
        Self {
            settings,
            state: BreakerState::Closed,
            failures: 0,
            jobs: BTreeSet::new(),
            jobless: 0,
            poisonous: BTreeSet::new(),
            why: String::new(),
            cool_down: settings.first,
            opened: None,
            closed: None,
        }
    }

    /// Its state at this time.
    pub fn state(&mut self, now: Instant) -> BreakerState {
        if matches!(self.state, BreakerState::Open { until } if until <= now) {
            self.state = BreakerState::HalfOpen;
        }
        self.state
    }

    /// Failures since the last success.
    pub fn failures(&self) -> usize {
        self.failures
    }

    /// The last failure, in words.
    pub fn why(&self) -> &str {
        &self.why
    }

    /// For how long it has not been closed.
    pub fn open_for(&self, now: Instant) -> Duration {
        self.opened.map_or(Duration::ZERO, |opened| now.saturating_duration_since(opened))
    }

    /// Whether this job has failed while others succeed.
    pub fn is_poisonous(&self, job: i64) -> bool {
        self.poisonous.contains(&job)
    }

    /// Something failed on this job (none: on none in particular, or before it had any). Returns whether the state changed.
    /// While it is open that is what had begun before, and says nothing new; nor does a job that is known to be poisonous.
    pub fn failed(&mut self, job: Option<i64>, why: &str, now: Instant, random: u64) -> bool {
        if job.is_some_and(|job| self.is_poisonous(job)) {
            return false;
        }
        self.failures = self.failures.saturating_add(1);
        why.clone_into(&mut self.why);
        match job {
            Some(job) if self.jobs.len() < MOST_POISONOUS => {
                self.jobs.insert(job);
            }
            Some(_) => {}
            None => self.jobless = self.jobless.saturating_add(1),
        }
        match self.state(now) {
            BreakerState::Open { .. } => false,
            BreakerState::HalfOpen => {
                self.open(now, random);
                true
            }
            BreakerState::Closed => {
                let opens = self.failures >= self.settings.failures
                    && self.jobs.len().saturating_add(self.jobless) >= self.settings.failures;
                if opens {
                    // One that closed a moment ago goes on where it was: it must not alternate at full speed.
                    let calm = self.closed.is_none_or(|(at, open)| now.saturating_duration_since(at) > open);
                    if calm {
                        self.cool_down = self.settings.first;
                    }
                    self.opened = Some(now);
                    self.open(now, random);
                }
                opens
            }
        }
    }

    /// Something succeeded, with this job if it was about one. Returns whether the state changed.
    pub fn succeeded(&mut self, job: Option<i64>, now: Instant) -> bool {
        self.failures = 0;
        self.jobless = 0;
        let failed = std::mem::take(&mut self.jobs);
        if self.settings.poison {
            self.poisonous.extend(failed);
        }
        if let Some(job) = job {
            self.poisonous.remove(&job);
        }
        while self.poisonous.len() > MOST_POISONOUS {
            self.poisonous.pop_first();
        }
        if let Some(opened) = self.opened.take() {
            self.closed = Some((now, now.saturating_duration_since(opened)));
        }
        std::mem::replace(&mut self.state, BreakerState::Closed) != BreakerState::Closed
    }

    /// Forgets everything: what it was about is another one now.
    pub fn reset(&mut self) {
        *self = Self::new(self.settings);
    }

    fn open(&mut self, now: Instant, random: u64) {
        let half = self.cool_down / 2;
        let span = u64::try_from(half.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        self.state = BreakerState::Open { until: now + half + Duration::from_millis(random % span) };
        self.cool_down = self.cool_down.saturating_mul(2).min(self.settings.longest);
    }
}

#[cfg(test)]
mod tests;
