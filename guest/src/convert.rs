//! Between the plain types and the contract's generated ones. Test components that are the real worker but for one thing
//! have bindings of their own, and this file.

use crate::bindings::exports::snapceit::receipts as exports;
use crate::bindings::snapceit::receipts::types;
use crate::policy::{self, FailureKind};
use crate::receipt;
use crate::textract::ReadError;

include!("../../wit/failure_kinds.rs");

macro_rules! from_the_contract {
    ($($kind:ident = $name:literal,)*) => {
        impl From<types::FailureKind> for FailureKind {
            fn from(kind: types::FailureKind) -> Self {
                match kind {
                    $(types::FailureKind::$kind => Self::$kind,)*
                }
            }
        }
    };
}

failure_kinds!(from_the_contract);

impl From<policy::Decision> for exports::policy::Decision {
    fn from(decision: policy::Decision) -> Self {
        match decision {
            policy::Decision::Retry { milliseconds, charge } => {
                Self::Retry(exports::policy::Retry { milliseconds, charge })
            }
            policy::Decision::DeadLetter => Self::DeadLetter,
            policy::Decision::Abandon => Self::Abandon,
        }
    }
}

impl From<ReadError> for exports::parser::ParseError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NotJson(why) => Self::NotJson(why),
            ReadError::NotTextract(what) => Self::NotTextract(what),
        }
    }
}

impl From<receipt::Receipt> for types::Receipt {
    fn from(receipt: receipt::Receipt) -> Self {
        Self {
            vendor: receipt.vendor.map(|field| types::TextField {
                value: field.value,
                confidence: field.confidence,
                place: field.place.map(Into::into),
                why: Some(field.why.into()),
            }),
            total: receipt.total.map(Into::into),
            date: receipt.date.map(|field| types::DateField {
                value: types::Date { year: field.value.year, month: field.value.month, day: field.value.day },
                confidence: field.confidence,
                place: field.place.map(Into::into),
                why: Some(field.why.into()),
            }),
            subtotal: receipt.subtotal.map(Into::into),
            tax: receipt.tax.map(Into::into),
            confidence: receipt.confidence,
            pages: receipt.pages,
        }
    }
}

impl From<receipt::Field<receipt::Money>> for types::MoneyField {
    fn from(field: receipt::Field<receipt::Money>) -> Self {
        Self {
            value: types::Money {
                units: field.value.units,
                scale: field.value.scale,
                currency: field.value.currency.map(str::to_owned),
            },
            confidence: field.confidence,
            place: field.place.map(Into::into),
            why: Some(field.why.into()),
        }
    }
}

impl From<receipt::Why> for types::Why {
    fn from(why: receipt::Why) -> Self {
        Self { line: why.line, rule: why.rule, score: why.score }
    }
}

impl From<receipt::Place> for types::Place {
    fn from(place: receipt::Place) -> Self {
        Self {
            page: place.page,
            bounds: types::BoundingBox {
                left: place.bounds.left,
                top: place.bounds.top,
                width: place.bounds.width,
                height: place.bounds.height,
            },
        }
    }
}
