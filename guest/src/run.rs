//! Working the queue: claim → image → OCR, unless an earlier attempt has paid for it → artifact → parse → settle.

use crate::bindings::exports::snapceit::receipts::worker::Summary;
use crate::bindings::snapceit::receipts::objects::{Artifact, Image};
use crate::bindings::snapceit::receipts::queue::{self, Job};
use crate::bindings::snapceit::receipts::textract::{self, Api};
use crate::bindings::snapceit::receipts::types::{Failure, FailureKind, Receipt};
use crate::parser;
use crate::policy::{self, Decision};
use crate::textract::ReadError;

/// Claims up to `limit` jobs and works them in the order in which they came.
pub(crate) fn run(limit: u32) -> Result<Summary, Failure> {
    let jobs = queue::claim(limit)?;
    let mut summary =
        Summary { claimed: u32::try_from(jobs.len()).unwrap_or(u32::MAX), processed: 0, retried: 0, dead: 0, lost: 0 };
    for job in jobs {
        let count = match settle(job) {
            JobOutcome::Processed => &mut summary.processed,
            JobOutcome::Retried => &mut summary.retried,
            JobOutcome::Dead => &mut summary.dead,
            JobOutcome::Lost => &mut summary.lost,
        };
        *count += 1;
    }
    Ok(summary)
}

/// What became of a job; each is a count of the summary.
enum JobOutcome {
    Processed,
    Retried,
    Dead,
    Lost,
}

/// Works a job and settles it. A settling call that fails leaves the job to whoever has, or gets, its lease.
fn settle(job: Job) -> JobOutcome {
    let (decision, failure) = match work(&job) {
        Ok(work) => {
            return match Job::complete(job, &work.receipt, work.artifact) {
                Ok(()) => JobOutcome::Processed,
                Err(_) => JobOutcome::Lost,
            };
        }
        Err(failed) => (failed.decide(&job), failed.failure),
    };
    let (settled, outcome) = match decision {
        Decision::Retry { milliseconds, charge } => {
            let settled = Job::retry_after(job, milliseconds, &failure, charge);
            (settled, JobOutcome::Retried)
        }
        Decision::DeadLetter => (Job::dead_letter(job, &failure), JobOutcome::Dead),
        // Dropping the handle is all that may be done with it.
        Decision::Abandon => return JobOutcome::Lost,
    };
    if settled.is_ok() { outcome } else { JobOutcome::Lost }
}

/// A receipt that was read, and the stored response that it was read from.
struct Work {
    receipt: Receipt,
    artifact: Artifact,
}

/// Why a job could not be worked.
struct WorkFailure {
    failure: Failure,
    /// Whether OCR was paid for and its answer lost, so that the next attempt pays again.
    paid: bool,
}

impl WorkFailure {
    fn decide(&self, job: &Job) -> Decision {
        let decide = if self.paid { policy::decide_after_paying } else { policy::decide };
        decide(self.failure.kind.into(), job.attempt(), job.max_attempts(), job.seed())
    }
}

impl From<Failure> for WorkFailure {
    fn from(failure: Failure) -> Self {
        Self { failure, paid: false }
    }
}

fn work(job: &Job) -> Result<Work, WorkFailure> {
    let image = job.image()?;
    let (artifact, json) = match stored(job, &image)? {
        Some(stored) => stored,
        None => recognize(job, &image)?,
    };
    // A stored response that does not parse is not fetched anew: it is what Textract sent, and would be again.
    let receipt = parser::parse(&json).map_err(unreadable)?;
    Ok(Work { receipt: receipt.into(), artifact })
}

/// The response that an earlier attempt paid for. One that is gone or damaged is as if it had never been stored: asking
/// for it again would fail for ever.
fn stored(job: &Job, image: &Image) -> Result<Option<(Artifact, String)>, Failure> {
    if !job.has_artifact() {
        return Ok(None);
    }
    let opened =
        job.stored_artifact(image).and_then(|artifact| artifact.map(|a| a.json().map(|json| (a, json))).transpose());
    match opened {
        Err(failure) if matches!(failure.kind, FailureKind::NotFound | FailureKind::BadResponse) => Ok(None),
        opened => opened,
    }
}

/// Pays for OCR and stores the answer before anything else can go wrong.
fn recognize(job: &Job, image: &Image) -> Result<(Artifact, String), WorkFailure> {
    let response = match textract::preferred_api() {
        Api::DetectDocumentText => textract::detect_document_text(image),
        Api::AnalyzeExpense => textract::analyze_expense(image),
    }?;
    // Storing twice is harmless and costs less than OCR.
    let artifact =
        response.store(job).or_else(|_| response.store(job)).map_err(|failure| WorkFailure { failure, paid: true })?;
    Ok((artifact, response.json()?))
}

fn unreadable(error: ReadError) -> Failure {
    let code = match error {
        ReadError::NotJson(_) => "parser.not-json",
        ReadError::NotTextract(_) => "parser.not-textract",
    };
    Failure {
        kind: FailureKind::BadResponse,
        code: code.to_owned(),
        message: format!("The OCR response cannot be read: {error}"),
    }
}
