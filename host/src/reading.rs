//! What a component read from a receipt, in the words that people and databases use.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::sandbox::{decimal, iso_date, types};

/// The names of the fields.
pub const FIELDS: [&str; 5] = ["vendor", "total", "currency", "date", "confidence"];

/// One reading, without what it was read from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Who was paid.
    pub vendor: Option<String>,
    /// A decimal number, as text.
    pub total: Option<String>,
    /// ISO 4217.
    pub currency: Option<String>,
    /// ISO 8601.
    pub date: Option<String>,
    /// 0 to 100, to two decimals.
    pub confidence: f64,
}

impl From<types::Receipt> for Reading {
    fn from(receipt: types::Receipt) -> Self {
        let total = receipt.total.map(|field| field.value);
        Self {
            vendor: receipt.vendor.map(|field| field.value),
            currency: total.as_ref().and_then(|money| money.currency.clone()),
            total: total.as_ref().map(decimal),
            date: receipt.date.map(|field| iso_date(&field.value)),
            confidence: (f64::from(receipt.confidence) * 100.0).round() / 100.0,
        }
    }
}

impl Reading {
    /// Fields in which two readings differ: name, expected, found.
    pub fn differences(&self, found: &Self) -> Vec<(&'static str, Value, Value)> {
        let pairs = FIELDS.into_iter().map(|name| (name, self.field(name), found.field(name)));
        pairs.filter(|(_, expected, found)| expected != found).collect()
    }

    /// A field by its name; null where there is none.
    pub fn field(&self, name: &str) -> Value {
        match name {
            "vendor" => Value::from(self.vendor.clone()),
            "total" => Value::from(self.total.clone()),
            "currency" => Value::from(self.currency.clone()),
            "date" => Value::from(self.date.clone()),
            "confidence" => Value::from(self.confidence),
            _ => Value::Null,
        }
    }
}
