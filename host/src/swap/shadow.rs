//! A component in the shadow: it reads every live response beside the one that works, decides nothing, and what differs
//! is counted.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::deployed::Deployed;
use super::parsed::parsed;
use crate::reading::Reading;
use crate::replay::{Differences, FieldChange, FieldDifference};
use crate::sandbox::{Observer, Sandbox, types};
use crate::telemetry::metrics::Metrics;

/// Responses that wait to be read. The work never waits: what finds no room is skipped, and counted.
const WAITING: usize = 64;
/// Differences that are kept to be shown.
const LATEST: usize = 50;

/// Reads beside the component that works, and counts what differs.
pub struct Shadow {
    candidate: Deployed,
    waiting: mpsc::Sender<Seen>,
    numbers: Mutex<Numbers>,
    metrics: Arc<Metrics>,
}

struct Seen {
    receipt: String,
    response: Arc<str>,
    current: Reading,
}

#[derive(Debug, Default, Serialize)]
struct Numbers {
    compared: u64,
    same: u64,
    skipped: u64,
    errors: u64,
    fields: BTreeMap<&'static str, FieldNumbers>,
    latest: VecDeque<Value>,
}

#[derive(Debug, Default, Serialize)]
struct FieldNumbers {
    lost: u64,
    gained: u64,
    changed: u64,
}

impl Shadow {
    /// Starts reading beside the work, one response at a time.
    pub fn start(sandbox: Arc<Sandbox>, candidate: Deployed, metrics: Arc<Metrics>) -> Arc<Self> {
        let (waiting, mut seen) = mpsc::channel(WAITING);
        let shadow = Arc::new(Self { candidate, waiting, numbers: Mutex::default(), metrics });
        let reader = Arc::downgrade(&shadow);
        tokio::spawn(async move {
            while let Some(Seen { receipt, response, current }) = seen.recv().await {
                let Some(shadow) = reader.upgrade() else { return };
                let read = parsed(sandbox.parse(&shadow.candidate.program, &response).await);
                let outcome = shadow.lock().count(&receipt, &current, read);
                shadow.metrics.shadow(outcome);
            }
        });
        shadow
    }

    /// The digest of the component in the shadow.
    pub fn digest(&self) -> &str {
        self.candidate.digest()
    }

    /// How often, and where, they differ.
    pub fn report(&self, current: &str) -> Value {
        let mut report = serde_json::to_value(&*self.lock()).unwrap_or_default();
        if let Some(report) = report.as_object_mut() {
            report.insert("candidate".to_owned(), Value::from(self.candidate.digest()));
            report.insert("current".to_owned(), Value::from(current));
        }
        report
    }

    fn lock(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Shadow {
    fn completed(&self, receipt_id: &str, response: Arc<str>, reading: &types::Receipt) {
        let current = Reading::from(reading.clone());
        let seen = Seen { receipt: receipt_id.to_owned(), response, current };
        if self.waiting.try_send(seen).is_err() {
            self.lock().skipped += 1;
            self.metrics.shadow("skipped");
        }
    }
}

impl Numbers {
    /// Returns in one word what it came to.
    fn count(&mut self, receipt: &str, current: &Reading, candidate: Result<Reading, String>) -> &'static str {
        self.compared += 1;
        let candidate = match candidate {
            Ok(candidate) => candidate,
            Err(error) => {
                self.errors += 1;
                self.keep(json!({ "receipt": receipt, "error": error }));
                return "error";
            }
        };
        let mut differences = Differences::default();
        differences.readings(receipt, current, &candidate);
        if differences.is_empty() {
            self.same += 1;
            return "same";
        }
        let Differences { lost, gained, changed, .. } = differences;
        for difference in lost.into_iter().chain(gained).chain(changed) {
            let numbers = self.fields.entry(difference.field).or_default();
            match difference.change() {
                FieldChange::Lost => numbers.lost += 1,
                FieldChange::Gained => numbers.gained += 1,
                FieldChange::Changed => numbers.changed += 1,
            }
            let FieldDifference { item, field, before, after } = difference;
            self.keep(json!({ "receipt": item, "field": field, "current": before, "candidate": after }));
        }
        "different"
    }

    fn keep(&mut self, difference: Value) {
        if self.latest.len() == LATEST {
            self.latest.pop_front();
        }
        self.latest.push_back(difference);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_counted_by_field_and_kind() {
        let mut numbers = Numbers::default();
        let vendor = |vendor: Option<&str>| Reading { vendor: vendor.map(str::to_owned), ..Reading::default() };
        numbers.count("1", &vendor(Some("A")), Ok(vendor(Some("A"))));
        numbers.count("2", &vendor(Some("A")), Ok(vendor(None)));
        numbers.count("3", &vendor(None), Ok(vendor(Some("B"))));
        numbers.count("4", &vendor(Some("A")), Err("it trapped".to_owned()));
        assert_eq!((numbers.compared, numbers.same, numbers.errors), (4, 1, 1));
        assert_eq!(
            numbers.fields.get("vendor").map(|field| (field.lost, field.gained, field.changed)),
            Some((1, 1, 0))
        );
        assert_eq!(numbers.latest.len(), 3);
    }
}
