//! The reader of OCR responses, and the parser behind it: any bytes.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::reading::{check_document, check_receipt};
use crate::{Target, parser, seeds, textract};

pub const TARGET: Target = Target {
    name: "response",
    run,
    seeds: || seeds::recordings().iter().map(|recording| seeds::short(recording).to_string().into_bytes()).collect(),
    longest: 4096,
    words: &[
        "\"Blocks\":[",
        "\"ExpenseDocuments\":[",
        "\"BlockType\":\"LINE\"",
        "\"BlockType\":\"WORD\"",
        "\"BlockType\":\"PAGE\"",
        "\"Text\":\"",
        "\"Confidence\":",
        "\"Page\":",
        "\"Geometry\":{\"BoundingBox\":{",
        "\"SummaryFields\":[",
        "\"Type\":{\"Text\":\"",
        "\"ValueDetection\":{\"Text\":\"",
        "\"LabelDetection\":{\"Text\":\"",
        "\"DocumentMetadata\":{\"Pages\":",
        "VENDOR_NAME",
        "TOTAL",
        "null",
        "true",
        "[[[[",
        "{},",
        "1e308",
        "-1e-308",
        "\\u0000",
        "\\ud800",
        "\u{feff}",
    ],
};

fn run(data: &[u8]) {
    let Ok(json) = std::str::from_utf8(data) else { return };
    let read = textract::read(json);
    assert_eq!(read, textract::read(json), "another reading of the same text");
    if is_response(json) {
        assert!(read.is_ok(), "a response is refused: {read:?}");
    }
    let Ok(document) = read else { return };
    check_document(&document);
    let receipt = parser::read(&document);
    check_receipt(&receipt);
    assert_eq!(Ok(receipt), parser::parse(json), "another receipt from the same text");
}

/// Whether it is JSON with blocks or expenses in it, by readers that are not ours.
fn is_response(json: &str) -> bool {
    // A name that stands twice may be either; serde refuses that.
    #[derive(Deserialize)]
    struct Once {
        #[serde(rename = "Blocks")]
        _blocks: Option<IgnoredAny>,
        #[serde(rename = "ExpenseDocuments")]
        _expenses: Option<IgnoredAny>,
    }
    let json = json.trim_start_matches('\u{feff}');
    let has = |value: &Value| value["Blocks"].is_array() || value["ExpenseDocuments"].is_array();
    match serde_json::from_str(json) {
        Ok(Value::Array(all)) => all.iter().any(has) && serde_json::from_str::<Vec<Once>>(json).is_ok(),
        Ok(value) => has(&value) && serde_json::from_str::<Once>(json).is_ok(),
        Err(_) => false,
    }
}
