//! One settle on its way, and who waits for it.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::Job;
use super::outcome::{JobOutcome, SettleEntry};
use crate::charging::{Cause, Circumstances, charge};
use crate::failure::{Failure, FailureKind};

/// How long a run waits for a receipt that somebody has locked.
const STUCK: Duration = Duration::from_secs(5);
/// After so long it is asked whether the receipt is locked at all, and again.
const SUSPICIOUS: Duration = Duration::from_secs(2);
/// A receipt that may become neither done nor dead is looked at again this much later.
const REFUSED_DELAY: Duration = Duration::from_secs(15 * 60);

/// Called when a settle is committed after the run that asked for it was let go.
pub type Afterwards = Box<dyn FnOnce() + Send>;

/// A settle that is not answered yet.
pub struct Settlement {
    pub entry: SettleEntry,
    pub reply: Option<oneshot::Sender<Result<(), Failure>>>,
    pub since: Instant,
    /// A write of it ended without an answer: it may be committed, now or later.
    pub doubtful: bool,
    /// Its outcome is the settler's own, since the one that was asked for could not be written.
    pub(super) redecided: bool,
    afterwards: Option<Afterwards>,
    /// When it was last asked why its receipt stays locked.
    asked: Option<Instant>,
}

impl Settlement {
    /// Begins now.
    pub fn new(entry: SettleEntry, reply: Option<oneshot::Sender<Result<(), Failure>>>) -> Self {
        let since = Instant::now();
        Self { entry, reply, since, doubtful: false, redecided: false, afterwards: None, asked: None }
    }

    /// …and calls this if it is committed when nobody waits for it any more.
    pub(super) fn then(self, afterwards: Afterwards) -> Self {
        Self { afterwards: Some(afterwards), ..self }
    }

    /// Gives back a job that no instance has begun: due at once, uncharged. Nobody waits for it.
    pub(super) fn unbegun(job: &Job) -> Self {
        let outcome = JobOutcome::given_back(Duration::ZERO);
        Self::new(SettleEntry { lease: job.lease, outcome, component: None }, None)
    }

    /// Whether it changes the receipt. (To be put back, a job needs none.)
    pub(super) fn needs_receipt(&self) -> bool {
        !matches!(self.entry.outcome, JobOutcome::Retry { .. })
    }

    /// Whether it has been tried for so long that what ends by itself would have ended.
    pub(super) fn is_stuck(&self) -> bool {
        self.since.elapsed() >= STUCK
    }

    /// Whether its receipt has been locked for so long that it is time to ask whether it is. Asked once, it is not for a while.
    pub(super) fn is_suspicious(&mut self) -> bool {
        let suspicious = self.needs_receipt() && self.asked.unwrap_or(self.since).elapsed() >= SUSPICIOUS;
        if suspicious {
            self.asked = Some(Instant::now());
        }
        suspicious
    }

    /// Somebody has the receipt open in a transaction. The settle goes on, but the run that waits for it is let go: a few
    /// open editors must not stop all instances.
    pub(super) fn answered_if_stuck(mut self) -> Self {
        if self.since.elapsed() >= STUCK {
            let message = "the receipt is locked by another transaction; it will be settled when that ends";
            self.answer(Err(Failure::new(FailureKind::Unavailable, "queue.Locked", message)));
        }
        self
    }

    /// It is committed, or never will be.
    pub(super) fn end(mut self, verdict: Result<(), Failure>) {
        let committed = verdict.is_ok();
        let was_let_go = self.reply.is_none();
        self.answer(verdict);
        if let (true, true, Some(afterwards)) = (committed, was_let_go, self.afterwards.take()) {
            afterwards();
        }
    }

    /// The database does not take this outcome, and will not. A result that it does not take is a dead letter that says
    /// so; where it is rights or the schema that are wrong, or not even a dead letter is taken, the job waits in the queue
    /// with the reason until somebody has mended it.
    pub(super) fn refused(self, failure: Failure, is_about_the_data: bool) -> Self {
        let cause = match &self.entry.outcome {
            JobOutcome::Complete(_) if is_about_the_data => Cause::ResultRefused,
            _ => Cause::Unwritable,
        };
        self.redecide_for(cause, REFUSED_DELAY, failure)
    }

    /// It is put off, uncharged, with the reason in its row.
    pub(super) fn put_off(self, delay: Duration, failure: Failure) -> Self {
        self.redecide_for(Cause::Unwritable, delay, failure)
    }

    /// The host ends: the job goes back, as if it had not been begun. What was paid for it is kept.
    pub(super) fn given_back(self) -> Self {
        if !self.needs_receipt() {
            return self;
        }
        let outcome = JobOutcome::given_back(Duration::ZERO);
        let message = "the host stopped before the settle was committed";
        self.redecide(outcome, Failure::new(FailureKind::Unavailable, "queue.Stopped", message))
    }

    fn redecide_for(self, cause: Cause, delay: Duration, failure: Failure) -> Self {
        let charge = charge(cause, &Circumstances::default());
        let outcome = JobOutcome::failed(charge, delay, failure.clone(), "the database refused the result");
        self.redecide(outcome, failure)
    }

    fn redecide(mut self, outcome: JobOutcome, failure: Failure) -> Self {
        self.answer(Err(failure));
        // What is committed then is not what the component decided.
        self.afterwards = None;
        self.redecided = true;
        self.entry.outcome = outcome;
        self
    }

    fn answer(&mut self, verdict: Result<(), Failure>) {
        if let Some(reply) = self.reply.take() {
            let _ = reply.send(verdict);
        }
    }
}
