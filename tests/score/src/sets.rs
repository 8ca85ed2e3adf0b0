//! Labelled receipts, and how they are read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use worker::parser::calibration::Curves;
use worker::parser::model::Model;
use worker::parser::scorer::{Scorer, Split, Tree};

/// A receipt with what is to be read from it; nothing, where a label is none.
#[derive(Debug, Default, Deserialize)]
pub struct Receipt {
    pub name: String,
    pub vendor: Option<String>,
    pub total: Option<String>,
    /// Other forms of the two that are right as well, the label's own among them.
    #[serde(default)]
    pub vendor_accept: Vec<String>,
    #[serde(default)]
    pub total_accept: Vec<String>,
    /// Whether the photo ends above its total, which is not judged then.
    #[serde(default)]
    pub bottom_cut: bool,
    pub date: Option<String>,
    #[serde(default)]
    pub currency: Option<String>,
    /// Fields that may as well be left out.
    #[serde(default)]
    pub or_null: Vec<String>,
    /// The fields that are judged, if not all.
    #[serde(default)]
    pub judged: Option<Vec<String>>,
    /// How sure the reading may be at most.
    #[serde(default)]
    pub most: Option<f32>,
    /// Which weights have not seen its company.
    #[serde(default)]
    pub fold: usize,
    /// None where the response is a recording.
    #[serde(default)]
    pub lines: Option<Vec<Line>>,
}

/// Text, confidence, left, top, width, height, and the way the text runs.
#[derive(Debug, Deserialize)]
pub struct Line(pub String, pub f32, pub f32, pub f32, pub f32, pub f32, #[serde(default)] pub Option<u8>);

/// What was read from it.
#[derive(Debug, Default, PartialEq, Deserialize)]
pub struct Reading {
    #[serde(default)]
    pub file: PathBuf,
    pub vendor: Option<String>,
    pub total: Option<String>,
    pub date: Option<String>,
    #[serde(default)]
    pub currency: Option<String>,
    #[serde(default)]
    pub confidence: f32,
}

/// Readings by the receipt's name.
pub type Readings = BTreeMap<String, Reading>;

/// One set.
pub fn load(file: &Path) -> anyhow::Result<Vec<Receipt>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let receipts = text.lines().enumerate().map(|(number, line)| {
        serde_json::from_str(line).with_context(|| format!("{}, line {}", file.display(), number + 1))
    });
    receipts.collect()
}

/// The responses of a set, by the receipt's name. `recordings`: the folder of those that were recorded.
pub fn responses(receipts: &[Receipt], recordings: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let response = |receipt: &Receipt| -> anyhow::Result<String> {
        if let Some(lines) = &receipt.lines {
            return Ok(response(lines).to_string());
        }
        let file = recordings.join(&receipt.name).with_extension("json");
        std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
    };
    receipts.iter().map(|receipt| Ok((receipt.name.clone(), response(receipt)?))).collect()
}

/// Reads all of them with `host parse`: the component in its sandbox, as it ships.
pub fn read(host: &Path, responses: &BTreeMap<String, String>) -> anyhow::Result<(Readings, Duration)> {
    let folder = tempfile::tempdir().context("cannot make a folder")?;
    for (name, response) in responses {
        std::fs::write(folder.path().join(name).with_extension("json"), response)?;
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
        readings.insert(name, Reading { file: PathBuf::new(), ..reading });
    }
    Ok((readings, took))
}

/// Weights that have not seen a fold's companies, for each fold.
pub fn folds(file: &Path) -> anyhow::Result<Vec<Model>> {
    #[derive(Deserialize)]
    struct Branches {
        splits: Vec<Split>,
        leaves: Vec<f32>,
    }
    #[derive(Deserialize)]
    struct Field {
        weights: Vec<f32>,
        trees: Vec<Branches>,
        choice: [f32; 2],
        reading: [f32; 3],
    }
    #[derive(Deserialize)]
    struct Fold {
        vendor: Field,
        total: Field,
    }
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let folds: Vec<Fold> = serde_json::from_str(&text).with_context(|| format!("{} has no folds", file.display()))?;
    let tree = |Branches { splits, leaves }| Tree { splits: splits.into(), leaves: leaves.into() };
    let scorer = |field: Field| Scorer {
        weights: field.weights,
        trees: field.trees.into_iter().map(tree).collect(),
        calibration: Curves { choice: field.choice, reading: field.reading },
    };
    Ok(folds.into_iter().map(|fold| Model { vendor: scorer(fold.vendor), total: scorer(fold.total) }).collect())
}

