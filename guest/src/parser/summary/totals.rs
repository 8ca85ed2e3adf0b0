//! Which of the amounts that AnalyzeExpense calls totals is the one: by their labels and by what sums prove, like any other.

use super::super::amounts::{Amount, Notation};
use super::super::currency::Context;
use super::super::labels::{self, Label};
use super::super::lists::{List, list};
use super::super::words::Words;
use super::values::{amount, field_of, money};
use crate::receipt::{Field, Money};
use crate::textract::SummaryField;

/// What a total is worth that nothing but Textract calls so, by its kind: what a customer paid may include a tip or be a part payment.
const KINDS: [(&str, f32); 3] = [("TOTAL", 70.0), ("AMOUNT_DUE", 60.0), ("AMOUNT_PAID", 40.0)];
/// What sums add to it.
const PROVEN: f32 = 30.0;
/// Nothing is left to be paid: a balance.
const NOTHING: f32 = -60.0;
const NEGATIVE: f32 = -30.0;
/// So much better than another must the best one be, to be as sure as Textract is.
const CLEAR: f32 = 6.0;
/// How sure a total is at most that is not, or that includes a tip, which is written by hand.
const MOST_UNCLEAR: f32 = 50.0;
const MOST_WITH_TIP: f32 = 75.0;

const TIPS: List = list("TIP, GRATUITY, PROPINA, TRINKGELD, POURBOIRE, MANCIA, GORJETA, FOOI");

struct Candidate<'f> {
    amount: Amount,
    field: &'f SummaryField,
    score: f32,
    has_tip: bool,
}

/// The total among Textract's fields.
pub(super) fn find(fields: &[SummaryField], notation: Notation, context: &Context) -> Option<Field<Money>> {
    let of_kind = |wanted: &[&str]| -> Vec<i128> {
        let named = fields.iter().filter(|field| wanted.contains(&field.kind.as_str()));
        named.filter_map(|field| Some(amount(&field.text, notation)?.money.micros())).collect()
    };
    let called: Vec<Candidate> = fields.iter().filter_map(|field| candidate(field, notation)).collect();
    let sums = sums(&of_kind(&["SUBTOTAL"]), &of_kind(&["TAX", "SERVICE_CHARGE"]), &of_kind(&["DISCOUNT"]));
    let tips: Vec<i128> = fields
        .iter()
        .filter(|field| matches!(field.kind.as_str(), "GRATUITY" | "TIP") || Words::new(&field.label).has_any(&TIPS))
        .filter_map(|field| Some(amount(&field.text, notation)?.money.micros()))
        .collect();
    let value = |candidate: &Candidate| candidate.amount.money.micros();
    let weighed = called.iter().map(|one| {
        let is_sum = sums.contains(&value(one));
        // A total, and the tip that was written below it.
        let has_tip = tips.iter().any(|tip| {
            *tip > 0
                && (sums.contains(&(value(one) - tip)) || called.iter().any(|other| value(other) == value(one) - tip))
        });
        let times = called.iter().filter(|other| value(other) == value(one)).count();
        let score = one.score
            + if has_tip {
                PROVEN + CLEAR + 1.0
            } else if is_sum {
                PROVEN
            } else {
                0.0
            }
            + 3.0 * times.min(3) as f32
            + 0.2 * one.field.confidence;
        Candidate { score, has_tip, amount: one.amount, field: one.field }
    });
    let weighed: Vec<Candidate> = weighed.collect();
    let best = weighed.iter().reduce(|best, next| if next.score > best.score { next } else { best })?;
    // A larger one that is called the same may be the total with a tip.
    let may_be_tipped = |other: &Candidate| {
        matches!(labels::classify(Words::new(&other.field.label)), Some(Label::Total(80..)))
            && value(other) > value(best)
            && value(other) * 10 <= value(best) * 14
    };
    let is_worse = |other: &Candidate| value(other) == value(best) || best.score - other.score >= CLEAR;
    let is_clear = best.has_tip || weighed.iter().all(|other| is_worse(other) && !may_be_tipped(other));
    let found = field_of(money(best.amount, best.field, context), best.field);
    let most = if is_clear { 100.0 } else { MOST_UNCLEAR };
    let most = if best.has_tip { most.min(MOST_WITH_TIP) } else { most };
    Some(Field { confidence: found.confidence.min(most), ..found })
}

