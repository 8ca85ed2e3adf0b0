//! Whose a failure of storage or OCR is: the service's, for which nobody pays, or one object's (forbidden, under a key that may
//! not be used, broken), which is charged and must not hold up the others. One job cannot tell; the host sees them all: what a
//! service does for others at the same step, it would do for this one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{BreakerSettings, BreakerState, SharedBreaker};
use crate::charging::DependencyHealth;

/// What a job asks of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Its photo.
    Read,
    /// The artifact of an earlier attempt.
    Find,
    /// OCR.
    Recognize,
    /// To keep an artifact.
    Store,
}

/// Whose one failure is, by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The service's beyond doubt: nobody answers, it is overloaded, it knows no such credentials.
    Service,
    /// The service's, and no receipt's: it is closed to us, or asked for the like, which it has done before, it refuses that, too.
    Closed,
    /// The service's, as it seems: it refuses what is nobody's, but may do so only where it would have to say that there is none.
    Presumed,
    /// The service's or the object's: a refusal says only that.
    Doubtful,
    /// The object's beyond doubt: a moment later the service did the same for another one.
    Object,
}

/// What all that is known says of a job's failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Judgement {
    /// How the service fares with others.
    pub health: DependencyHealth,
    /// For how long it has failed on this job, where it is down.
    pub lasting: Duration,
    /// So often it was in doubt then.
    pub tries: u32,
}

/// Failures in a row, at one step, from which on they are the service's as long as it does nothing for anybody.
const OUTAGE: usize = BreakerSettings::SERVICES.failures;
/// Different receipts on which a service must fail in doubt, in a row, before it is left alone: more than the few objects of
/// one kind that may be in a queue.
const DOUBTFUL: usize = 8;
/// So often others were served between two failures of a job: it is charged.
const STRIKES: u32 = 5;
/// So often a job failed in doubt: it is charged though nothing else tells. With the host's backoff more than an hour.
const MOST_TRIES: u32 = 20;
/// Jobs that are remembered.
const MOST_RECORDS: usize = 10_000;

/// The breaker of storage and OCR, with what it judges by.
#[derive(Debug)]
pub struct ServiceBreaker {
    evidence: Mutex<Evidence>,
    breaker: Arc<SharedBreaker>,
}

#[derive(Debug, Default)]
struct Evidence {
    places: BTreeMap<Step, Place>,
    records: BTreeMap<i64, Record>,
    /// Steps whose failures the breaker has heard of since it was told of a success.
    told: BTreeSet<Step>,
}

/// What is known of a step.
#[derive(Debug, Default)]
struct Place {
    /// Successes so far.
    served: u64,
    /// Failures since the last one that may be the service's.
    failures: usize,
    /// The jobs of those that are in doubt.
    doubtful: BTreeSet<i64>,
}

/// What is known of a job that failed.
#[derive(Debug)]
struct Record {
    step: Step,
    /// The step's successes when it failed last.
    served: u64,
    strikes: u32,
    /// Failures in doubt.
    tries: u32,
    /// Those of them for which nothing speaks, neither for the service nor for the object.
    unexplained: u32,
    /// Whether the service, when it failed last, would have failed for any other.
    likewise: bool,
    /// The last failure costs nothing: the service would have failed for any other, or came back while it was asked.
    uncharged: bool,
    since: Instant,
}

impl Default for ServiceBreaker {
    fn default() -> Self {
        Self::new(BreakerSettings::SERVICES)
    }
}

impl ServiceBreaker {
    /// Closed.
    pub fn new(settings: BreakerSettings) -> Self {
        Self { evidence: Mutex::default(), breaker: Arc::new(SharedBreaker::new(settings)) }
    }

    /// What the schedule watches.
    pub fn breaker(&self) -> Arc<SharedBreaker> {
        Arc::clone(&self.breaker)
    }

    /// A service failed on this job.
    pub fn failed(&self, job: i64, step: Step, blame: Blame, why: &str) {
        let tell = {
            let mut evidence = self.lock();
            let evidence = &mut *evidence;
            if self.breaker.state() == BreakerState::Closed && self.breaker.failures() == 0 {
                evidence.told.clear();
            }
            let tell = evidence.failed(job, step, blame);
            if tell {
                evidence.told.insert(step);
            }
            tell
        };
        if tell {
            self.breaker.failed(Some(job), why);
        }
    }

