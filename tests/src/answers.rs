//! Photos that need no pixels, and what Textract would say to them.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

/// A JPEG by its first bytes, unlike any other that this process makes: enough for a service that answers from recordings.
pub fn photo_bytes() -> Vec<u8> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let mut bytes = b"\xff\xd8\xff\xe0 photo ".to_vec();
    bytes.extend(format!("{} of {}", NUMBER.fetch_add(1, Ordering::Relaxed), std::process::id()).bytes());
    bytes
}

/// A DetectDocumentText response for a short receipt, as Textract words it.
pub fn answer(vendor: &str, total: &str, date: &str) -> Vec<u8> {
    let lines = [
        (vendor.to_owned(), 0.04, 0.3),
        ("12 Market Street, Springfield".to_owned(), 0.08, 0.25),
        (format!("Date: {date} 14:05"), 0.14, 0.1),
        (format!("1 Espresso {total}"), 0.3, 0.1),
        (format!("TOTAL ${total}"), 0.5, 0.1),
        ("Thank you, come again".to_owned(), 0.8, 0.3),
    ];
    let mut blocks = vec![json!({
        "BlockType": "PAGE", "Id": "page", "Geometry": geometry(0.0, 0.0, 1.0, 1.0),
        "Relationships": [{ "Type": "CHILD", "Ids": (0..lines.len()).map(|i| format!("line-{i}")).collect::<Vec<_>>() }],
    })];
    let mut words = Vec::new();
    for (number, (text, top, left)) in lines.iter().enumerate() {
        let mut ids = Vec::new();
        let mut x = *left;
        for (place, word) in text.split(' ').enumerate() {
            let (id, width) = (format!("word-{number}-{place}"), 0.015 * word.chars().count() as f64);
            words.push(json!({
                "BlockType": "WORD", "Id": id, "Text": word, "TextType": "PRINTED", "Confidence": 99.5,
                "Geometry": geometry(x, *top, width, 0.02),
            }));
            ids.push(id);
            x += width + 0.01;
        }
        blocks.push(json!({
            "BlockType": "LINE", "Id": format!("line-{number}"), "Text": text, "Confidence": 99.5,
            "Geometry": geometry(*left, *top, x - left, 0.02),
            "Relationships": [{ "Type": "CHILD", "Ids": ids }],
        }));
    }
    blocks.extend(words);
    let response = json!({
        // A field that no SDK knows: the artifact must have it.
        "AddedTomorrow": { "spacing": "kept" },
        "DetectDocumentTextModelVersion": "1.0",
        "DocumentMetadata": { "Pages": 1 },
        "Blocks": blocks,
    });
    // Not as a parser would write it again: indented, and with a line's end.
    let mut text = serde_json::to_string_pretty(&response).unwrap();
    text.push_str("\r\n");
    text.into_bytes()
}

fn geometry(left: f64, top: f64, width: f64, height: f64) -> Value {
    json!({
        "BoundingBox": { "Left": left, "Top": top, "Width": width, "Height": height },
        "Polygon": [
            { "X": left, "Y": top }, { "X": left + width, "Y": top },
            { "X": left + width, "Y": top + height }, { "X": left, "Y": top + height },
        ],
    })
}
