//! Where two components differ.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::decision::Decision;
use crate::reading::Reading;

/// What kind of difference it is in a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldChange {
    /// Found before, not any more.
    Lost,
    /// Found now, not before.
    Gained,
    /// Found differently.
    Changed,
}

/// A field that is read differently.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldDifference {
    /// The response or the receipt.
    pub item: String,
    /// The field.
    pub field: &'static str,
    /// What the one read.
    pub before: Value,
    /// What the other reads.
    pub after: Value,
}

impl FieldDifference {
    /// What kind of difference it is.
    pub fn change(&self) -> FieldChange {
        match (&self.before, &self.after) {
            (_, Value::Null) => FieldChange::Lost,
            (Value::Null, _) => FieldChange::Gained,
            _ => FieldChange::Changed,
        }
    }
}

/// An item and what is to be said of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remark {
    /// The response, the receipt or the run.
    pub item: String,
    /// What is to be said.
    pub what: String,
}

/// All differences.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Differences {
    /// Where the other one fails and the one did not.
    pub failures: Vec<Remark>,
    /// Decisions that differ.
    pub decisions: Vec<Remark>,
    /// Fields that were found before and are not any more.
    pub lost: Vec<FieldDifference>,
    /// Fields that are found differently.
    pub changed: Vec<FieldDifference>,
    /// Fields that were not found before.
    pub gained: Vec<FieldDifference>,
    /// Where the other one asks for what was not recorded, so that it cannot be judged.
    pub unrecorded: Vec<Remark>,
}

impl Differences {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Notes where two readings of one item differ.
    pub fn readings(&mut self, item: &str, before: &Reading, after: &Reading) {
        for (field, before, after) in before.differences(after) {
            let difference = FieldDifference { item: item.to_owned(), field, before, after };
            match difference.change() {
                FieldChange::Lost => self.lost.push(difference),
                FieldChange::Gained => self.gained.push(difference),
                FieldChange::Changed => self.changed.push(difference),
            }
        }
    }

    /// Notes where two runs decide differently.
    pub fn decisions(&mut self, before: &BTreeMap<String, Decision>, after: &BTreeMap<String, Decision>) {
        let nothing = || "nothing".to_owned();
        for (receipt, was) in before {
            match (was, after.get(receipt)) {
                (Decision::Complete(was), Some(Decision::Complete(is))) => {
                    self.readings(&format!("receipt {receipt}"), was, is);
                }
                // What was read is not read any more: no matter of taste.
                (Decision::Complete(_), is) => {
                    let is = is.map_or_else(nothing, Decision::in_words);
                    self.failure(&format!("receipt {receipt}"), format!("complete → {is}"));
                }
                (was, Some(is)) if was == is => {}
                (was, is) => {
                    let is = is.map_or_else(nothing, Decision::in_words);
                    self.decision(&format!("receipt {receipt}"), &was.in_words(), &is);
                }
            }
        }
        for (receipt, is) in after.iter().filter(|(receipt, _)| !before.contains_key(*receipt)) {
            self.decision(&format!("receipt {receipt}"), &nothing(), &is.in_words());
        }
    }

    /// Notes another decision.
    pub fn decision(&mut self, item: &str, was: &str, is: &str) {
        self.decisions.push(Remark { item: item.to_owned(), what: format!("{was} → {is}") });
    }

    /// Notes what the other one asks for and the recording does not have.
    pub fn unrecorded(&mut self, item: &str, what: &str) {
        self.unrecorded.push(Remark { item: item.to_owned(), what: what.to_owned() });
    }

    /// Notes a failure.
    pub fn failure(&mut self, item: &str, what: impl ToString) {
        self.failures.push(Remark { item: item.to_owned(), what: what.to_string() });
    }
}
