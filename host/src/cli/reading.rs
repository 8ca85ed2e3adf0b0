//! What a component read from a recorded response, as `parse` prints it and `replay` compares it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::sandbox::{ParseError, Program, Sandbox, decimal, iso_date, types};

/// One reading, without what it was read from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Reading {
    /// Who was paid.
    pub(super) vendor: Option<String>,
    /// A decimal number, as text.
    pub(super) total: Option<String>,
    /// ISO 4217.
    pub(super) currency: Option<String>,
    /// ISO 8601.
    pub(super) date: Option<String>,
    /// 0 to 100, to two decimals.
    pub(super) confidence: f64,
}

impl From<types::Receipt> for Reading {
    fn from(receipt: types::Receipt) -> Self {
        let total = receipt.total.map(|field| field.value);
        Self {
            vendor: receipt.vendor.map(|field| field.value),
            currency: total.as_ref().and_then(|money| money.currency.clone()),
            total: total.as_ref().map(decimal),
            date: receipt.date.map(|field| iso_date(&field.value)),
            confidence: (f64::from(receipt.confidence) * 100.0).round() / 100.0,
        }
    }
}

impl Reading {
    /// Fields in which two readings differ: name, expected, found.
    pub(super) fn differences(&self, found: &Self) -> Vec<(&'static str, Value, Value)> {
        let fields = [
            ("vendor", Value::from(self.vendor.clone()), Value::from(found.vendor.clone())),
            ("total", Value::from(self.total.clone()), Value::from(found.total.clone())),
            ("currency", Value::from(self.currency.clone()), Value::from(found.currency.clone())),
            ("date", Value::from(self.date.clone()), Value::from(found.date.clone())),
            ("confidence", Value::from(self.confidence), Value::from(found.confidence)),
        ];
        fields.into_iter().filter(|(_, expected, found)| expected != found).collect()
    }
}

/// The recorded responses that these paths name: files as they are, folders searched for `*.json`, in a stable order.
/// Expectations, and `labels` of a data set, are none.
pub(super) fn recordings(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in paths {
        let kind = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
        if kind.is_dir() { search(path, &mut found)? } else { found.push(path.clone()) }
    }
    Ok(found)
}

fn search(folder: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let problem = || format!("cannot read the folder {}", folder.display());
    let mut entries = std::fs::read_dir(folder)
        .with_context(problem)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .with_context(problem)?;
    entries.sort();
    for path in entries {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() {
            search(&path, found)?;
        } else if name.ends_with(".json") && !name.ends_with(".expected.json") {
            found.push(path);
        }
    }
    Ok(())
}

/// Starts reading all of them in the sandbox, some at a time; the handles come in the order of the paths.
pub(super) fn read_all(
    sandbox: &Arc<Sandbox>,
    program: &Arc<Program>,
    paths: &[PathBuf],
    jobs: usize,
) -> Vec<JoinHandle<Result<Reading, String>>> {
    let turn = Arc::new(Semaphore::new(jobs));
    paths
        .iter()
        .map(|path| {
            let (sandbox, program, turn, path) =
                (Arc::clone(sandbox), Arc::clone(program), Arc::clone(&turn), path.clone());
            tokio::spawn(async move {
                let _turn = turn.acquire().await;
                read(&sandbox, &program, &path).await
            })
        })
        .collect()
}

async fn read(sandbox: &Sandbox, program: &Program, path: &Path) -> Result<Reading, String> {
    let bytes = tokio::fs::read(path).await.map_err(|error| format!("cannot read it: {error}"))?;
    let json = String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
    match sandbox.parse(program, &json).await {
        Ok(Ok(receipt)) => Ok(receipt.into()),
        Ok(Err(ParseError::NotJson(problem))) => Err(format!("it is no JSON: {problem}")),
        Ok(Err(ParseError::NotTextract(problem))) => Err(format!("it is no Textract response: {problem}")),
        Err(error) => Err(error.to_string()),
    }
}

/// As many as there are cores.
pub(super) fn default_jobs() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
