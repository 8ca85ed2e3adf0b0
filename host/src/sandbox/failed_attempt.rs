//! What becomes of a failed attempt. [`charging`] says who pays for it; here is for how long the receipt waits, and with which
//! words it is put back or given up.

use std::time::Duration;

use super::random::random_seed;
use super::state::Live;
use super::tally::Tally;
use crate::backoff;
use crate::breaker::Judgement;
use crate::charging::{self, Cause, Charge, Circumstances, ComponentHealth, DependencyHealth};
use crate::failure::{Failure, FailureKind};
use crate::queue::{Job, JobOutcome};

/// No component may put a job away for longer than this.
const LONGEST_DELAY: Duration = Duration::from_secs(24 * 60 * 60);
/// No component may ask for an uncharged attempt sooner than this: that has no other end than its delay, and is no busy loop.
const SHORTEST_UNCHARGED: Duration = Duration::from_secs(1);
/// The longer an outage has lasted, the longer a job waits in it: so long a part of it, at most, later than it could have.
const WAIT_OF_OUTAGE: u32 = 60;
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);
/// A photo that may yet come is looked for so soon at first, and later at least so often; or, where it is waited for for
/// hours, a hundred times.
const EARLY_FIRST: Duration = Duration::from_secs(2);
const EARLY_LONGEST: Duration = Duration::from_secs(10);
/// Time enough for a component that crashes on everything to be rolled back.
const AFTER_UNPROVEN_CRASH: Duration = Duration::from_millis(500);
/// The code of a photo that is not there, and may yet come.
pub(super) const NOT_THERE_YET: &str = "image.NotThereYet";

impl Live {
    /// A retry that the component asks for, as the host grants it.
    pub(super) fn put_back(&self, job: &Job, delay: Duration, failure: Failure, charge: bool) -> JobOutcome {
        self.granted(job, Cause::Retry { kind: failure.kind, charge }, delay, failure)
    }

    /// A dead letter that the component asks for, as the host grants it.
    pub(super) fn give_up(&self, job: &Job, failure: Failure) -> JobOutcome {
        let failure = self.naming_the_artifact(job, failure);
        let delay = backoff::charged(job.claims, random_seed());
        self.granted(job, Cause::GiveUp { kind: failure.kind }, delay, failure)
    }

    /// `delay`: where it is tried again, and nothing else is known.
    fn granted(&self, job: &Job, cause: Cause, delay: Duration, failure: Failure) -> JobOutcome {
        let judgement = self.judgement(job);
        let (attempt, dependencies) = (job.into(), judgement.health);
        let known = Circumstances { attempt, component: ComponentHealth::Works, dependencies };
        let charge = charging::charge(cause, &known);
        let delay = match dependencies {
            DependencyHealth::Down => delay.max(wait(judgement)),
            DependencyHealth::PhotoMayCome => until_looked_for(job.age(), self.services.photo_grace),
            DependencyHealth::Unknown | DependencyHealth::WorkForOthers => delay,
        };
        let delay = delay.min(LONGEST_DELAY);
        let delay = if charge == Charge::Uncharged { delay.max(SHORTEST_UNCHARGED) } else { delay };
        outcome(job, charge, delay, failure)
    }

    /// What the host knows of storage and OCR, as to this job.
    fn judgement(&self, job: &Job) -> Judgement {
        if self.early.contains(&job.lease.job) {
            return Judgement { health: DependencyHealth::PhotoMayCome, ..Judgement::default() };
        }
        if !self.dependency_failed.contains(&job.lease.job) {
            return Judgement::default();
        }
        self.services.outage.judge(job.lease.job)
    }

    /// Many apps insert the row first and upload the photo a moment later: while the row is young, a photo that is not there
    /// is not there yet.
    pub(super) fn absent(&mut self, job: &Job, failure: Failure) -> Failure {
        let left = self.services.photo_grace.saturating_sub(job.age());
        if left.is_zero() {
            return failure;
        }
        self.early.insert(job.lease.job);
        let message = format!(
            "{} (not there yet? it is looked for for another {} s: --photo-grace)",
            failure.message,
            left.as_secs().max(1)
        );
        Failure::new(FailureKind::Unavailable, NOT_THERE_YET, message)
    }

    /// An answer that cannot be read stays so, for it is kept: so whoever is told of it is told where it is, and what to do.
    fn naming_the_artifact(&self, job: &Job, failure: Failure) -> Failure {
        match self.artifacts.get(&job.lease.job) {
            Some(key) if failure.kind == FailureKind::BadResponse => {
                let message = format!(
                    "{} (s3://{}/{key}; `host dlq retry {} --ocr-again` moves it aside and pays for another answer)",
                    failure.message,
                    self.services.artifacts.bucket(),
                    job.receipt_id
                );
                Failure::new(failure.kind, failure.code, message)
            }
            _ => failure,
        }
    }
}

