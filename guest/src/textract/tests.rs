use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

fn read_value(value: &Value) -> Document {
    read(&value.to_string()).expect("a response")
}

fn line(text: &str) -> Value {
    json!({"BlockType": "LINE", "Text": text, "Confidence": 98.5,
        "Geometry": {"BoundingBox": {"Left": 0.1, "Top": 0.2, "Width": 0.3, "Height": 0.02}}})
}

#[test]
fn lines_are_read() {
    let document =
        read_value(&json!({"DocumentMetadata": {"Pages": 1}, "Blocks": [{"BlockType": "PAGE"}, line("TOTAL")]}));
    assert_eq!(document.pages, 1);
    assert_eq!(document.lines.len(), 1);
    assert_eq!(document.lines[0].text, "TOTAL");
    assert_eq!(document.lines[0].confidence, 98.5);
    assert_eq!(document.lines[0].bounds, BoundingBox::new(0.1, 0.2, 0.3, 0.02));
}

#[test]
fn a_line_longer_than_any_is_cut() {
    let document = read_value(&json!({"Blocks": [line(&"é".repeat(3_000))]}));
    assert_eq!(document.lines[0].text, "é".repeat(500));
}

#[test]
fn words_serve_where_there_are_no_lines() {
    let document = read_value(&json!({"Blocks": [{"BlockType": "WORD", "Text": "TOTAL"}]}));
    assert_eq!(document.lines[0].text, "TOTAL");
}

/// What a block is may be said before or behind what it says.
#[test]
fn the_order_of_members_does_not_matter() {
    for json in [
        r#"{"Blocks":[{"BlockType":"WORD","Text":"a","Geometry":{}},{"BlockType":"LINE","Text":"a b","Confidence":90}]}"#,
        r#"{"Blocks":[{"Confidence":90,"Text":"a b","BlockType":"LINE"},{"Text":"a","BlockType":"WORD"}]}"#,
        r#"{"Blocks":[{"BlockType":"WORD","BlockType":"LINE","Text":"a"},{"Text":"a b","BlockType":"LINE","Confidence":90}]}"#,
    ] {
        let document = read(json).unwrap();
        assert_eq!(document.lines.len(), 1, "{json}");
        assert_eq!((document.lines[0].text.as_str(), document.lines[0].confidence), ("a b", 90.0), "{json}");
    }
    let both = json!([{"Blocks": [line("a b")]}, {"Blocks": [{"BlockType": "WORD", "Text": "c", "Page": 2}]}]);
    let texts: Vec<String> = read_value(&both).lines.into_iter().map(|line| line.text).collect();
    assert_eq!(texts, ["a b", "c"]);
}

#[test]
fn pages_are_counted_and_numbered() {
    let two = json!({"Blocks": [{"BlockType": "PAGE"}, line("a"), {"BlockType": "PAGE"}, line("b")]});
    let document = read_value(&two);
    assert_eq!(document.pages, 2);
    assert_eq!(document.lines[1].page, 2);
    assert_eq!(read_value(&json!({"Blocks": []})).pages, 0);
    assert_eq!(read_value(&json!({"DocumentMetadata": {"Pages": 1e30}, "Blocks": []})).pages, MAX_PAGES);
}

#[test]
fn saved_pages_of_one_result_are_read_together() {
    let pages = json!([{"Blocks": [line("a")]}, {"Blocks": [{"BlockType": "LINE", "Text": "b", "Page": 2}]}]);
    let document = read_value(&pages);
    assert_eq!(document.pages, 2);
    assert_eq!(document.lines.len(), 2);
}

#[test]
fn odd_blocks_are_survived() {
    let odd = json!({"Blocks": [null, 5, {"BlockType": 7}, {"BlockType": "LINE", "Text": null},
        {"BlockType": "LINE", "Text": "ok", "Confidence": "NaN", "Geometry": null},
        {"BlockType": "LINE", "Text": "box", "Confidence": 1e9, "Geometry": {"BoundingBox": {"Left": "NaN", "Top": 0}}}]});
    let document = read_value(&odd);
    assert_eq!(document.lines.len(), 2);
    assert_eq!((document.lines[0].confidence, document.lines[1].confidence), (0.0, 100.0));
    assert!(document.lines.iter().all(|line| line.bounds.is_none()));
}

