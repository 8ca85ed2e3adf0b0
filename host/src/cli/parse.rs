//! `host parse`: the component's parser over recorded responses, in the sandbox.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::args::{SandboxArgs, at_least_one};
use super::output;
use super::reading::{default_jobs, read_all, recordings};
use crate::reading::Reading;
use crate::sandbox::decimal;
use crate::sandbox::types::{MoneyField, Place, Receipt, Why};

/// Reads recorded Textract responses with the component's parser, in the sandbox.
///
/// Prints one JSON line a file: file, vendor, total (a decimal string), currency, date, confidence, subtotal, tax; null
/// where nothing was found. A file that is no response gets a line with an error, and exit code 1. In folders, *.json is read,
/// and what Textract's OutputConfig writes (1, 2, …); finding nothing is an error. No database and no AWS are touched.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  host parse response.json
  host parse tests/recordings | jq -c '[.vendor, .total]'
  host parse --why response.json | jq .why.total
  host parse --component new.wasm artifacts/")]
pub(crate) struct Parse {
    /// Textract responses, or folders of them.
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    /// Files read at the same time; as many as there are cores, if not given.
    #[arg(long, short, env = "WORKER_JOBS", value_parser = at_least_one, value_name = "N")]
    jobs: Option<usize>,
    /// Says of each field why it was taken and where it stands.
    #[arg(long, env = "WORKER_WHY", value_parser = clap::builder::FalseyValueParser::new())]
    why: bool,
    #[command(flatten)]
    sandbox: SandboxArgs,
}

#[derive(Default, Serialize)]
struct Line<'a> {
    file: &'a str,
    #[serde(flatten)]
    reading: Reading,
    subtotal: Option<String>,
    tax: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<BTreeMap<&'static str, Reason>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Why a field was taken.
#[derive(Serialize)]
struct Reason {
    /// Which of the response's lines of text, from 0.
    line: Option<u32>,
    rule: Option<String>,
    score: Option<f32>,
    confidence: f32,
    place: Option<Place>,
}

impl<'a> Line<'a> {
    fn new(file: &'a str, receipt: Receipt, with_why: bool) -> Self {
        let of = |field: &Option<MoneyField>| field.as_ref().map(|field| decimal(&field.value));
        let (subtotal, tax) = (of(&receipt.subtotal), of(&receipt.tax));
        let why = with_why.then(|| reasons(&receipt));
        Self { file, subtotal, tax, why, reading: receipt.into(), error: None }
    }
}

fn reasons(receipt: &Receipt) -> BTreeMap<&'static str, Reason> {
    let reason = |why: &Option<Why>, confidence: f32, place: Option<Place>| Reason {
        line: why.as_ref().and_then(|why| why.line),
        rule: why.as_ref().map(|why| why.rule.clone()),
        score: why.as_ref().map(|why| why.score),
        confidence,
        place,
    };
    let money =
        |field: &Option<MoneyField>| field.as_ref().map(|field| reason(&field.why, field.confidence, field.place));
    let vendor = receipt.vendor.as_ref().map(|field| reason(&field.why, field.confidence, field.place));
    let date = receipt.date.as_ref().map(|field| reason(&field.why, field.confidence, field.place));
    let fields = [
        ("vendor", vendor),
        ("total", money(&receipt.total)),
        ("date", date),
        ("subtotal", money(&receipt.subtotal)),
        ("tax", money(&receipt.tax)),
    ];
    fields.into_iter().filter_map(|(name, reason)| Some((name, reason?))).collect()
}

impl Parse {
    pub(super) async fn execute(self) -> anyhow::Result<ExitCode> {
        let paths = recordings(&self.paths)?;
        anyhow::ensure!(
            !paths.is_empty(),
            "there is no recorded response (*.json, or 1, 2, … as Textract's OutputConfig names them) in what was named"
        );
        let jobs = self.jobs.unwrap_or_else(default_jobs);
        let (sandbox, program) = self.sandbox.load(jobs)?;
        let mut failed = 0_usize;
        for (path, reading) in paths.iter().zip(read_all(&sandbox, &program, &paths, jobs)) {
            let file = path.to_string_lossy();
            let line = match reading.await? {
                Ok(receipt) => Line::new(&file, receipt, self.why),
                Err(error) => {
                    tracing::error!(name: "parse.failed", file = %file, "{error}");
                    failed += 1;
                    Line { file: &file, error: Some(error), ..Line::default() }
                }
            };
            output::json(&line)?;
        }
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
