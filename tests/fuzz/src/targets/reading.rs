//! What holds for every reading of every document.

use crate::receipt::{Date, Place, Receipt};
use crate::textract::Document;

/// What the contract says of a document that was read.
pub fn check_document(document: &Document) {
    assert!(document.pages <= 3_000, "{} pages", document.pages);
    for line in &document.lines {
        check_text(&line.text);
        check_confidence(line.confidence);
        assert!((1..=3_000).contains(&line.page), "page {}", line.page);
        if let Some(bounds) = line.bounds {
            check_place(&Place { page: line.page, bounds });
        }
    }
    for field in &document.summary {
        check_text(&field.text);
        check_confidence(field.confidence);
        field.place.iter().for_each(check_place);
    }
}

/// What the contract says of a receipt.
pub fn check_receipt(receipt: &Receipt) {
    check_confidence(receipt.confidence);
    assert!(receipt.pages <= 3_000, "{} pages", receipt.pages);
    if let Some(vendor) = &receipt.vendor {
        check_text(&vendor.value);
        check_confidence(vendor.confidence);
        vendor.place.iter().for_each(check_place);
    }
    if let Some(total) = &receipt.total {
        let money = total.value;
        let text = money.to_string();
        assert!(money.scale <= 18, "scale {}", money.scale);
        assert!(text.len() <= 21 && (money.units != 0 || !text.starts_with('-')), "{text}");
        let is_code = |code: &str| code.len() == 3 && code.bytes().all(|letter| letter.is_ascii_uppercase());
        assert!(money.currency.is_none_or(is_code), "{:?}", money.currency);
        check_confidence(total.confidence);
        total.place.iter().for_each(check_place);
    }
    if let Some(date) = &receipt.date {
        let Date { year, month, day } = date.value;
        assert_eq!(Date::new(year, month, day), Some(date.value), "no such day");
        check_confidence(date.confidence);
        date.place.iter().for_each(check_place);
    }
    let is_empty = receipt.vendor.is_none() && receipt.total.is_none();
    assert!(!is_empty || receipt.confidence == 0.0, "sure of nothing: {}", receipt.confidence);
}

fn check_confidence(confidence: f32) {
    assert!((0.0..=100.0).contains(&confidence), "confidence {confidence}");
}

fn check_text(text: &str) {
    assert!(!text.is_empty() && text.trim() == text, "{text:?} is empty or not trimmed");
    assert!(!text.chars().any(char::is_control), "{text:?} has control characters");
}

fn check_place(place: &Place) {
    const ROUNDING: f32 = 1e-5;
    let bounds = place.bounds;
    assert!(place.page >= 1, "page 0");
    assert!(bounds.left >= 0.0 && bounds.top >= 0.0 && bounds.width >= 0.0 && bounds.height >= 0.0, "{bounds:?}");
    assert!(bounds.left + bounds.width <= 1.0 + ROUNDING && bounds.top + bounds.height <= 1.0 + ROUNDING, "{bounds:?}");
}
