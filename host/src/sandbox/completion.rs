//! What a component read, as the database takes it.

use super::bindings::snapceit::receipts::types as wit;
use crate::queue::Completion;

/// Longest vendor that is worth keeping.
const LONGEST_VENDOR: usize = 500;

/// Turns a reading into what is written for it. `artifact_key` names the OCR response that it was read from.
pub fn completion(receipt: &wit::Receipt, artifact_key: String) -> Completion {
    // The component is not trusted to keep to the contract's ranges, and Postgres takes no NUL.
    let text = |value: &str, most: usize| -> String { value.chars().filter(|c| !c.is_control()).take(most).collect() };
    let is_code = |code: &String| code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    let total = receipt.total.as_ref().map(|field| &field.value);
    Completion {
        vendor: receipt
            .vendor
            .as_ref()
            .map(|field| text(&field.value, LONGEST_VENDOR))
            .filter(|vendor| !vendor.trim().is_empty()),
        currency: total.and_then(|money| money.currency.clone()).filter(is_code),
        total: total.map(decimal),
        date: receipt.date.as_ref().map(|field| iso_date(&field.value)),
        confidence: percentage(receipt.confidence),
        artifact_key,
    }
}

/// Within 0 and 100, to two decimals. What is no number is no confidence.
fn percentage(confidence: f32) -> f64 {
    if confidence.is_nan() { 0.0 } else { (f64::from(confidence.clamp(0.0, 100.0)) * 100.0).round() / 100.0 }
}

/// A decimal number as text: exact, whatever its scale.
pub fn decimal(money: &wit::Money) -> String {
    let digits = money.units.unsigned_abs().to_string();
    let scale = usize::from(money.scale.min(18));
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    let sign = if money.units < 0 { "-" } else { "" };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// A date as ISO 8601.
pub fn iso_date(date: &wit::Date) -> String {
    format!("{:04}-{:02}-{:02}", date.year, date.month, date.day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_exact() {
        let decimal = |units, scale| super::decimal(&wit::Money { units, scale, currency: None });
        assert_eq!(decimal(635, 2), "6.35");
        assert_eq!(decimal(5, 2), "0.05");
        assert_eq!(decimal(-5, 2), "-0.05");
        assert_eq!(decimal(1200, 0), "1200");
        assert_eq!(decimal(0, 2), "0.00");
        assert_eq!(decimal(i64::MIN, 18), "-9.223372036854775808");
        assert_eq!(decimal(1, 200), "0.000000000000000001");
    }

    #[test]
    fn nothing_out_of_range_reaches_the_database() {
        let receipt = wit::Receipt {
            vendor: Some(wit::TextField { value: "A\0B".to_owned(), confidence: 1.0, place: None, why: None }),
            total: None,
            date: None,
            subtotal: None,
            tax: None,
            confidence: f32::NAN,
            pages: 1,
        };
        let read = completion(&receipt, String::new());
        assert_eq!(read.vendor.as_deref(), Some("AB"));
        assert!((0.0..=100.0).contains(&read.confidence));
    }
}
