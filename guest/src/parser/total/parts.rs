//! What the total consists of: the sum before tax, and the tax. Only what is printed, and only where the sums agree with the
//! total; what cannot be checked stays empty.

use super::super::currency::Context;
use super::super::labels::Label;
use super::label_rules::COIN;
use super::labelled_amounts::{LabelledAmount, ReadAmount};
use crate::receipt::{Field, Money};

/// Whoever rounds to the cent, line by line, is off by so much.
const SLACK: i128 = 20_000;
/// A tax of more than this part of the rest is none that a receipt has.
const LARGEST_RATE: i128 = 3;
/// Where it is one value alone that is printed, and no sum that proves it.
const LIKELY: f32 = 0.7;
const PROVEN: f32 = 0.98;

/// Subtotal and tax of a total, in millionths, among the named amounts of its page.
pub(super) fn find(
    entries: &[LabelledAmount],
    total: i128,
    context: &Context,
) -> (Option<Field<Money>>, Option<Field<Money>>) {
    if total <= 0 {
        return (None, None);
    }
    let subtotals = named(entries, Label::Subtotal, |value| value > 0 && value <= total + COIN);
    let taxes = named(entries, Label::Tax, |value| value >= 0 && value * (LARGEST_RATE + 1) <= total);
    let agrees = |sum: i128| (sum - total).abs() <= SLACK.max(COIN);
    // Tax on top: the two make the total, but for rounding.
    for subtotal in &subtotals {
        for tax in taxes.iter().filter(|tax| tax.micros() > 0) {
            if agrees(subtotal.micros() + tax.micros()) {
                return (
                    field(subtotal, PROVEN, "makes the total with the tax", context),
                    field(tax, PROVEN, ON_TOP, context),
                );
            }
        }
    }
    // Tax within: the subtotal is the total, and the tax a usual part of it.
    let subtotal = subtotals.iter().find(|subtotal| agrees(subtotal.micros()));
    let subtotal = subtotal.and_then(|subtotal| field(subtotal, PROVEN, "is the total, but for rounding", context));
    let within = taxes.iter().find(|tax| is_within(tax.micros(), total));
    let tax = match (within, taxes.as_slice()) {
        (Some(tax), _) => field(tax, PROVEN, "a usual rate of the total", context),
        (None, [only]) => field(only, LIKELY, "called a tax", context),
        _ => None,
    };
    (subtotal, tax)
}

const ON_TOP: &str = "makes the total with the subtotal";

/// The values of this name, each once; the later place of it, which is the sum and not an item.
fn named(entries: &[LabelledAmount], label: Label, plausible: impl Fn(i128) -> bool) -> Vec<&ReadAmount> {
    let mut found: Vec<&ReadAmount> = Vec::new();
    let wanted = |entry: &&LabelledAmount| entry.label == Some(label) && entry.read.amount.has_cents();
    for entry in entries.iter().filter(wanted).rev() {
        let value = entry.read.micros();
        if plausible(value) && found.iter().all(|read| read.micros() != value) {
            found.push(&entry.read);
        }
    }
    found
}

fn field(read: &ReadAmount, sure: f32, rule: &str, context: &Context) -> Option<Field<Money>> {
    Some(read.field(sure, rule.to_owned(), context))
}

/// Whether it is the tax that a total includes, at a whole or half percentage from 3 to 27: the rates that there are.
fn is_within(tax: i128, total: i128) -> bool {
    tax > 0
        && (6..=54).any(|half| (tax * (200 + half) - total * half).abs() <= SLACK * (200 + half) / 2)
        && tax * 40 > total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser::rows;
    use crate::parser::total::labelled_amounts;
    use crate::receipt::BoundingBox;
    use crate::textract::Line;

    fn of(texts: &[&str], total: i128) -> (Option<String>, Option<String>) {
        let line = |(at, text): (usize, &&str)| Line {
            number: at as u32,
            text: (*text).to_owned(),
            confidence: 99.0,
            page: 1,
            bounds: BoundingBox::new(0.1, 0.04 * at as f32, 0.6, 0.02),
        };
        let lines: Vec<Line> = texts.iter().enumerate().map(line).collect();
        let (subtotal, tax) =
            find(&labelled_amounts::read(&rows::group(&lines)).entries, total * 10_000, &Context::default());
        (subtotal.map(|field| field.value.to_string()), tax.map(|field| field.value.to_string()))
    }

    fn is(texts: &[&str], total: i128, subtotal: Option<&str>, tax: Option<&str>) {
        assert_eq!(of(texts, total), (subtotal.map(str::to_owned), tax.map(str::to_owned)), "{texts:?}");
    }

    #[test]
    fn tax_on_top_makes_the_total() {
        is(&["SUBTOTAL 12.19", "GST 0.69", "TOTAL 12.88"], 1288, Some("12.19"), Some("0.69"));
        is(&["Zwischensumme 10,00", "MwSt 19% 1,90", "SUMME 11,90"], 1190, Some("10.00"), Some("1.90"));
        // Rounded to a coin.
        is(&["SUB TOTAL 33.92", "TAX 2.04", "ROUNDING -0.01", "TOTAL 35.95"], 3595, Some("33.92"), Some("2.04"));
    }

    #[test]
    fn tax_within_is_a_part_of_it() {
        is(&["TOTAL 10.60", "GST INCLUDED IN TOTAL 0.60"], 1060, None, Some("0.60"));
        is(&["SUBTOTAL 10.60", "TAX 0.00", "TOTAL 10.60"], 1060, Some("10.60"), Some("0.00"));
    }

    #[test]
    fn what_does_not_agree_is_left_out() {
        is(&["SUBTOTAL 50.00", "TOTAL 12.88"], 1288, None, None);
        is(&["GST 1.11", "TAX 2.22", "TOTAL 99.00"], 9900, None, None);
        is(&["Tea 4.00", "TOTAL 4.00"], 400, None, None);
    }
}
