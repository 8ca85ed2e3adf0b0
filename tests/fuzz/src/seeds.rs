//! What the targets begin with, from `tests/recordings`.

use std::path::Path;

use serde_json::Value;

/// Every recorded OCR response, in the order of their names.
pub fn recordings() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../recordings");
    let mut paths = Vec::new();
    for part in ["sroie", "textract"] {
        for entry in std::fs::read_dir(folder.join(part)).expect("the recordings are there") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|end| end == "json") && !path.to_string_lossy().ends_with(".expected.json")
            {
                paths.push(path);
            }
        }
    }
    paths.sort();
    let read = |path: &std::path::PathBuf| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    paths.iter().map(read).collect()
}

/// A recording with its first blocks and fields alone: libFuzzer changes a few bytes at a time, and what is short is
/// tried more often.
pub fn short(recording: &Value) -> Value {
    let mut short = recording.clone();
    let responses = match &mut short {
        Value::Array(all) => all.iter_mut().collect(),
        one => vec![one],
    };
    for response in responses {
        if let Some(blocks) = response.get_mut("Blocks") {
            shorten(blocks);
        }
        for document in response.get_mut("ExpenseDocuments").and_then(Value::as_array_mut).into_iter().flatten() {
            document.as_object_mut().map(|document| document.remove("LineItemGroups"));
            for part in ["Blocks", "SummaryFields"] {
                if let Some(part) = document.get_mut(part) {
                    shorten(part);
                }
            }
        }
    }
    short
}

fn shorten(list: &mut Value) {
    let Some(list) = list.as_array_mut() else { return };
    list.retain(|block| block["BlockType"] != "WORD");
    list.truncate(8);
    for block in list {
        drop_outlines(block);
    }
}

/// A box says as much as its four corners.
fn drop_outlines(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.remove("Polygon");
            members.remove("Relationships");
            members.values_mut().for_each(drop_outlines);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_outlines),
        _ => {}
    }
}
