//! The small numbers of the reference, as the columns hold them.

use serde_json::{Value, json};

use crate::reference::{Slot, Status};

pub fn id(slot: Slot) -> String {
    format!("00000000-0000-0000-0000-00000000000{slot}")
}

pub fn slot(id: &str) -> Slot {
    id[id.len() - 1..].parse().unwrap()
}

pub fn status(status: Status) -> &'static str {
    match status {
        Status::Draft => "draft",
        Status::Pending => "pending",
        Status::Done => "ocr_done",
        Status::Failed => "ocr_failed",
    }
}

pub fn status_of(text: &Value) -> Status {
    [Status::Draft, Status::Pending, Status::Done, Status::Failed]
        .into_iter()
        .find(|known| status(*known) == text)
        .unwrap_or_else(|| panic!("status {text}"))
}

/// Vendor, total, currency and date: all of one writer.
pub fn fields(number: Option<u8>) -> [Option<String>; 4] {
    let Some(number) = number else { return [const { None }; 4] };
    [format!("vendor {number}"), format!("{number}.50"), format!("C{number}"), format!("2024-01-{number:02}")].map(Some)
}

/// Fails on a mixture of two readings.
pub fn fields_of(array: &Value) -> Option<u8> {
    (0..=28)
        .map(Some)
        .chain([None])
        .find(|number| as_json(*number) == *array)
        .unwrap_or_else(|| panic!("mixed: {array}"))
}

fn as_json(number: Option<u8>) -> Value {
    let [vendor, total, currency, day] = fields(number);
    json!([vendor, total.map(|total| total.parse::<f64>().unwrap()), currency, day])
}

/// An image's key, an artifact's, a digest, a kind, a code, a message: a letter for what it is, and the number.
pub fn name(letter: char, number: Option<u8>) -> Option<String> {
    number.map(|number| format!("{letter}{number}"))
}

pub fn number(letter: char, text: &Value) -> Option<u8> {
    let text = text.as_str()?;
    Some(text.strip_prefix(letter).and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{letter}: {text}")))
}
