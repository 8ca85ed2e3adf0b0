//! What the test components share: the contract's bindings, and how a job is worked well.
//!
//! They are examples, not packages, so that one `cargo build --examples` makes them all; members of the workspace, so
//! that they have no lock file of their own; and empty for every target but wasm32, since they are nothing natively.

#![cfg(target_arch = "wasm32")]

/// Generated from `wit/`. Its own rules, not ours.
#[allow(
    missing_docs,
    unreachable_pub,
    unsafe_code,
    unsafe_op_in_unsafe_fn,
    clippy::all,
    clippy::restriction,
    reason = "generated"
)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "receipt-worker",
        pub_export_macro: true,
        default_bindings_module: "test_components::bindings",
    });
}

pub use bindings::exports::snapceit::receipts as exports;
pub use bindings::snapceit::receipts::{objects, queue, textract, types};

use objects::{Artifact, Image};
use queue::Job;
use types::{Failure, FailureKind, Receipt, TextField};

/// A component that is only its `run`.
#[macro_export]
macro_rules! only_run {
    ($run:expr) => {
        struct Component;

        impl $crate::exports::worker::Guest for Component {
            fn run(limit: u32) -> Result<$crate::exports::worker::Summary, $crate::types::Failure> {
                $run(limit)
            }
        }

        impl $crate::exports::parser::Guest for Component {
            fn parse(_: String) -> Result<$crate::types::Receipt, $crate::exports::parser::ParseError> {
                Ok($crate::reading(""))
            }
        }

        impl $crate::exports::policy::Guest for Component {
            fn decide(_: $crate::types::Failure, _: u32, _: u32, _: u64) -> $crate::exports::policy::Decision {
                $crate::exports::policy::Decision::DeadLetter
            }
        }

        $crate::bindings::export!(Component with_types_in $crate::bindings);
    };
}

/// A result with this vendor.
pub fn reading(vendor: &str) -> Receipt {
    let vendor = TextField { value: vendor.to_owned(), confidence: 99.0, place: None, why: None };
    Receipt { vendor: Some(vendor), total: None, date: None, subtotal: None, tax: None, confidence: 99.0, pages: 1 }
}

/// A failure with this message.
pub fn failure(message: String) -> Failure {
    Failure { kind: FailureKind::Internal, code: "test.Ordered".to_owned(), message }
}

/// What a component that behaves does up to its settling: image, OCR unless it was paid for, artifact.
pub fn artifact_of(job: &Job, image: &Image) -> Result<Artifact, Failure> {
    match job.stored_artifact(image)? {
        Some(stored) => Ok(stored),
        None => textract::detect_document_text(image)?.store(job),
    }
}

/// Completes a job with this result.
pub fn complete(job: Job, receipt: &Receipt) -> Result<(), Failure> {
    let image = job.image()?;
    let artifact = artifact_of(&job, &image)?;
    Job::complete(job, receipt, artifact)
}
