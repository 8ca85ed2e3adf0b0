//! Results that break the contract.

use test_components::reading;
use test_components::types::{Date, DateField, Money, MoneyField, Receipt};

pub fn receipt(behaviour: &str) -> Option<Receipt> {
    let receipt = reading(behaviour);
    Some(match behaviour {
        "confidence-nan" => Receipt { confidence: f32::NAN, ..receipt },
        "confidence-infinite" => Receipt { confidence: f32::INFINITY, ..receipt },
        "confidence-negative" => Receipt { confidence: -1e30, ..receipt },
        "confidence-huge" => Receipt { confidence: 1e30, ..receipt },
        "scale" => with_total(receipt, i64::MIN, 255, None),
        "whole" => with_total(receipt, i64::MAX, 0, None),
        "currency" => with_total(receipt, 100, 2, Some("\0\u{1b}[31m".to_owned() + &"€".repeat(100_000))),
        "control" => reading("a\0b\u{1b}[2Jc\nd\u{202e}e"),
        "blank" => reading(" \n\t "),
        "vendor" => reading(&"v".repeat(1 << 20)),
        "no-such-day" => with_date(receipt, 2018, 2, 31),
        "month" => with_date(receipt, 2018, 13, 1),
        "day-zero" => with_date(receipt, 0, 0, 0),
        "year" => with_date(receipt, u16::MAX, 12, 31),
        _ => return None,
    })
}

fn with_total(receipt: Receipt, units: i64, scale: u8, currency: Option<String>) -> Receipt {
    let total = MoneyField { value: Money { units, scale, currency }, confidence: f32::NAN, place: None, why: None };
    Receipt { total: Some(total), ..receipt }
}

fn with_date(receipt: Receipt, year: u16, month: u8, day: u8) -> Receipt {
    let date = DateField { value: Date { year, month, day }, confidence: 1.0, place: None, why: None };
    Receipt { date: Some(date), ..receipt }
}