fn candidate(field: &SummaryField, notation: Notation) -> Option<Candidate<'_>> {
    let (_, worth) = KINDS.iter().find(|(kind, _)| *kind == field.kind)?;
    let amount = amount(&field.text, notation)?;
    let words = Words::new(&field.label);
    // Textract calls balances, fees and charges TOTAL too; the words on the page tell.
    let other = words.has_any(
        &const { list("BALANCE, FEE, FEES, CHARGES, SURCHARGE, TIP, GRATUITY, DEPOSIT, DELIVERY, SHIPPING, CASH BACK, CASHBACK") },
    ) && !words.has("DUE")
        && !words.has("GRAND");
    let score = match labels::classify(words) {
        _ if other => return None,
        Some(Label::Subtotal | Label::Tax | Label::Rounding | Label::Change | Label::Other | Label::Service) => {
            return None;
        }
        Some(Label::Total(strength)) => worth + (f32::from(strength) - 80.0) / 2.0,
        Some(Label::Tendered | Label::Card) | None => *worth,
    };
    let score = match amount.money.units {
        0 => score + NOTHING,
        ..0 => score + NEGATIVE,
        _ => score,
    };
    Some(Candidate { amount, field, score, has_tip: false })
}

/// Each subtotal with all that is added and taken off, and with the tax alone.
fn sums(subtotals: &[i128], added: &[i128], discounts: &[i128]) -> Vec<i128> {
    let all: i128 = added.iter().sum();
    let less: i128 = discounts.iter().map(|discount| discount.abs()).sum();
    let with = |base: &i128| {
        let each = added.iter().map(move |part| base + part);
        each.chain([base + all, base + all - less]).collect::<Vec<i128>>()
    };
    subtotals.iter().filter(|_| !added.is_empty() || less > 0).flat_map(with).collect()
}

#[cfg(test)]
mod tests {
    use super::super::values::named as field;
    use super::*;

    fn total(fields: &[SummaryField]) -> Option<(String, f32)> {
        let found = find(fields, super::super::values::notation(fields), &Context::default())?;
        Some((found.value.to_string(), found.confidence))
    }

    fn is(fields: &[SummaryField], expected: &str) {
        assert_eq!(total(fields).map(|(value, _)| value).as_deref(), Some(expected), "{fields:?}");
    }

    #[test]
    fn a_total_is_one_by_its_label_too() {
        is(&[field("TOTAL", "Balance", "$0.00", 99.0), field("TOTAL", "Total Paid", "$60.00", 95.0)], "60.00");
        assert_eq!(total(&[field("TOTAL", "Fee", "none", 99.0)]), None);
        is(&[field("TOTAL", "Surcharge", "4.20", 99.0), field("TOTAL", "Invoice Total", "144.20", 98.0)], "144.20");
        is(&[field("TOTAL", "", "0.00", 99.0), field("TOTAL", "Total", "12.00", 90.0)], "12.00");
    }

    #[test]
    fn the_amount_due_serves_where_there_is_no_total() {
        is(&[field("AMOUNT_PAID", "Tend", "20.00", 99.0), field("AMOUNT_DUE", "Due", "15.00", 60.0)], "15.00");
    }

    #[test]
    fn sums_tell_which_of_several_it_is() {
        let parts = [field("SUBTOTAL", "Subtotal", "40.00", 99.0), field("TAX", "Tax", "4.00", 99.0)];
        let totals = [field("TOTAL", "Total", "4.40", 99.0), field("TOTAL", "Total", "44.00", 80.0)];
        is(&[parts.as_slice(), &totals].concat(), "44.00");
        let (_, sure) = total(&totals).unwrap();
        assert!(sure <= MOST_UNCLEAR, "{sure}");
    }

    #[test]
    fn a_total_with_a_tip_is_what_was_paid_and_less_sure() {
        let fields = [
            field("SUBTOTAL", "Subtotal", "40.00", 99.0),
            field("TAX", "Tax", "4.00", 99.0),
            field("TOTAL", "Total", "44.00", 99.0),
            field("OTHER", "Tip", "8.00", 70.0),
            field("TOTAL", "Total", "52.00", 80.0),
        ];
        assert_eq!(total(&fields), Some(("52.00".to_owned(), MOST_WITH_TIP)));
        let (_, sure) =
            total(&[field("TOTAL", "Total", "44.00", 99.0), field("TOTAL", "Total", "52.00", 60.0)]).unwrap();
        assert!(sure <= MOST_UNCLEAR, "{sure}");
    }

    #[test]
    fn amounts_are_read_as_their_currency_is_written() {
        for (text, code, amount) in [
            ("Rs. 2,53,365.40", "INR", "253365.40"),
            ("$31.000", "CLP", "31000"),
            ("Rp 31.000", "IDR", "31000"),
            ("31.000 ₫", "VND", "31000"),
            ("31.000đ", "VND", "31000"),
            ("2.750", "KWD", "2.750"),
            ("12,400원", "KRW", "12400"),
            ("62 500", "VND", "62500"),
            ("1.250.000", "IDR", "1250000"),
        ] {
            let field = SummaryField { currency: code.to_owned(), ..field("TOTAL", "Total", text, 99.0) };
            is(&[field], amount);
        }
    }
}
