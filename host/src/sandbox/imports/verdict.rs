//! What becomes of a failed attempt, where the host knows more than the component: that sees one job, the host sees them all.

use std::time::Duration;

use crate::breaker::Whose;
use crate::failure::{Failure, FailureKind};
use crate::queue::{Job, Outcome};
use crate::sandbox::run::random_seed;
use crate::sandbox::state::Live;

/// No component may put a job away for longer than this.
const LONGEST_DELAY: Duration = Duration::from_secs(24 * 60 * 60);
/// No component may ask for an uncharged attempt sooner than this.
const SHORTEST_UNCHARGED: Duration = Duration::from_secs(1);
/// Claims of one job after which attempts are charged even if nobody is to blame (throttling excepted): with the waits of an
/// outage about a week.
const MOST_UNCHARGED_CLAIMS: u32 = 1000;
/// The longer an outage has lasted, the longer a job waits in it: so long a part of it, at most, later than it could have.
const WAIT_OF_OUTAGE: u32 = 60;
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);
/// A photo that may yet come is looked for so soon at first, and later at least so often; or, where it is waited for for
/// hours, a hundred times.
const EARLY_FIRST: Duration = Duration::from_secs(2);
const EARLY_LONGEST: Duration = Duration::from_secs(10);
/// The code of a photo that is not there, and may yet come.
pub(super) const NOT_THERE_YET: &str = "image.NotThereYet";

/// What the host knows of a job that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing that the component does not: its word stands.
    Unknown,
    /// The surroundings failed on it as on the others of late: it costs no attempt, and waits for longer each time.
    Outage { wait: Duration },
    /// The surroundings fail on it and not on the others: it is charged, whatever the component says.
    Own,
    /// Its photo is not there, and may yet come for so long.
    Early { left: Duration },
}

impl Live {
    /// The host's verdict on this job.
    pub(super) fn verdict(&self, job: &Job) -> Verdict {
        if self.early.contains(&job.lease.job) {
            return Verdict::Early { left: self.services.photo_grace.saturating_sub(job.age()) };
        }
        if !self.let_down.contains(&job.lease.job) {
            return Verdict::Unknown;
        }
        match self.services.outage.whose(job.lease.job) {
            Whose::Unknown => Verdict::Unknown,
            Whose::Services { tries, lasting } => {
                let wait = (lasting / WAIT_OF_OUTAGE).min(LONGEST_WAIT);
                let doubt = if tries == 0 { Duration::ZERO } else { crate::backoff::charged(tries, random_seed()) };
                Verdict::Outage { wait: wait.max(doubt) }
            }
            Whose::Jobs => Verdict::Own,
        }
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

    /// A retry that the component asks for, as the host grants it.
    pub(super) fn put_back(&self, job: &Job, delay: Duration, failure: Failure, charge: bool) -> Outcome {
        match self.verdict(job) {
            Verdict::Unknown => retry(job, delay, failure, charge),
            Verdict::Outage { wait } => retry(job, delay.max(wait), failure, false),
            Verdict::Own => retry(job, delay, failure, true),
            Verdict::Early { left } => early(job, left, self.services.photo_grace, failure),
        }
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

    /// A dead letter that the component asks for, as the host grants it.
    pub(super) fn give_up(&self, job: &Job, failure: Failure) -> Outcome {
        let failure = self.naming_the_artifact(job, failure);
        let last = job.attempt >= job.max_attempts;
        match self.verdict(job) {
            // The attempts ran out on what is nobody's fault.
            Verdict::Outage { wait } if last => {
                retry(job, wait.max(crate::backoff::charged(job.claims, random_seed())), failure, false)
            }
            Verdict::Early { left } if last => early(job, left, self.services.photo_grace, failure),
            _ => {
                Outcome::DeadLetter { failure, notes: if last { "max attempts exceeded" } else { "permanent failure" } }
            }
        }
    }
}

/// Seconds, not the backoff of an outage, so that a photo is read soon after it comes; a quarter of the time that it has been
/// waited for, so that it is not looked for too often; and once more when the time is over.
fn early(job: &Job, left: Duration, grace: Duration, failure: Failure) -> Outcome {
    let longest = (job.age() / 4).clamp(EARLY_FIRST, EARLY_LONGEST.max(grace / 100));
    let half = u64::try_from(longest.as_millis() / 2).unwrap_or(u64::MAX);
    let delay = Duration::from_millis(half.saturating_add(random_seed() % half.saturating_add(1)));
    let delay = delay.min(left).max(SHORTEST_UNCHARGED);
    Outcome::Retry { delay, charge: false, failure: Some(failure) }
}

/// A retry as the host grants it where nothing else is known.
fn retry(job: &Job, delay: Duration, failure: Failure, charge: bool) -> Outcome {
    // What is never the receipt's fault is never charged; but an image that nobody can read must not go round for ever.
    let charge = charge || (job.claims >= MOST_UNCHARGED_CLAIMS && failure.kind != FailureKind::Throttled);
    if charge && job.attempt >= job.max_attempts {
        // The limit is the host's to keep, whatever the component decides.
        return Outcome::DeadLetter { failure, notes: "max attempts exceeded" };
    }
    let delay = delay.min(LONGEST_DELAY);
    // What costs no attempt has no other end than its delay: never a busy loop.
    let delay = if charge { delay } else { delay.max(SHORTEST_UNCHARGED) };
    Outcome::Retry { delay, charge, failure: Some(failure) }
}