/// The same for a job on which the component, or the host, crashed.
pub(super) fn crashed(tally: &Tally, job: &Job, failure: Failure) -> JobOutcome {
    let known = Circumstances { attempt: job.into(), component: tally.health(job), ..Circumstances::default() };
    let charge = charging::charge(Cause::Crash, &known);
    let delay = match charge {
        Charge::Uncharged if !tally.is_trusted() => AFTER_UNPROVEN_CRASH,
        // For longer each time, so that the next probe is another job.
        Charge::Uncharged => backoff::charged(job.claims, random_seed()),
        Charge::Charged | Charge::Dead => backoff::charged(job.attempt, random_seed()),
    };
    outcome(job, charge, delay, failure)
}

fn outcome(job: &Job, charge: Charge, delay: Duration, failure: Failure) -> JobOutcome {
    let last = job.attempt >= job.max_attempts;
    let notes = if last { "max attempts exceeded" } else { "permanent failure" };
    JobOutcome::failed(charge, delay, failure, notes)
}

/// For how long a job waits in an outage.
fn wait(Judgement { lasting, tries, .. }: Judgement) -> Duration {
    let wait = (lasting / WAIT_OF_OUTAGE).min(LONGEST_WAIT);
    let doubt = if tries == 0 { Duration::ZERO } else { backoff::charged(tries, random_seed()) };
    wait.max(doubt)
}

/// Seconds, not the backoff of an outage, so that a photo is read soon after it comes; a quarter of the time that it has been
/// waited for, so that it is not looked for too often; and once more when the time is over.
fn until_looked_for(age: Duration, grace: Duration) -> Duration {
    let longest = (age / 4).clamp(EARLY_FIRST, EARLY_LONGEST.max(grace / 100));
    let half = u64::try_from(longest.as_millis() / 2).unwrap_or(u64::MAX);
    let delay = Duration::from_millis(half.saturating_add(random_seed() % half.saturating_add(1)));
    delay.min(grace.saturating_sub(age))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> Failure {
        Failure::new(FailureKind::Internal, "component.Trap", "")
    }

    #[test]
    fn a_crash_waits_by_its_attempt_its_claims_or_not_at_all_by_who_pays() {
        let (tally, job) = (Tally::default(), Job::for_test(1, 9));
        let within = |outcome: JobOutcome, charged: bool, most: Duration| match outcome {
            JobOutcome::Retry { delay, charge, failure: Some(_) } => charge == charged && delay <= most,
            _ => false,
        };
        let first = Duration::from_secs(5);
        assert!(within(crashed(&tally, &job, failure()), true, first), "the first attempt of nine claims");
        let mut last = job.clone();
        last.attempt = last.max_attempts;
        assert!(matches!(
            crashed(&tally, &last, failure()),
            JobOutcome::DeadLetter { notes: "max attempts exceeded", .. }
        ));
        (1..=3).for_each(|number| tally.record_run_failure(Some(number), "trap"));
        assert!(within(crashed(&tally, &last, failure()), false, LONGEST_WAIT));
        tally.distrust();
        assert!(within(crashed(&tally, &last, failure()), false, AFTER_UNPROVEN_CRASH));
    }

    #[test]
    fn a_photo_that_may_come_is_looked_for_soon_and_once_more_when_the_time_is_over() {
        let seconds = Duration::from_secs;
        for (age, grace, least, most) in [
            (seconds(0), seconds(300), seconds(1), EARLY_FIRST),
            (seconds(200), seconds(300), seconds(5), EARLY_LONGEST),
            (seconds(299), seconds(300), seconds(1), seconds(1)),
            (seconds(400), seconds(300), seconds(0), seconds(0)),
            (seconds(8000), seconds(10_000), seconds(50), seconds(100)),
        ] {
            let delay = until_looked_for(age, grace);
            assert!(delay >= least && delay <= most, "{age:?}: {delay:?}");
        }
    }

    #[test]
    fn the_longer_an_outage_and_the_more_doubtful_the_longer_a_job_waits() {
        let seconds = Duration::from_secs;
        let down = |lasting, tries| wait(Judgement { health: DependencyHealth::Down, lasting, tries });
        assert_eq!(down(seconds(600), 0), seconds(10));
        assert_eq!(down(seconds(7 * 24 * 3600), 0), LONGEST_WAIT);
        assert!(down(seconds(0), 20) > Duration::ZERO);
        assert!(down(seconds(600), 20) >= seconds(10));
    }
}
