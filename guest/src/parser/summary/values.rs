//! What one of AnalyzeExpense's fields says, as a value.

use super::super::amounts::{self, Amount, Notation};
use super::super::currency::Context;
use super::super::marks;
use crate::receipt::{Field, Money, Why};
use crate::textract::SummaryField;

/// What the page's amounts are written in.
pub(super) fn notation(fields: &[SummaryField]) -> Notation {
    let code = fields.iter().map(|field| field.currency.as_str()).find(|code| !code.is_empty()).unwrap_or_default();
    Notation::of_currency(code, fields.iter().map(|field| field.text.as_str()))
}

/// With the currency that Textract names, or that stands at it.
pub(super) fn money(amount: Amount, field: &SummaryField, context: &Context) -> Money {
    let currency = marks::known(&field.currency).or_else(|| context.currency(amount.mark));
    Money { currency, ..amount.money }
}

pub(super) fn field_of<T>(value: T, field: &SummaryField) -> Field<T> {
    Field {
        value,
        confidence: field.confidence,
        place: field.place,
        why: Why { line: None, rule: format!("AnalyzeExpense's {}", field.kind), score: field.confidence / 100.0 },
    }
}

pub(super) fn amount(text: &str, notation: Notation) -> Option<Amount> {
    let mut found = amounts::scan_as(text, notation);
    found.sort_by_key(Amount::has_cents);
    found.pop()
}

/// A field as Textract would send it, for tests.
#[cfg(test)]
pub(super) fn named(kind: &str, label: &str, text: &str, confidence: f32) -> SummaryField {
    SummaryField {
        kind: kind.to_owned(),
        label: label.to_owned(),
        text: text.to_owned(),
        confidence,
        currency: String::new(),
        of_vendor: false,
        place: None,
        page: 1,
        expense: 1,
    }
}
