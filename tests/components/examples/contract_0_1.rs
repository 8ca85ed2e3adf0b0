//! A worker that is made for the contract's 0.1.0, as its receipts were before they had reasons, subtotal and tax.
#![cfg(target_arch = "wasm32")]

/// Generated. Its own rules, not ours.
#[allow(unsafe_code, unsafe_op_in_unsafe_fn, clippy::all, clippy::restriction, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "../../wit/0.1.0", world: "receipt-worker" });

    use super::Component;
    export!(Component);
}

use bindings::exports::snapceit::receipts::{parser, policy, worker};
use bindings::snapceit::receipts::queue::{self, Job};
use bindings::snapceit::receipts::textract;
use bindings::snapceit::receipts::types::{Date, DateField, Failure, Money, MoneyField, Receipt, TextField};

struct Component;

impl worker::Guest for Component {
    fn run(limit: u32) -> Result<worker::Summary, Failure> {
        let mut summary = worker::Summary { claimed: 0, processed: 0, retried: 0, dead: 0, lost: 0 };
        for job in queue::claim(limit)? {
            summary.claimed += 1;
            match work(job) {
                Ok(()) => summary.processed += 1,
                Err(_) => summary.lost += 1,
            }
        }
        Ok(summary)
    }
}

impl parser::Guest for Component {
    fn parse(_: String) -> Result<Receipt, parser::ParseError> {
        Ok(reading())
    }
}

impl policy::Guest for Component {
    fn decide(_: Failure, attempt: u32, _: u32, _: u64) -> policy::Decision {
        policy::Decision::Retry(policy::Retry { milliseconds: u64::from(attempt), charge: true })
    }
}

fn work(job: Job) -> Result<(), Failure> {
    let image = job.image()?;
    let artifact = match job.stored_artifact(&image)? {
        Some(stored) => stored,
        None => textract::detect_document_text(&image)?.store(&job)?,
    };
    artifact.json()?;
    Job::complete(job, &reading(), artifact)
}

fn reading() -> Receipt {
    let total = Money { units: 635, scale: 2, currency: Some("MYR".to_owned()) };
    Receipt {
        vendor: Some(TextField { value: "FORMER".to_owned(), confidence: 90.0, place: None }),
        total: Some(MoneyField { value: total, confidence: 90.0, place: None }),
        date: Some(DateField { value: Date { year: 2018, month: 3, day: 12 }, confidence: 90.0, place: None }),
        confidence: 81.0,
        pages: 1,
    }
}
