//! Flags that take one of a few words: the words, and what the help says of each.

use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::ocr::{OcrApi, OcrSource};
use crate::swap::gate::GatePolicy;

impl ValueEnum for OcrSource {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Bytes, Self::S3]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::Bytes => PossibleValue::new("bytes").help("As bytes where they fit, else by S3 reference"),
            Self::S3 => PossibleValue::new("s3").help("By S3 reference, always"),
        })
    }
}

impl ValueEnum for OcrApi {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Detect, Self::Expense]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::Detect => PossibleValue::new("detect").help("DetectDocumentText"),
            Self::Expense => PossibleValue::new("expense").help("AnalyzeExpense"),
        })
    }
}

impl ValueEnum for GatePolicy {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Strict, Self::NoRegressions, Self::Report]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::Strict => PossibleValue::new("strict").help("Any difference"),
            Self::NoRegressions => PossibleValue::new("no-regressions")
                .help("A trap, an error, a field that is lost, or more than twice the work"),
            Self::Report => PossibleValue::new("report").help("Nothing: differences are reported"),
        })
    }
}