#[test]
fn control_characters_are_stripped() {
    let document = read_value(&json!({"Blocks": [line("\u{0}A\u{7}B\n\u{feff} C \u{0}"), line("\u{0}")]}));
    assert_eq!(document.lines.len(), 1);
    assert_eq!(document.lines[0].text, "A B C");
}

#[test]
fn expense_fields_are_read_once() {
    let field = json!({"Type": {"Text": "TOTAL", "Confidence": 90}, "ValueDetection": {"Text": "$5.00", "Confidence": 80},
        "Currency": {"Code": "USD"}, "PageNumber": 1, "GroupProperties": [{"Types": ["VENDOR_NAME"]}]});
    let empty = json!({"Type": {"Text": "OTHER"}, "ValueDetection": {"Text": ""}});
    let response = json!({"ExpenseDocuments": [{"SummaryFields": [field, empty, null], "Blocks": [line("a")]}],
        "Blocks": [line("a")]});
    let document = read_value(&response);
    assert_eq!(document.lines.len(), 1);
    assert_eq!(document.summary.len(), 1);
    assert_eq!(document.summary[0].confidence, 80.0);
    assert!(document.summary[0].of_vendor);
}

#[test]
fn other_things_are_named() {
    let error = |json: &str| read(json).unwrap_err().to_string();
    assert!(error("").starts_with("not JSON: EOF"));
    assert!(error("{\"Blocks\": [").starts_with("not JSON"));
    assert_eq!(error("{}"), "no Textract response: an empty object");
    assert_eq!(error("7"), "no Textract response: neither an object nor an array of objects");
    assert_eq!(error("[]"), "no Textract response: neither an object nor an array of objects");
    let refused = json!({"__type": "ThrottlingException", "message": "slow\u{0}"}).to_string();
    assert_eq!(error(&refused), "no Textract response: an object with __type, message");
    assert!(error("{\"Blocks\": null}").contains("Blocks"));
}

#[test]
fn deep_nesting_does_not_overflow_the_stack() {
    for (open, close) in [("[", "]"), ("{\"Blocks\":[", "]}"), ("{\"Geometry\":", "}")] {
        let deep = format!("{}1{}", open.repeat(300_000), close.repeat(300_000));
        for json in [deep.clone(), format!("{{\"Blocks\":{deep}}}"), format!("{{\"Blocks\":[{deep}]}}")] {
            assert!(read(&json).map_or(true, |document| document.lines.is_empty()));
        }
    }
}

/// JSON of every shape, with Textract's own names in it often enough to reach deep.
fn arbitrary_json() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "Blocks",
        "BlockType",
        "Text",
        "Confidence",
        "Geometry",
        "BoundingBox",
        "Left",
        "Top",
        "Width",
        "Height",
        "Page",
        "ExpenseDocuments",
        "SummaryFields",
        "Type",
        "ValueDetection",
        "GroupProperties",
        "Types",
        "Currency",
        "Code",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        prop::sample::select(vec!["LINE", "PAGE", "TOTAL", "VENDOR_NAME", "RM 5.00", "12/03/2018"])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 96, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map(names.clone().prop_map(str::to_owned), inner, 0..8)
                .prop_map(|map| Value::from(serde_json::Map::from_iter(map))),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_read_or_refused(blocks in arbitrary_json(), expenses in arbitrary_json()) {
        let _ = crate::parser::parse(&blocks.to_string());
        let response = json!({"Blocks": blocks, "ExpenseDocuments": expenses});
        if let Ok(receipt) = crate::parser::parse(&response.to_string()) {
            prop_assert!((0.0..=100.0).contains(&receipt.confidence));
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in ".*") {
        let _ = crate::parser::parse(&text);
    }
}
