//! What is right. A vendor is when it is the label's but for case, spaces and punctuation; a total when it is the label's to the
//! cent; a date when it is the label's day, where the label says one plainly.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::sets::{Reading, Readings, Receipt};

/// Of one set's half.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub receipts: usize,
    /// Right, of those that are judged.
    pub vendor: usize,
    pub vendors: usize,
    pub total: usize,
    pub totals: usize,
    pub both: usize,
    pub boths: usize,
    /// With a plain date label, and right of those.
    pub dated: usize,
    pub date: usize,
    /// Labels that stand in the text as they are, and right of those.
    pub legible_vendors: usize,
    pub legible_vendors_right: usize,
    pub legible_totals: usize,
    pub legible_totals_right: usize,
    /// All that is judged is right.
    pub right: usize,
    /// At a confidence of 90 or more, and vendor and total are right of those.
    pub sure: usize,
    pub sure_right: usize,
    /// Receipts, surest first, among which 99 % are right.
    pub bookable: usize,
    /// Something that is judged is wrong, at a confidence above 50.
    pub wrong_above_50: usize,
}

/// A receipt that was not read right: of each field the label and what was read.
#[derive(Debug, Clone, Serialize)]
pub struct Miss {
    pub set: String,
    pub name: String,
    #[serde(flatten)]
    pub fields: BTreeMap<&'static str, [Option<String>; 2]>,
}

/// Judges a set; the expected calibration error comes with it, in percent. `strictly`: where a label is none, nothing may be read, and
/// dates and currencies count as misses, too.
pub fn judge(set: &str, receipts: &[Receipt], readings: &Readings, strictly: bool) -> (Counts, f64, Vec<Miss>) {
    let (mut counts, mut misses, mut by_confidence) = (Counts::default(), Vec::new(), Vec::new());
    let nothing = Reading::default();
    for receipt in receipts {
        let reading = readings.get(&receipt.name).unwrap_or(&nothing);
        let may_miss = |field: &str| receipt.or_null.iter().any(|name| name == field);
        let is_judged = |field: &str| receipt.judged.as_ref().is_none_or(|all| all.iter().any(|name| name == field));
        let right = |field: &str, label, read, same| !is_judged(field) || is_right(label, read, may_miss(field), same);
        let vendor = accepted(&receipt.vendor_accept, &reading.vendor, same_vendor)
            || right("vendor", &receipt.vendor, &reading.vendor, same_vendor);
        let total = accepted(&receipt.total_accept, &reading.total, same_total)
            || right("total", &receipt.total, &reading.total, same_total);
        let date = right("date", &receipt.date, &reading.date, same_date);
        // Most of the labels say nothing of currencies.
        let currency = receipt.currency.is_none() && receipt.judged.is_none()
            || right("currency", &receipt.currency, &reading.currency, |read, label| read == label);
        let unsure = receipt.most.is_none_or(|most| reading.confidence <= most);
        let (legible_vendor, legible_total) = legible(receipt);
        let (of_vendors, of_totals) = (is_judged("vendor"), is_judged("total"));
        counts.receipts += 1;
        counts.vendors += usize::from(of_vendors);
        counts.vendor += usize::from(of_vendors && vendor);
        counts.totals += usize::from(of_totals);
        counts.total += usize::from(of_totals && total);
        counts.boths += usize::from(of_vendors && of_totals);
        counts.both += usize::from(of_vendors && of_totals && vendor && total);
        counts.legible_vendors += usize::from(legible_vendor);
        counts.legible_vendors_right += usize::from(legible_vendor && vendor);
        counts.legible_totals += usize::from(legible_total);
        counts.legible_totals_right += usize::from(legible_total && total);
        if is_judged("date") && (strictly || receipt.date.as_deref().and_then(iso).is_some()) {
            counts.dated += 1;
            counts.date += usize::from(date);
        }
        let right = vendor && total && unsure && (!strictly || date && currency);
        counts.right += usize::from(right);
        counts.wrong_above_50 += usize::from(!right && reading.confidence > 50.0);
        by_confidence.push((reading.confidence, vendor && total));
        let mut fields = BTreeMap::new();
        for (field, is_right, label, read) in [
            ("vendor", vendor, &receipt.vendor, &reading.vendor),
            ("total", total, &receipt.total, &reading.total),
            ("date", date || !strictly, &receipt.date, &reading.date),
            ("currency", currency || !strictly, &receipt.currency, &reading.currency),
        ] {
            if !is_right {
                fields.insert(field, [label.clone(), read.clone()]);
            }
        }
        if !unsure {
            fields.insert(
                "confidence",
                [receipt.most.map(|most| most.to_string()), Some(reading.confidence.to_string())],
            );
        }
        if !fields.is_empty() {
            misses.push(Miss { set: set.to_owned(), name: receipt.name.clone(), fields });
        }
    }
    by_confidence.sort_by(|a, b| b.0.total_cmp(&a.0));
    counts.sure = by_confidence.iter().filter(|(confidence, _)| *confidence >= 90.0).count();
    counts.sure_right = by_confidence.iter().filter(|(confidence, right)| *confidence >= 90.0 && *right).count();
    let mut right = 0;
    for (index, (_, is_right)) in by_confidence.iter().enumerate() {
        right += usize::from(*is_right);
        if right * 100 >= (index + 1) * 99 {
            counts.bookable = index + 1;
        }
    }
    (counts, calibration_error(&by_confidence), misses)
}