/// Reads each with the same code natively and with weights that have not seen its company.
pub fn read_unseen(
    receipts: &[Receipt],
    responses: &BTreeMap<String, String>,
    folds: &[Model],
) -> anyhow::Result<Readings> {
    let reading = |receipt: &Receipt| -> anyhow::Result<(String, Reading)> {
        let model = folds.get(receipt.fold).with_context(|| format!("{} is of no fold", receipt.name))?;
        let response = responses.get(&receipt.name).map(String::as_str).unwrap_or_default();
        Ok((receipt.name.clone(), read_natively(response, model)?))
    };
    receipts.iter().map(reading).collect()
}

/// Reads a response natively.
pub fn read_natively(response: &str, model: &Model) -> anyhow::Result<Reading> {
    let receipt = worker::parser::read_with(&worker::textract::read(response)?, model);
    let total = receipt.total.map(|field| field.value);
    Ok(Reading {
        file: PathBuf::new(),
        vendor: receipt.vendor.map(|field| field.value),
        total: total.map(|money| money.to_string()),
        date: receipt.date.map(|field| field.value.to_string()),
        currency: total.and_then(|money| money.currency).map(str::to_owned),
        confidence: receipt.confidence,
    })
}

/// The sets of a folder: itself, if it has `labels.jsonl`, else each of its folders that has. The response of a receipt is NAME.json beside
/// the labels; what is labelled null is not judged.
pub fn folders(folder: &Path) -> anyhow::Result<Vec<(String, Vec<Receipt>, PathBuf)>> {
    let mut all: Vec<PathBuf> = vec![folder.to_owned()];
    if !folder.join(LABELS).is_file() {
        let inside = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
        all = inside.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
        all.retain(|folder| folder.join(LABELS).is_file());
        all.sort();
    }
    ensure!(!all.is_empty(), "{} has no {LABELS}, and neither has a folder in it", folder.display());
    let set = |folder: PathBuf| {
        let mut receipts = load(&folder.join(LABELS))?;
        receipts.iter_mut().for_each(Receipt::judge_what_is_labelled);
        let path = folder.canonicalize().unwrap_or_else(|_| folder.clone());
        let name = path.file_name().map_or_else(|| "set".to_owned(), |name| name.to_string_lossy().into_owned());
        Ok((name, receipts, folder))
    };
    all.into_iter().map(set).collect()
}

const LABELS: &str = "labels.jsonl";

impl Receipt {
    /// What is labelled with nothing was not looked for.
    fn judge_what_is_labelled(&mut self) {
        self.total = self.total.take().filter(|_| !self.bottom_cut);
        let labelled = [("vendor", self.vendor.is_some()), ("total", self.total.is_some())];
        self.judged = Some(labelled.into_iter().filter(|(_, is)| *is).map(|(field, _)| field.to_owned()).collect());
    }
}

/// As DetectDocumentText says it.
pub fn response(lines: &[Line]) -> Value {
    let line = |(index, line): (usize, &Line)| {
        let Line(text, confidence, left, top, width, height, run) = line;
        let (right, bottom) = (left + width, top + height);
        let mut corners = [(*left, *top), (right, *top), (right, bottom), (*left, bottom)];
        // The first corner is where the text begins.
        corners.rotate_left(usize::from(run.unwrap_or(0)));
        let polygon: Vec<Value> = corners.iter().map(|(x, y)| json!({"X": x, "Y": y})).collect();
        json!({
            "BlockType": "LINE",
            "Id": index.to_string(),
            "Text": text,
            "Confidence": confidence,
            "Geometry": {
                "BoundingBox": {"Left": left, "Top": top, "Width": width, "Height": height},
                "Polygon": polygon,
            },
        })
    };
    let blocks: Vec<Value> = lines.iter().enumerate().map(line).collect();
    json!({"DocumentMetadata": {"Pages": 1}, "Blocks": blocks})
}
