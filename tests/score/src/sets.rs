//! Labelled receipts, and how the component reads them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

/// A receipt with what is to be read from it.
#[derive(Debug, Deserialize)]
pub struct Receipt {
    pub name: String,
    pub vendor: String,
    pub total: String,
    pub date: Option<String>,
    /// The half that it belongs to, by company.
    pub split: String,
    /// Text, confidence, left, top, width, height.
    pub lines: Vec<(String, f32, f32, f32, f32, f32)>,
}

/// What was read from it.
#[derive(Debug, Default, Deserialize)]
pub struct Reading {
    pub file: PathBuf,
    pub vendor: Option<String>,
    pub total: Option<String>,
    pub date: Option<String>,
    #[serde(default)]
    pub confidence: f32,
}

/// One set.
pub fn load(file: &Path) -> anyhow::Result<Vec<Receipt>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let receipts = text.lines().enumerate().map(|(number, line)| {
        serde_json::from_str(line).with_context(|| format!("{}, line {}", file.display(), number + 1))
    });
    receipts.collect()
}

/// Reads all of them with `host parse`: the component in its sandbox, as it ships.
pub fn read(host: &Path, receipts: &[Receipt]) -> anyhow::Result<(BTreeMap<String, Reading>, Duration)> {
    let folder = tempfile::tempdir().context("cannot make a folder")?;
    for receipt in receipts {
        std::fs::write(folder.path().join(&receipt.name).with_extension("json"), response(receipt).to_string())?;
    }
    let started = Instant::now();
    let ran = Command::new(host)
        .arg("parse")
        .arg(folder.path())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", host.display()))?;
    let took = started.elapsed();
    ensure!(ran.status.success(), "host parse failed: {}", ran.status);
    let mut readings = BTreeMap::new();
    for line in String::from_utf8_lossy(&ran.stdout).lines() {
        let reading: Reading = serde_json::from_str(line).with_context(|| format!("host parse printed {line:?}"))?;
        let name = reading.file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        readings.insert(name, reading);
    }
    Ok((readings, took))
}

/// As DetectDocumentText says it.
fn response(receipt: &Receipt) -> Value {
    let line = |(index, line): (usize, &(String, f32, f32, f32, f32, f32))| {
        let (text, confidence, left, top, width, height) = line;
        json!({
            "BlockType": "LINE",
            "Id": index.to_string(),
            "Text": text,
            "Confidence": confidence,
            "Geometry": {"BoundingBox": {"Left": left, "Top": top, "Width": width, "Height": height}},
        })
    };
    let blocks: Vec<Value> = receipt.lines.iter().enumerate().map(line).collect();
    json!({"DocumentMetadata": {"Pages": 1}, "Blocks": blocks})
}