/// Whether the labels stand in the text as they are.
fn legible(receipt: &Receipt) -> (bool, bool) {
    let lines = receipt.lines.as_deref().unwrap_or_default();
    let text: String = lines.iter().map(|line| plain(&line.0)).collect();
    let vendor = receipt.vendor.as_deref().is_some_and(|vendor| text.contains(&plain(vendor)));
    let amount = receipt.total.as_deref().and_then(cents).map(|cents| format!("{}.{:02}", cents / 100, cents % 100));
    let total = amount.is_some_and(|amount| lines.iter().any(|line| stands_in(&amount, &line.0.replace(',', ""))));
    (vendor, total)
}

/// Whether the amount stands in the text, and not as a part of another: 3.70 is not in 93.70.
fn stands_in(amount: &str, text: &str) -> bool {
    let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    text.match_indices(amount).any(|(at, _)| {
        let (before, after) = (text.get(..at), text.get(at + amount.len()..));
        !is_digit(before.and_then(|text| text.chars().next_back()))
            && !is_digit(after.and_then(|text| text.chars().next()))
    })
}

fn is_right(label: &Option<String>, read: &Option<String>, or_null: bool, same: fn(&str, &str) -> bool) -> bool {
    match (label, read) {
        (None, None) => true,
        (Some(_), None) => or_null,
        (None, Some(_)) => false,
        (Some(label), Some(read)) => same(read, label),
    }
}

/// Whether it is one of several forms that are right.
fn accepted(forms: &[String], read: &Option<String>, same: fn(&str, &str) -> bool) -> bool {
    read.as_deref().is_some_and(|read| forms.iter().any(|form| same(read, form)))
}

fn same_vendor(read: &str, label: &str) -> bool {
    !read.is_empty() && plain(read) == plain(label)
}

fn same_total(read: &str, label: &str) -> bool {
    cents(read).is_some() && cents(read) == cents(label)
}

fn same_date(read: &str, label: &str) -> bool {
    iso(label).is_some_and(|day| day == read)
}

fn plain(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).filter(|c| c.is_alphanumeric()).collect()
}

/// `RM 1,234.5` is 123450.
fn cents(amount: &str) -> Option<i64> {
    let digits: String = amount.chars().filter(|c| c.is_ascii_digit() || matches!(c, '.' | '-')).collect();
    let value: f64 = digits.parse().ok()?;
    Some((value * 100.0).round() as i64)
}

/// `25/12/2018`, `25-12-18`: day, month, year, as these labels have it; `2018-12-25`.
fn iso(label: &str) -> Option<String> {
    if label.len() == 10 && label.as_bytes().get(4) == Some(&b'-') {
        return Some(label.to_owned());
    }
    let mut parts = label.split(['/', '-', '.']);
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    let (day, month, year): (u32, u32, u32) = (day.parse().ok()?, month.parse().ok()?, year.parse().ok()?);
    let year = if year < 100 { 2000 + year } else { year };
    let plausible = (1..=31).contains(&day) && (1..=12).contains(&month) && (2000..2100).contains(&year);
    (parts.next().is_none() && plausible).then(|| format!("{year:04}-{month:02}-{day:02}"))
}