    /// A service did for this job what it asked for.
    pub fn succeeded(&self, job: i64, step: Step) {
        let mut evidence = self.lock();
        let place = evidence.places.entry(step).or_default();
        place.served = place.served.saturating_add(1);
        place.failures = 0;
        place.doubtful.clear();
        if evidence.records.get(&job).is_some_and(|record| record.step == step) {
            evidence.records.remove(&job);
        }
        evidence.told.remove(&step);
        let all = evidence.told.is_empty();
        drop(evidence);
        if all {
            self.breaker.succeeded(Some(job));
        }
    }

    /// A job went all the way.
    pub fn completed(&self, job: i64) {
        let mut evidence = self.lock();
        for place in evidence.places.values_mut() {
            place.failures = 0;
            place.doubtful.clear();
        }
        evidence.records.remove(&job);
        evidence.told.clear();
        drop(evidence);
        self.breaker.succeeded(Some(job));
    }

    /// A job is over.
    pub fn forget(&self, job: i64) {
        self.lock().records.remove(&job);
    }

    /// What is to be thought of the failures of this job.
    pub fn judge(&self, job: i64) -> Judgement {
        let of = |health| Judgement { health, ..Judgement::default() };
        let evidence = self.lock();
        let Some(record) = evidence.records.get(&job) else { return of(DependencyHealth::Unknown) };
        let failures = evidence.places.get(&record.step).map_or(0, |place| place.failures);
        match record {
            Record { strikes: STRIKES.., .. } | Record { unexplained: MOST_TRIES.., .. } => {
                of(DependencyHealth::WorkForOthers)
            }
            Record { strikes: 1.., uncharged: false, .. } => of(DependencyHealth::Unknown),
            Record { tries, uncharged, since, .. } if *uncharged || failures >= OUTAGE => {
                Judgement { health: DependencyHealth::Down, lasting: since.elapsed(), tries: *tries }
            }
            _ => of(DependencyHealth::Unknown),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Evidence> {
        self.evidence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Evidence {
    /// Books a failure. Returns whether the breaker is to hear of it.
    fn failed(&mut self, job: i64, step: Step, blame: Blame) -> bool {
        let place = self.places.entry(step).or_default();
        let (served, since) = (place.served, Instant::now());
        let new =
            || Record { step, served, strikes: 0, tries: 0, unexplained: 0, likewise: false, uncharged: false, since };
        let record = self.records.entry(job).or_insert_with(new);
        if record.step != step {
            // It got further than last time, or not so far: that was another matter.
            *record = new();
        }
        let was_closed = std::mem::replace(&mut record.likewise, matches!(blame, Blame::Closed | Blame::Presumed));
        let came_back = was_closed && blame == Blame::Object;
        record.uncharged = record.likewise || came_back;
        let tell = if came_back {
            false
        } else if matches!(blame, Blame::Service | Blame::Closed) {
            place.failures = place.failures.saturating_add(1);
            true
        } else {
            record.tries = record.tries.saturating_add(1);
            if blame != Blame::Presumed {
                record.unexplained = record.unexplained.saturating_add(1);
            }
            if blame == Blame::Object || place.served > record.served {
                record.strikes = record.strikes.saturating_add(1);
            }
            record.served = place.served;
            match record.strikes {
                0 => {
                    place.failures = place.failures.saturating_add(1);
                    // One that failed before says nothing new: the next one is tried at once.
                    place.doubtful.insert(job) && place.doubtful.len() > DOUBTFUL - OUTAGE
                }
                _ => {
                    place.doubtful.remove(&job);
                    false
                }
            }
        };
        if self.records.len() > MOST_RECORDS {
            let oldest = self.records.keys().copied().find(|number| *number != job);
            oldest.map(|number| self.records.remove(&number));
        }
        tell
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use DependencyHealth::{Down, Unknown, WorkForOthers};

    fn health(services: &ServiceBreaker, job: i64) -> DependencyHealth {
        services.judge(job).health
    }

    fn state(services: &ServiceBreaker) -> &'static str {
        services.breaker().report().state
    }

    #[test]
    fn a_few_forbidden_objects_open_nothing_and_are_charged_in_the_end() {
        let services = ServiceBreaker::default();
        for round in 0..MOST_TRIES {
            for job in 1..=6 {
                assert_ne!(health(&services, job), WorkForOthers, "{round}");
                services.failed(job, Step::Read, Blame::Doubtful, "403");
            }
            assert_eq!(state(&services), "closed");
            match services.judge(1) {
                Judgement { health: Down, tries, .. } => assert!(tries == round + 1 && tries < MOST_TRIES, "{round}"),
                judgement => assert_eq!((judgement.health, round + 1), (WorkForOthers, MOST_TRIES)),
            }
        }
    }

    #[test]
    fn what_is_refused_like_everything_costs_nothing_however_few_and_however_long() {
        for blame in [Blame::Closed, Blame::Presumed] {
            let services = ServiceBreaker::default();
            for _ in 0..1_000 {
                services.failed(1, Step::Read, blame, "403");
                assert_eq!(health(&services, 1), Down, "{blame:?}");
            }
            assert_eq!(state(&services), "closed", "{blame:?}: one receipt alone");
        }
    }

    #[test]
    fn an_object_that_is_refused_alone_is_charged_also_after_a_bucket_was_closed() {
        let services = ServiceBreaker::default();
        for _ in 0..100 {
            services.failed(1, Step::Read, Blame::Presumed, "403");
        }
        // Refused a moment before the bucket was opened, perhaps.
        services.failed(1, Step::Read, Blame::Object, "403");
        assert_eq!(health(&services, 1), Down);
        for _ in 0..STRIKES {
            assert_ne!(health(&services, 1), WorkForOthers);
            services.succeeded(2, Step::Read);
            services.failed(1, Step::Read, Blame::Object, "403");
        }
        assert_eq!(health(&services, 1), WorkForOthers);
    }

    #[test]
    fn what_is_refused_while_others_are_served_is_its_own() {
        let services = ServiceBreaker::default();
        for round in 0..=STRIKES {
            assert_eq!(health(&services, 1), Unknown, "{round}");
            services.failed(1, Step::Read, Blame::Doubtful, "403");
            services.succeeded(2, Step::Read);
        }
        assert_eq!(health(&services, 1), WorkForOthers);
        // Then it counts no more, however many of them there are.
        for job in 10..100 {
            services.failed(job, Step::Read, Blame::Doubtful, "403");
            services.succeeded(2, Step::Read);
        }
        for job in 10..100 {
            services.failed(job, Step::Read, Blame::Doubtful, "403");
        }
        assert_eq!(state(&services), "closed");
        services.succeeded(1, Step::Read);
        assert_eq!(health(&services, 1), Unknown);
    }

    #[test]
    fn a_service_that_does_nothing_for_anybody_is_left_alone_at_nobodys_cost() {
        for (blame, needed) in [(Blame::Service, OUTAGE), (Blame::Doubtful, DOUBTFUL)] {
            let services = ServiceBreaker::default();
            services.succeeded(100, Step::Read);
            for job in (1..).take(needed) {
                assert_eq!(state(&services), "closed", "{blame:?} {job}");
                services.failed(job, Step::Read, blame, "403");
            }
            assert_eq!(state(&services), "open", "{blame:?}");
            assert_eq!(health(&services, 1), Down);
            // What another step does says nothing.
            services.succeeded(200, Step::Store);
            assert_eq!(state(&services), "open", "{blame:?}");
            services.succeeded(201, Step::Read);
            assert_eq!(state(&services), "closed", "{blame:?}");
        }
    }

    #[test]
    fn what_works_before_it_does_not_hide_a_step_that_fails_for_all() {
        let services = ServiceBreaker::default();
        for job in 1..=3 {
            services.succeeded(job, Step::Read);
            services.succeeded(job, Step::Recognize);
            services.failed(job, Step::Store, Blame::Service, "405");
        }
        assert_eq!(state(&services), "open");
        services.completed(4);
        assert_eq!(state(&services), "closed");
    }
}
