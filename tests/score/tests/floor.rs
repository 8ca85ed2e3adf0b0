//! The score does not fall unnoticed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;
use std::process::{Command, Output};

/// With the host that the workspace's build leaves beside it.
fn score(floor: &Path) -> Output {
    let score = Path::new(env!("CARGO_BIN_EXE_score"));
    let host = score.with_file_name("host");
    assert!(host.is_file(), "{} is missing: cargo build --workspace", host.display());
    let mut command = Command::new(score);
    command.arg("--host").arg(host).arg("--own-sets").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("sets"));
    command.arg("--recordings").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../recordings/textract"));
    command.arg("--folds").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("folds.json"));
    command.arg("--json").arg("--floor").arg(floor).output().unwrap()
}

#[test]
fn as_many_receipts_are_read_right_as_before() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("floor.json");
    let ran = score(&committed);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));

    // And it would be seen if there were fewer.
    let mut floor: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    let vendors = floor["ocr unseen"]["vendor"].as_u64().unwrap();
    floor["ocr unseen"]["vendor"] = (vendors + 1).into();
    let folder = tempfile::tempdir().unwrap();
    let higher = folder.path().join("floor.json");
    std::fs::write(&higher, floor.to_string()).unwrap();
    let ran = score(&higher);
    assert_eq!(ran.status.code(), Some(1));
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(said.contains(&format!("ocr unseen: {vendors} vendors are right, and were {}", vendors + 1)), "{said}");
}
