//! The parser behind the reader: any text anywhere on the page, without the JSON around it that most changes would break.
//!
//! A line of the input is a line on the page or a field of an expense: what it is, its box, confidence and page in a byte
//! each, and its text.

use serde_json::{Value, json};

use super::reading::{check_document, check_receipt};
use crate::{Target, parser, seeds, textract};

pub const TARGET: Target = Target {
    name: "document",
    run,
    seeds: || seeds::recordings().iter().map(written).collect(),
    longest: 4096,
    words: &[
        "TOTAL",
        "Grand Total",
        "SUBTOTAL",
        "CHANGE",
        "CASH",
        "ROUNDING",
        "GST 6%",
        "RM",
        "MYR",
        "USD",
        "EUR",
        "$",
        "€",
        "£",
        "¥",
        "1.234,56",
        "1,234.56",
        "12.50-",
        "(12.50)",
        "0.00",
        "99999999999999999999",
        "12/03/2018",
        "2018-03-12",
        "12 MAR 18",
        "03.12.18",
        "31/02/2018",
        "TEL:",
        "INVOICE",
        "SDN BHD",
        "GMBH",
        "LTD",
        "TAX INVOICE",
        "DATE:",
        ":",
    ],
};

/// Types that AnalyzeExpense gives to its fields.
const TYPES: [&str; 8] =
    ["VENDOR_NAME", "TOTAL", "AMOUNT_DUE", "SUBTOTAL", "TAX", "INVOICE_RECEIPT_DATE", "NAME", "OTHER"];
const CURRENCIES: [&str; 4] = ["", "USD", "MYR", "?"];
/// Bytes before a line's text.
const HEAD: usize = 7;

fn run(data: &[u8]) {
    let json = response(data).to_string();
    let document = textract::read(&json).expect("a response is read");
    check_document(&document);
    let receipt = parser::read(&document);
    check_receipt(&receipt);
    assert_eq!(Ok(receipt), parser::parse(&json), "another receipt from the same text");
}

fn response(data: &[u8]) -> Value {
    let (mut blocks, mut fields) = (Vec::new(), Vec::new());
    for line in data.split(|&byte| byte == b'\n') {
        let Some((head, text)) = line.split_at_checked(HEAD) else { continue };
        let text = String::from_utf8_lossy(text);
        let part = |at: usize| f32::from(head[at]) / 250.0;
        let geometry =
            json!({"BoundingBox": {"Left": part(1), "Top": part(2), "Width": part(3) / 2.0, "Height": part(4) / 10.0}});
        let (confidence, page) = (part(5) * 100.0, head[6] % 4);
        if head[0] >= b'a' {
            let (label, value) = text.split_once('|').unwrap_or(("", &text));
            let (kind, currency) = (TYPES[usize::from(head[0]) % 8], CURRENCIES[usize::from(head[6]) / 4 % 4]);
            let group = if head[0] % 16 < 8 { "VENDOR" } else { "RECEIVER" };
            fields.push(json!({
                "Type": {"Text": kind, "Confidence": confidence},
                "LabelDetection": {"Text": label, "Confidence": confidence},
                "ValueDetection": {"Text": value, "Confidence": confidence, "Geometry": geometry},
                "Currency": {"Code": currency},
                "GroupProperties": [{"Types": [group]}],
                "PageNumber": page,
            }));
        } else {
            let kind = if head[0] == b'W' { "WORD" } else { "LINE" };
            let page = if page == 0 { Value::Null } else { json!(page) };
            blocks.push(json!({
                "BlockType": kind, "Text": text, "Confidence": confidence, "Page": page, "Geometry": geometry,
            }));
        }
    }
    match fields.is_empty() {
        true => json!({"DocumentMetadata": {"Pages": 1}, "Blocks": blocks}),
        false => json!({"ExpenseDocuments": [{"SummaryFields": fields, "Blocks": blocks}]}),
    }
}

/// A recording in the form that is read here.
fn written(recording: &Value) -> Vec<u8> {
    let document = textract::read(&recording.to_string()).expect("a recording is a response");
    let byte = |part: f32| (part * 250.0) as u8;
    let head = |first: u8, bounds: Option<crate::receipt::BoundingBox>, confidence: f32, page: u32| {
        let (left, top, width, height) = bounds.map_or((0.0, 0.0, 0.0, 0.0), |b| (b.left, b.top, b.width, b.height));
        let head = [first, byte(left), byte(top), byte(width * 2.0), byte(height * 10.0), byte(confidence / 100.0)];
        // A line's end would end it.
        [&head[..], &[u8::try_from(page % 4).unwrap_or(1)]].concat().iter().map(|&b| b.max(11)).collect::<Vec<u8>>()
    };
    let mut lines = Vec::new();
    for field in document.summary.iter().take(12) {
        let kind = TYPES.iter().position(|kind| *kind == field.kind).unwrap_or(7);
        let first = b'h' + u8::try_from(kind).unwrap_or(7);
        let bounds = field.place.map(|place| place.bounds);
        let text = format!("{}|{}", field.label, field.text).into_bytes();
        lines.push([head(first, bounds, field.confidence, 1), text].concat());
    }
    for line in document.lines.iter().take(24) {
        lines.push([head(b'L', line.bounds, line.confidence, line.page), line.text.clone().into_bytes()].concat());
    }
    lines.join(&b'\n')
}
