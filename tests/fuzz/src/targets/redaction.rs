//! Masking card and phone numbers in whatever an OCR service answers: the answer must still be read as it was before.

use host::trace::redacted;
use serde_json::Value;

use crate::{Target, seeds, textract};

pub const TARGET: Target = Target {
    name: "redaction",
    run,
    seeds: || {
        let recordings = seeds::recordings();
        let short = recordings.iter().map(|recording| seeds::short(recording).to_string().into_bytes());
        short.chain(SEEDS.iter().map(|seed| seed.as_bytes().to_vec())).collect()
    },
    longest: 4096,
    words: &[
        "TEL:",
        "FAX",
        "H/P",
        "+60 ",
        "03-1234 5678",
        "4111 1111 1111 1111",
        "4111111111111111",
        "\\u0031",
        "\\u00",
        "\"Blocks\":[",
        "\"Relationships\":[{\"Ids\":[",
        "\"SummaryFields\":[",
        "VENDOR_PHONE",
        "\"LabelDetection\"",
        "\\\"",
        "\\\\",
        "2018-03-12",
    ],
};

const SEEDS: [&str; 4] = [
    r#"{"Blocks":[{"BlockType":"LINE","Id":"a","Text":"TEL: 03-1234 5678","Relationships":[{"Ids":["b","c"]}]},{"BlockType":"WORD","Id":"b","Text":"03-1234"},{"BlockType":"WORD","Id":"c","Text":"5678"}]}"#,
    r#"{"SummaryFields":[{"Type":{"Text":"VENDOR_PHONE"},"ValueDetection":{"Text":"031234\u00355678"}}]}"#,
    r#"{"a":["4111 1111 1111 1111","+60 12 345 6789"],"b":4111111111111111}"#,
    "no JSON: call 03-1234 5678, pay with 4111-1111-1111-1111",
];

fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let masked = redacted(text);
    assert_eq!(masked, redacted(text), "masked otherwise");
    let Some(masked) = masked else { return };
    assert_ne!(masked, text, "nothing was masked");
    assert_eq!(masked.len(), text.len(), "it grew or shrank");
    for (before, after) in text.bytes().zip(masked.bytes()) {
        assert!(before == after || (before.is_ascii_hexdigit() && after == b'0'), "more than digits was changed");
    }
    if let Ok(before) = serde_json::from_str(text) {
        let after = serde_json::from_str(&masked).expect("it is JSON no more");
        check_value(&before, &after);
        assert_eq!(textract::read(text).is_ok(), textract::read(&masked).is_ok(), "it is a response no more");
    }
}

/// The same but for digits in strings.
fn check_value(before: &Value, after: &Value) {
    match (before, after) {
        (Value::String(before), Value::String(after)) => {
            assert_eq!(before.chars().count(), after.chars().count(), "{before:?} became {after:?}");
            for (before, after) in before.chars().zip(after.chars()) {
                assert!(before == after || (before.is_ascii_digit() && after == '0'), "{before:?} became {after:?}");
            }
        }
        (Value::Array(before), Value::Array(after)) => {
            assert_eq!(before.len(), after.len());
            before.iter().zip(after).for_each(|(before, after)| check_value(before, after));
        }
        (Value::Object(before), Value::Object(after)) => {
            assert!(before.keys().eq(after.keys()), "the members' names changed");
            before.values().zip(after.values()).for_each(|(before, after)| check_value(before, after));
        }
        _ => assert_eq!(before, after),
    }
}
