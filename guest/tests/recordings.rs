//! Reads every recorded response of `tests/recordings` and compares field by field with what stands beside it. The host's
//! `replay` verb does the same through the component, and `replay --bless` writes the expectations.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use worker::receipt::Receipt;

const FIELDS: [&str; 5] = ["vendor", "total", "currency", "date", "confidence"];

#[test]
fn recordings_are_read_as_expected() {
    let recordings = recordings(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/recordings"));
    assert!(recordings.len() >= 30, "only {} recordings found", recordings.len());
    let mut differences = Vec::new();
    for recording in recordings {
        let expected = fs::read_to_string(recording.with_extension("expected.json"))
            .unwrap_or_else(|error| panic!("{} has no expectation: {error}", recording.display()));
        let expected: Value = serde_json::from_str(&expected).expect("an expectation is JSON");
        let response = fs::read_to_string(&recording).expect("a recording is UTF-8");
        let actual = fields(&worker::parser::parse(&response).expect("a recording is a response"));
        for field in FIELDS {
            let (wanted, got) = (expected.get(field), actual.get(field));
            if wanted != got {
                differences.push(format!("{}: {field}: expected {wanted:?}, got {got:?}", recording.display()));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

fn recordings(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("tests/recordings is there") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(recordings(&path));
        } else if path.extension().is_some_and(|e| e == "json") && !path.to_string_lossy().ends_with(".expected.json") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn fields(receipt: &Receipt) -> Value {
    let total = receipt.total.as_ref().map(|field| field.value);
    json!({
        "vendor": receipt.vendor.as_ref().map(|field| &field.value),
        "total": total.map(|money| money.to_string()),
        "currency": total.and_then(|money| money.currency),
        "date": receipt.date.as_ref().map(|field| field.value.to_string()),
        "confidence": (f64::from(receipt.confidence) * 100.0).round() / 100.0,
    })
}