/// The mean distance between confidence and share of right ones, over ten bins.
fn calibration_error(by_confidence: &[(f32, bool)]) -> f64 {
    let mut bins = [(0.0, 0.0, 0.0); 10];
    for (confidence, right) in by_confidence {
        let bin = ((confidence / 10.0) as usize).min(9);
        if let Some((count, sure, hits)) = bins.get_mut(bin) {
            *count += 1.0;
            *sure += f64::from(*confidence);
            *hits += if *right { 100.0 } else { 0.0 };
        }
    }
    let distance: f64 = bins.iter().map(|(_, sure, hits)| (sure - hits).abs()).sum();
    distance / by_confidence.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn punctuation_makes_no_other_vendor_and_zeros_no_other_total() {
        assert!(same_vendor("Book Tak (Taman Daya) Sdn. Bhd.", "BOOK TAK(TAMAN DAYA)SDN BHD") && !same_vendor("", ""));
        assert_eq!((cents("RM 1,234.5"), cents("1234.50"), cents("-0.02")), (Some(123_450), Some(123_450), Some(-2)));
        assert_eq!((cents(""), cents("none")), (None, None));
    }

    #[test]
    fn an_amount_that_is_a_part_of_another_is_not_legible() {
        assert!(stands_in("3.70", "TOTAL RM3.70") && stands_in("3.70", "93.70 3.70"));
        assert!(!stands_in("3.70", "93.70") && !stands_in("3.70", "3.705"));
    }

    #[test]
    fn dates_are_compared_where_they_are_plain() {
        assert_eq!(iso("25/12/2018").as_deref(), Some("2018-12-25"));
        assert_eq!(iso("5-3-18").as_deref(), Some("2018-03-05"));
        assert_eq!((iso("12 MAR 2018"), iso("2018/12/25")), (None, None));
    }

    fn receipt(line: &str) -> Receipt {
        serde_json::from_str(line).unwrap()
    }

    #[test]
    fn a_set_is_counted() {
        let labelled = |name: &str| {
            let lines = r#"[["A Cafe",99,0,0,0.1,0.1],["TOTAL 4.00",99,0,0.2,0.1,0.1]]"#;
            receipt(&format!(r#"{{"name":"{name}","vendor":"A CAFE","total":"4.00","date":null,"lines":{lines}}}"#))
        };
        let receipts = [labelled("right"), labelled("wrong"), labelled("missing")];
        let read = |vendor: &str, confidence| Reading {
            vendor: Some(vendor.to_owned()),
            total: Some("4".to_owned()),
            confidence,
            ..Reading::default()
        };
        let readings =
            BTreeMap::from([("right".to_owned(), read("a cafe", 95.0)), ("wrong".to_owned(), read("B", 91.0))]);
        let (counts, error, misses) = judge("a set", &receipts, &readings, false);
        assert_eq!((counts.receipts, counts.vendor, counts.total, counts.both), (3, 1, 2, 1));
        assert_eq!((counts.sure, counts.sure_right, counts.bookable, counts.legible_vendors), (2, 1, 1, 3));
        assert_eq!(misses.len(), 2);
        assert!((error - (186.0 - 100.0) / 3.0).abs() < 0.01, "{error}");
    }

    #[test]
    fn where_there_is_nothing_to_be_read_nothing_may_be() {
        let receipts = [
            receipt(r#"{"name":"letter","vendor":null,"total":null,"date":null}"#),
            receipt(r#"{"name":"menu","vendor":"A Cafe","total":null,"date":null,"or_null":["vendor"]}"#),
        ];
        let judged = |vendor: Option<&str>, date: Option<&str>| {
            let reading =
                || Reading { vendor: vendor.map(str::to_owned), date: date.map(str::to_owned), ..Reading::default() };
            let readings = BTreeMap::from([("letter".to_owned(), reading()), ("menu".to_owned(), reading())]);
            let (counts, _, misses) = judge("hard", &receipts, &readings, true);
            (counts.vendor, counts.date, misses.len())
        };
        assert_eq!(judged(None, None), (2, 2, 0));
        assert_eq!(judged(Some("A CAFE"), None), (1, 2, 1));
        assert_eq!(judged(Some("Dear Ms Brown"), Some("2022-01-01")), (0, 0, 2));
    }
}
