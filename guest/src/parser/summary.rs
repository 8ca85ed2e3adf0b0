//! AnalyzeExpense's own summary fields.

use super::amounts::{self, Amount};
use super::currency::Context;
use super::date_notation;
use super::labels::{self, Label};
use super::lists::{List, list};
use super::marks;
use super::words::Words;
use crate::receipt::{Field, Money, Receipt, Why};
use crate::textract::SummaryField;

/// Takes what Textract named; everything else stays empty. Pages and confidence are the caller's to fill in.
pub(super) fn read(fields: &[SummaryField], context: &Context) -> Receipt {
    Receipt {
        vendor: vendor(fields),
        total: total(fields, context),
        date: date(fields, context),
        subtotal: part(fields, "SUBTOTAL", context),
        tax: part(fields, "TAX", context),
        ..Receipt::default()
    }
}

fn vendor(fields: &[SummaryField]) -> Option<Field<String>> {
    let named = |field: &&SummaryField| field.kind == "VENDOR_NAME" || (field.kind == "NAME" && field.of_vendor);
    surest(fields.iter().filter(named).filter_map(|field| {
        let name = super::vendor::tidy(&field.text);
        let readable = name.chars().any(char::is_alphabetic);
        readable.then_some((name, field))
    }))
    .map(|(value, field)| field_of(value, field))
}

fn total(fields: &[SummaryField], context: &Context) -> Option<Field<Money>> {
    // In the order in which they are believed: what a customer paid may include a tip or be a part payment.
    let (amount, field) = ["TOTAL", "AMOUNT_DUE", "AMOUNT_PAID"].iter().find_map(|kind| {
        let named = fields.iter().filter(|field| field.kind == *kind && is_total(field));
        surest(named.filter_map(|field| Some((amount(&field.text)?, field))))
    })?;
    let code = field.currency.as_str();
    let currency = marks::known(code).or_else(|| context.currency(amount.mark));
    Some(field_of(Money { currency, ..amount.money }, field))
}

/// Of a part of the sum: whatever Textract is surest of.
fn part(fields: &[SummaryField], kind: &str, context: &Context) -> Option<Field<Money>> {
    let named = fields.iter().filter(|field| field.kind == kind);
    let (amount, field) = surest(named.filter_map(|field| Some((amount(&field.text)?, field))))?;
    Some(field_of(Money { currency: context.currency(amount.mark), ..amount.money }, field))
}

fn field_of<T>(value: T, field: &SummaryField) -> Field<T> {
    Field {
        value,
        confidence: field.confidence,
        place: field.place,
        why: Why { line: None, rule: format!("AnalyzeExpense's {}", field.kind), score: field.confidence / 100.0 },
    }
}

/// Textract calls balances, fees and charges TOTAL too; the words on the page tell.
fn is_total(field: &SummaryField) -> bool {
    let words = Words::new(&field.label);
    let other = words.has_any(&const { list("BALANCE, FEE, CHARGES") }) && !words.has("DUE");
    let named_otherwise = matches!(
        labels::classify(words),
        Some(Label::Subtotal | Label::Tax | Label::Rounding | Label::Change | Label::Other)
    );
    !other && !named_otherwise
}

fn amount(text: &str) -> Option<Amount> {
    let mut found = amounts::scan(text);
    found.sort_by_key(Amount::has_cents);
    found.pop()
}

fn date<'f>(fields: &'f [SummaryField], context: &Context) -> Option<Field<crate::receipt::Date>> {
    let named = fields.iter().filter(|field| field.kind == "INVOICE_RECEIPT_DATE");
    let dated = |field: &'f SummaryField| Some((date_notation::parse(&field.text, context.us)?, field));
    let (value, field) = surest(named.filter_map(dated))
        .or_else(|| surest(fields.iter().filter(|field| is_dated_elsewhere(field)).filter_map(dated)))?;
    Some(field_of(value, field))
}

/// Bills of doctors and hospitals have their date where Textract knows no name for it.
fn is_dated_elsewhere(field: &SummaryField) -> bool {
    const DATES: List = list("DATE OF VISIT, DATE OF SERVICE, SERVICE DATE, STATEMENT DATE, INVOICE DATE, BILL DATE");
    let label = Words::new(&field.label);
    field.kind == "OTHER" && (label.has_any(&DATES) || Words::new(&field.text).starts_with_any(&DATES))
}

/// The value that Textract was surest of; the first of equals.
fn surest<'a, T>(values: impl Iterator<Item = (T, &'a SummaryField)>) -> Option<(T, &'a SummaryField)> {
    values.reduce(|best, next| if next.1.confidence > best.1.confidence { next } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(kind: &str, label: &str, text: &str, confidence: f32) -> SummaryField {
        SummaryField {
            kind: kind.to_owned(),
            label: label.to_owned(),
            text: text.to_owned(),
            confidence,
            currency: String::new(),
            of_vendor: false,
            place: None,
        }
    }

    fn read_fields(fields: &[SummaryField]) -> Receipt {
        read(fields, &Context::default())
    }

    #[test]
    fn a_date_without_a_name_of_its_own_is_known_by_its_label() {
        let fields = [
            field("OTHER", "Date of Birth", "1953-12-02", 97.0),
            field("OTHER", "Date of Visit", "March 12, 2019", 91.0),
            field("OTHER", "ACCOUNT SUMMARY", "Statement Date 09/30/10", 20.0),
        ];
        let date = |fields: &[SummaryField]| read_fields(fields).date.map(|date| date.value.to_string());
        assert_eq!(date(&fields).as_deref(), Some("2019-03-12"));
        assert_eq!(date(&fields[2..]).as_deref(), Some("2010-09-30"));
        assert_eq!(date(&fields[..1]), None);
    }

    #[test]
    fn the_surest_vendor_is_taken_and_the_receiver_never() {
        let mut named = field("NAME", "", "Corner Shop", 80.0);
        let receiver = field("NAME", "", "Jane Doe", 99.0);
        assert_eq!(read_fields(&[named.clone(), receiver]).vendor, None);
        named.of_vendor = true;
        let unsure = field("VENDOR_NAME", "", "Corn", 20.0);
        assert_eq!(read_fields(&[unsure, named]).vendor.unwrap().value, "Corner Shop");
        assert_eq!(read_fields(&[field("VENDOR_NAME", "", "- 123 -", 99.0)]).vendor, None);
    }

    #[test]
    fn a_total_is_one_by_its_label_too() {
        let fields = [field("TOTAL", "Balance", "$0.00", 99.0), field("TOTAL", "Total Paid", "$60.00", 95.0)];
        assert_eq!(read_fields(&fields).total.unwrap().value.to_string(), "60.00");
        assert_eq!(read_fields(&[field("TOTAL", "Fee", "none", 99.0)]).total, None);
    }

    #[test]
    fn the_amount_due_serves_where_there_is_no_total() {
        let fields = [field("AMOUNT_PAID", "Tend", "20.00", 99.0), field("AMOUNT_DUE", "Due", "15.00", 60.0)];
        assert_eq!(read_fields(&fields).total.unwrap().value.to_string(), "15.00");
    }

    #[test]
    fn textracts_currency_is_taken_if_it_is_one() {
        let mut total = field("TOTAL", "Total", "5.00", 99.0);
        total.currency = "EUR".to_owned();
        assert_eq!(read_fields(&[total.clone()]).total.unwrap().value.currency, Some("EUR"));
        total.currency = "???".to_owned();
        assert_eq!(read_fields(&[total]).total.unwrap().value.currency, None);
    }
}
