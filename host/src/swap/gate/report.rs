//! What the gate found, and what of it refuses a component.

use serde::Serialize;

use super::settings::GatePolicy;
use crate::reading::{FIELDS, Reading};
use crate::replay::{Differences, FieldChange, FieldDifference};

/// Instructions, where neither component failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Work {
    /// The old component's.
    pub before: u64,
    /// The new one's.
    pub after: u64,
}

impl Work {
    pub(super) fn add(&mut self, before: u64, after: u64, comparable: bool) {
        if comparable {
            self.before += before;
            self.after += after;
        }
    }
}

/// Agreement with expectations, in fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct AsExpected {
    /// The old component's.
    pub before: usize,
    /// The new one's.
    pub after: usize,
    /// Of so many.
    pub of: usize,
}

/// What the gate found.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct GateReport {
    /// Recorded responses that both read.
    pub responses: usize,
    /// Recorded runs that both worked.
    pub traces: usize,
    /// Questions to the policy.
    pub policy: usize,
    /// Fields that are as expected, where there are expectations.
    pub expected: AsExpected,
    /// Where they differ.
    #[serde(flatten)]
    pub differences: Differences,
    /// Instructions.
    pub work: Work,
    /// Recordings that could not be read, and why.
    pub skipped: Vec<String>,
    /// The time was up before all was looked at.
    pub unfinished: bool,
    /// Why the component is refused; none where it is not.
    pub refused: Option<String>,
    /// In one line.
    pub verdict: String,
}

impl GateReport {
    pub(super) fn expect(&mut self, expected: &Reading, before: &Reading, after: &Reading) {
        self.expected.of += FIELDS.len();
        self.expected.before += FIELDS.len() - expected.differences(before).len();
        self.expected.after += FIELDS.len() - expected.differences(after).len();
    }

    /// Adds the differences on an item with an expectation. A field that is as expected now has not got worse, whatever it
    /// was before; a field that was as expected and is not any more counts as lost.
    pub(super) fn add_expected(&mut self, expected: &Reading, differences: Differences) {
        let Differences { lost, changed, gained, .. } = differences;
        for difference in lost.into_iter().chain(changed).chain(gained) {
            let wanted = expected.field(difference.field);
            let list = match difference.change() {
                _ if difference.after == wanted => &mut self.differences.gained,
                _ if difference.before == wanted && difference.field != "confidence" => &mut self.differences.lost,
                FieldChange::Lost => &mut self.differences.lost,
                FieldChange::Changed => &mut self.differences.changed,
                FieldChange::Gained => &mut self.differences.gained,
            };
            list.push(difference);
        }
    }

    /// Decides.
    pub(super) fn judge(&mut self, policy: GatePolicy) {
        self.refused = match policy {
            GatePolicy::Report => None,
            GatePolicy::NoRegressions => self.regression(),
            GatePolicy::Strict => self.regression().or_else(|| self.any_difference()),
        };
        let looked_at = format!(
            "{} responses, {} runs, {} questions to the policy{}",
            self.responses,
            self.traces,
            self.policy,
            if self.unfinished { " (the time was up before all was looked at)" } else { "" }
        );
        self.verdict = match &self.refused {
            Some(why) => format!("refused: {why} ({looked_at})"),
            None => format!("passed: {} ({looked_at})", self.in_numbers()),
        };
    }

    fn regression(&self) -> Option<String> {
        let Differences { failures, lost, .. } = &self.differences;
        if let Some(first) = failures.first() {
            return Some(format!(
                "it fails on {} where the old one did not: {}: {}",
                failures.len(),
                first.item,
                first.what
            ));
        }
        if let Some(FieldDifference { item, field, before, after }) = lost.first() {
            return Some(format!("it loses {} fields: {item}: {field} was {before}, is {after}", lost.len()));
        }
        let Work { before, after } = self.work;
        (before > 0 && after > before.saturating_mul(2)).then(|| {
            let times = after as f64 / before as f64;
            format!("it takes {times:.1} times the work ({after} instructions, {before} before); twice is allowed")
        })
    }

    fn any_difference(&self) -> Option<String> {
        (!self.differences.is_empty()).then(|| format!("it differs, and the policy is strict: {}", self.in_numbers()))
    }

    fn in_numbers(&self) -> String {
        let Differences { decisions, lost, changed, gained, unrecorded, failures } = &self.differences;
        if self.differences.is_empty() {
            return "no difference".to_owned();
        }
        format!(
            "{} failures, {} other decisions, fields: {} lost, {} changed, {} gained; {} not to be compared",
            failures.len(),
            decisions.len(),
            lost.len(),
            changed.len(),
            gained.len(),
            unrecorded.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn vendor(vendor: Option<&str>) -> Reading {
        Reading { vendor: vendor.map(str::to_owned), ..Reading::default() }
    }

    fn judged(
        policy: GatePolicy,
        before: Option<&str>,
        after: Option<&str>,
        expected: Option<Option<&str>>,
    ) -> GateReport {
        let mut report = GateReport { work: Work { before: 100, after: 200 }, ..GateReport::default() };
        let mut differences = Differences::default();
        differences.readings("a.json", &vendor(before), &vendor(after));
        match expected {
            None => report.differences = differences,
            Some(expected) => report.add_expected(&vendor(expected), differences),
        }
        report.judge(policy);
        report
    }

    #[test]
    fn a_lost_field_refuses_a_changed_one_does_not() {
        use GatePolicy::{NoRegressions, Report, Strict};
        for (policy, before, after, refused) in [
            (NoRegressions, Some("A"), None, true),
            (NoRegressions, Some("A"), Some("B"), false),
            (NoRegressions, None, Some("B"), false),
            (Strict, Some("A"), Some("B"), true),
            (Strict, Some("A"), Some("A"), false),
            (Report, Some("A"), None, false),
        ] {
            assert_eq!(
                judged(policy, before, after, None).refused.is_some(),
                refused,
                "{policy:?} {before:?} {after:?}"
            );
        }
    }

    #[test]
    fn an_expectation_says_what_is_worse() {
        let regressed =
            |before, after, expected| judged(GatePolicy::NoRegressions, before, after, Some(expected)).refused;
        assert!(regressed(Some("A"), Some("B"), Some("A")).is_some(), "was right, is wrong");
        assert!(regressed(Some("A"), None, None).is_none(), "an invention is gone");
        assert!(regressed(Some("A"), Some("B"), Some("C")).is_none(), "wrong before and after");
    }

    #[test]
    fn twice_the_work_is_allowed_more_is_not() {
        let mut report = GateReport { work: Work { before: 100, after: 201 }, ..GateReport::default() };
        report.judge(GatePolicy::NoRegressions);
        assert!(report.refused.is_some_and(|why| why.contains("2.0 times")));
    }

    #[test]
    fn it_is_flat_json() {
        let report = judged(GatePolicy::NoRegressions, Some("A"), None, None);
        let json = serde_json::to_value(&report).unwrap_or_default();
        assert_eq!(
            json.get("lost"),
            Some(&json!([{ "item": "a.json", "field": "vendor", "before": "A", "after": Value::Null }]))
        );
    }
}
