//! AnalyzeExpense's own summary fields.

mod totals;
mod values;

use std::collections::BTreeMap;

use self::values::{amount, field_of, money, notation};
use super::currency::Context;
use super::date_notation;
use super::lists::{List, list};
use super::words::Words;
use crate::receipt::{Field, Money, Receipt};
use crate::textract::SummaryField;

/// Takes what Textract named; everything else stays empty. Pages and confidence are the caller's to fill in.
pub(super) fn read(fields: &[SummaryField], context: &Context) -> Receipt {
    Receipt {
        vendor: vendor(fields),
        total: totals::find(fields, notation(fields), context),
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

/// Of a part of the sum: whatever Textract is surest of.
fn part(fields: &[SummaryField], kind: &str, context: &Context) -> Option<Field<Money>> {
    let notation = notation(fields);
    let named = fields.iter().filter(|field| field.kind == kind);
    let (amount, field) = surest(named.filter_map(|field| Some((amount(&field.text, notation)?, field))))?;
    Some(field_of(money(amount, field, context), field))
}

/// Whether Textract found several receipts on one page: which of them is meant, nobody knows. The customer's copy beside the
/// merchant's is one receipt.
pub(super) fn are_two_receipts(fields: &[SummaryField], context: &Context) -> bool {
    let mut found: BTreeMap<(u32, u32), Vec<SummaryField>> = BTreeMap::new();
    for field in fields.iter().filter(|field| matches!(field.kind.as_str(), "VENDOR_NAME" | "TOTAL" | "AMOUNT_DUE")) {
        found.entry((field.page, field.expense)).or_default().push(field.clone());
    }
    let said = |fields: &[SummaryField]| {
        let total = totals::find(fields, notation(fields), context).map(|total| total.value.micros());
        let name: Option<String> = vendor(fields).map(|vendor| Words::new(&vendor.value).iter().collect());
        (name, total)
    };
    let receipts: Vec<(u32, _)> = found.iter().map(|((page, _), fields)| (*page, said(fields))).collect();
    receipts.windows(2).any(|pair| matches!(pair, [(page, one), (next, other)] if page == next && one != other))
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
    use super::values::named as field;
    use super::*;

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
    fn two_receipts_on_one_page_are_none() {
        let two = |page: u32, name: &str, total: &str| {
            let other = |field: SummaryField| SummaryField { page, expense: 2, ..field };
            let fields = [
                field("VENDOR_NAME", "", "Corner Shop", 99.0),
                field("TOTAL", "Total", "5.00", 98.0),
                other(field("VENDOR_NAME", "", name, 97.0)),
                other(field("TOTAL", "Total", total, 99.0)),
            ];
            are_two_receipts(&fields, &Context::default())
        };
        assert!(two(1, "Hill Bakery", "9.00") && two(1, "Corner Shop", "9.00"));
        assert!(!two(1, "CORNER SHOP", "5.00"), "two copies of one");
        assert!(!two(2, "Hill Bakery", "9.00"), "two pages");
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
