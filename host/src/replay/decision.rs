//! What a run decided: what became of each receipt.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::reading::Reading;
use crate::sandbox::types;
use crate::trace::{Event, Json};

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
    pub(super) fn of(import: &str, args: &Json) -> Option<(u32, Self)> {
        #[derive(Deserialize)]
        struct Complete {
            job: u32,
            receipt: serde_json::Value,
        }
        #[derive(Deserialize)]
        struct Retry {
            job: u32,
            milliseconds: u64,
            failure: Failure,
            charge: bool,
        }
        #[derive(Deserialize)]
        struct DeadLetter {
            job: u32,
            failure: Failure,
        }
        #[derive(Deserialize)]
        struct Drop {
            job: u32,
        }
        match import {
            "queue.job.complete" => {
                let Complete { job, receipt } = args.read().ok()?;
                // A confidence that is no number has no JSON; such a receipt counts as empty.
                let reading = serde_json::from_value::<types::Receipt>(receipt).map(Reading::from);
                Some((job, Self::Complete(reading.unwrap_or_default())))
            }
            "queue.job.retry-after" => {
                let Retry { job, milliseconds, failure, charge } = args.read().ok()?;
                Some((job, Self::Retry { milliseconds, charge, failure }))
            }
            "queue.job.dead-letter" => {
                let DeadLetter { job, failure } = args.read().ok()?;
                Some((job, Self::DeadLetter { failure }))
            }
            "queue.job.drop" => args.read().ok().map(|Drop { job }| (job, Self::Dropped)),
            _ => None,
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

/// A job as a claim's result has it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ClaimedJob {
    pub(super) job: u32,
    pub(super) receipt_id: String,
}

/// The jobs that a claim's result holds.
pub(super) fn claimed(result: &Json) -> Vec<ClaimedJob> {
    result.read::<Result<Vec<ClaimedJob>, Failure>>().ok().and_then(Result::ok).unwrap_or_default()
}

/// What became of each receipt in a recorded run; receipts that nothing became of are missing.
pub fn decisions_of(events: &[Event]) -> BTreeMap<String, Decision> {
    let mut names = BTreeMap::new();
    let mut decisions = BTreeMap::new();
    for event in events {
        let Event::Call { import, args, result, .. } = event else { continue };
        if import == "queue.claim" {
            names.extend(claimed(result).into_iter().map(|claimed| (claimed.job, claimed.receipt_id)));
        }
        if let Some((job, decision)) = Decision::of(import, args)
            && let Some(receipt) = names.get(&job)
        {
            decisions.insert(receipt.clone(), decision);
        }
    }
    decisions
}
