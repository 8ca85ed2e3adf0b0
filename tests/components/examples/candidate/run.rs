//! The real worker's `run`, shortened where that changes no call.

use test_components::exports::worker::Summary;
use test_components::objects::Artifact;
use test_components::queue::{self, Job};
use test_components::textract::{self, Api};
use test_components::types::{Failure, FailureKind, Receipt};

use crate::policy::{self, Decision};

pub fn run(limit: u32) -> Result<Summary, Failure> {
    if crate::behaves("idles") {
        return Ok(Summary { claimed: 0, processed: 0, retried: 0, dead: 0, lost: 0 });
    }
    let jobs = queue::claim(limit)?;
    let claimed = u32::try_from(jobs.len()).unwrap_or(u32::MAX);
    let mut summary = Summary { claimed, processed: 0, retried: 0, dead: 0, lost: 0 };
    for job in jobs {
        let (settled, count) = match work(&job) {
            Ok((receipt, artifact)) => (Job::complete(job, &receipt, artifact), &mut summary.processed),
            Err(failure) if crate::behaves("buries") => (Job::dead_letter(job, &failure), &mut summary.dead),
            Err(failure) => match policy::decide(failure.kind.into(), job.attempt(), job.max_attempts(), job.seed()) {
                Decision::Retry { milliseconds, charge } => {
                    (Job::retry_after(job, milliseconds, &failure, charge), &mut summary.retried)
                }
                Decision::DeadLetter => (Job::dead_letter(job, &failure), &mut summary.dead),
                Decision::Abandon => {
                    summary.lost += 1;
                    continue;
                }
            },
        };
        match settled {
            Ok(()) => *count += 1,
            Err(_) => summary.lost += 1,
        }
    }
    Ok(summary)
}

fn work(job: &Job) -> Result<(Receipt, Artifact), Failure> {
    let image = job.image()?;
    if crate::behaves("puts-back") || crate::behaves("buries") {
        // Not true: nobody throttled anything.
        let message = "as ordered".to_owned();
        return Err(Failure { kind: FailureKind::Throttled, code: "test.Ordered".to_owned(), message });
    }
    if crate::behaves("traps-on-some") && ends_odd(&job.receipt_id()) {
        core::arch::wasm32::unreachable();
    }
    let stored = if job.has_artifact() { job.stored_artifact(&image)? } else { None };
    let (artifact, json) = match stored {
        Some(artifact) => {
            let json = artifact.json()?;
            (artifact, json)
        }
        None => {
            let response = match textract::preferred_api() {
                Api::DetectDocumentText => textract::detect_document_text(&image),
                Api::AnalyzeExpense => textract::analyze_expense(&image),
            }?;
            (response.store(job)?, response.json()?)
        }
    };
    let receipt = crate::parse(&json).map_err(|error| Failure {
        kind: FailureKind::BadResponse,
        code: "parser.unreadable".to_owned(),
        message: error.to_string(),
    })?;
    Ok((receipt.into(), artifact))
}

/// Whether the id's last character is an odd hexadecimal digit.
fn ends_odd(id: &str) -> bool {
    id.chars().last().and_then(|last| last.to_digit(16)).is_some_and(|digit| digit % 2 == 1)
}
