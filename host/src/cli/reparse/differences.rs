//! How two readings of a receipt differ: what the database has, and what a component reads now.

use serde::Serialize;

use crate::queue::Completion;
use crate::queue::reparse::Seen;

/// A field that is read differently.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Difference {
    pub(super) field: &'static str,
    pub(super) old: Option<String>,
    pub(super) new: Option<String>,
}

/// How a new reading stands to the old one, as a whole: the worst that happened to a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// No field differs.
    Same,
    /// A field is found that was not found before.
    Gained,
    /// A field has another value.
    Changed,
    /// A field was found before and is not found now.
    Lost,
}

impl Difference {
    pub(super) fn kind(&self) -> Kind {
        match (&self.old, &self.new) {
            (Some(_), Some(_)) => Kind::Changed,
            (Some(_), None) => Kind::Lost,
            (None, Some(_)) => Kind::Gained,
            (None, None) => Kind::Same,
        }
    }
}

/// The worst of them.
pub(super) fn kind(differences: &[Difference]) -> Kind {
    differences.iter().map(Difference::kind).max().unwrap_or(Kind::Same)
}

/// The fields that differ. An app's columns hold values in forms of their own (char(3), double precision, timestamptz):
/// what is the same but for its form is no difference.
pub(super) fn differences(seen: &Seen, reading: &Completion) -> Vec<Difference> {
    let confidence = Some(format!("{:.2}", reading.confidence));
    let fields = [
        ("vendor", text(seen.vendor.as_ref(), str::trim_end), text(reading.vendor.as_ref(), str::trim_end)),
        ("total", text(seen.total.as_ref(), str::trim), text(reading.total.as_ref(), str::trim)),
        ("currency", text(seen.currency.as_ref(), str::trim_end), text(reading.currency.as_ref(), str::trim_end)),
        ("date", text(seen.date.as_ref(), day), text(reading.date.as_ref(), day)),
        ("confidence", seen.confidence.map(|confidence| format!("{confidence:.2}")), confidence),
    ];
    let same = |field: &str, old: &Option<String>, new: &Option<String>| match (old, new) {
        (Some(old), Some(new)) if field == "total" => plain_decimal(old) == plain_decimal(new),
        _ => old == new,
    };
    fields
        .into_iter()
        .filter(|(field, old, new)| !same(field, old, new))
        .map(|(field, old, new)| Difference { field, old, new })
        .collect()
}

fn text(value: Option<&String>, form: fn(&str) -> &str) -> Option<String> {
    value.map(|value| form(value).to_owned()).filter(|value| !value.is_empty())
}

/// The day of a date or of a point in time.
fn day(text: &str) -> &str {
    text.get(..10).unwrap_or(text)
}

/// Without what does not count: zeros at the ends.
fn plain_decimal(number: &str) -> String {
    let (sign, digits) = number.strip_prefix('-').map_or(("", number), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    match (whole, fraction) {
        ("", "") => "0".to_owned(),
        _ => format!("{sign}{whole}.{fraction}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn form_is_no_difference_in_a_number() {
        for (one, other) in [("4.50", "4.5"), ("4", "4.00"), ("0.5", "00.50"), ("-1", "-1.0"), ("0", "-0.00")] {
            assert_eq!(plain_decimal(one), plain_decimal(other));
        }
        for (one, other) in [("4.50", "4.05"), ("1", "-1"), ("10", "1"), ("100", "10.0"), ("0.1", "1.0")] {
            assert_ne!(plain_decimal(one), plain_decimal(other));
        }
    }

    #[test]
    fn the_worst_field_names_the_whole() {
        let difference = |old: Option<&str>, new: Option<&str>| Difference {
            field: "vendor",
            old: old.map(str::to_owned),
            new: new.map(str::to_owned),
        };
        let (gained, changed, lost) =
            (difference(None, Some("a")), difference(Some("a"), Some("b")), difference(Some("a"), None));
        assert_eq!(kind(&[]), Kind::Same);
        assert_eq!(kind(std::slice::from_ref(&gained)), Kind::Gained);
        assert_eq!(kind(&[changed.clone(), gained.clone()]), Kind::Changed);
        assert_eq!(kind(&[gained, lost, changed]), Kind::Lost);
    }
}
