//! What a run decided: what became of each receipt.

use std::collections::BTreeMap;

use serde::Serialize;

use super::recorded::{UnreadableCall, calls};
use crate::failure::Failure;
use crate::reading::Reading;
use crate::sandbox::{AnyCall, import};
use crate::trace::Trace;

/// What became of a receipt.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// Done, with this reading.
    Complete(Reading),
    /// Put back.
    Retry {
        /// For how long, in milliseconds.
        milliseconds: u64,
        /// Whether the attempt counts.
        charge: bool,
        /// Why.
        failure: Failure,
    },
    /// Given up.
    DeadLetter {
        /// Why.
        failure: Failure,
    },
    /// Let go without a word.
    Dropped,
}

impl Decision {
    /// The decision that a settling call is, and the number of its job.
    pub(super) fn of(call: &AnyCall) -> Option<(u32, Self)> {
        match call {
            AnyCall::Complete(import::Complete { job, receipt, .. }) => {
                Some((*job, Self::Complete(Reading::from(receipt.clone()))))
            }
            AnyCall::RetryAfter(import::RetryAfter { job, milliseconds, charge, failure }) => {
                let (milliseconds, charge) = (*milliseconds, *charge);
                Some((*job, Self::Retry { milliseconds, charge, failure: failure.clone() }))
            }
            AnyCall::DeadLetter(import::DeadLetter { job, failure }) => {
                Some((*job, Self::DeadLetter { failure: failure.clone() }))
            }
            AnyCall::DropJob(import::DropJob { job }) => Some((*job, Self::Dropped)),
            AnyCall::Claim(_)
            | AnyCall::JobId(_)
            | AnyCall::JobReceiptId(_)
            | AnyCall::JobAttempt(_)
            | AnyCall::JobMaxAttempts(_)
            | AnyCall::JobSeed(_)
            | AnyCall::JobHasArtifact(_)
            | AnyCall::FetchImage(_)
            | AnyCall::FindArtifact(_)
            | AnyCall::ImageSize(_)
            | AnyCall::ImageContentType(_)
            | AnyCall::ImageDigest(_)
            | AnyCall::DropImage(_)
            | AnyCall::ArtifactKey(_)
            | AnyCall::ReadArtifact(_)
            | AnyCall::DropArtifact(_)
            | AnyCall::PreferredApi(_)
            | AnyCall::DetectDocumentText(_)
            | AnyCall::AnalyzeExpense(_)
            | AnyCall::ReadResponse(_)
            | AnyCall::StoreResponse(_)
            | AnyCall::DropResponse(_) => None,
        }
    }

    /// In words, without the reading.
    pub fn in_words(&self) -> String {
        match self {
            Self::Complete(_) => "complete".to_owned(),
            Self::Retry { milliseconds, charge, failure } => {
                let cost = if *charge { "charged" } else { "uncharged" };
                format!("retry after {milliseconds} ms, {cost} ({}, {})", failure.kind, failure.code)
            }
            Self::DeadLetter { failure } => format!("dead letter ({}, {})", failure.kind, failure.code),
            Self::Dropped => "dropped".to_owned(),
        }
    }
}

/// What became of each receipt in a recorded run; receipts that nothing became of are missing.
///
/// Fails where a call cannot be read.
pub fn decisions_of(trace: &Trace) -> Result<BTreeMap<String, Decision>, UnreadableCall> {
    let mut names = BTreeMap::new();
    let mut decisions = BTreeMap::new();
    for recorded in calls(trace) {
        let recorded = recorded?;
        if let AnyCall::Claim(claim) = &recorded.call {
            let jobs = recorded.answer(claim)?.unwrap_or_default();
            names.extend(jobs.into_iter().map(|job| (job.job, job.receipt_id)));
        }
        if let Some((job, decision)) = Decision::of(&recorded.call)
            && let Some(receipt) = names.get(&job)
        {
            decisions.insert(receipt.clone(), decision);
        }
    }
    Ok(decisions)
}
