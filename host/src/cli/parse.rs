//! `host parse`: the component's parser over recorded responses, in the sandbox.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::args::{SandboxArgs, at_least_one};
use super::reading::{default_jobs, read_all, recordings};
use super::{output, run};
use crate::reading::Reading;

/// Reads recorded Textract responses with the component's parser, in the sandbox.
///
/// Prints one JSON line a file: file, vendor, total (a decimal string), currency, date, confidence; null where nothing
/// was found. A file that is no response gets a line with an error, and exit code 1. No database and no AWS are touched.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  host parse response.json
  host parse tests/recordings | jq -c '[.vendor, .total]'
  host parse --component new.wasm artifacts/")]
pub(crate) struct Parse {
    /// Textract responses, or folders of them.
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    /// Files read at the same time; as many as there are cores, if not given.
    #[arg(long, short, env = "WORKER_JOBS", value_parser = at_least_one, value_name = "N")]
    jobs: Option<usize>,
    #[command(flatten)]
    sandbox: SandboxArgs,
}

#[derive(Serialize)]
struct Line<'a> {
    file: &'a str,
    #[serde(flatten)]
    reading: Reading,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Parse {
    pub(super) async fn execute(self) -> anyhow::Result<ExitCode> {
        let paths = recordings(&self.paths)?;
        let jobs = self.jobs.unwrap_or_else(default_jobs);
        let (sandbox, program) = run::load(&self.sandbox, jobs)?;
        let mut failed = 0_usize;
        for (path, reading) in paths.iter().zip(read_all(&sandbox, &program, &paths, jobs)) {
            let file = path.to_string_lossy();
            let (reading, error) = match reading.await? {
                Ok(reading) => (reading, None),
                Err(error) => {
                    tracing::error!(file = %file, "{error}");
                    failed += 1;
                    let nothing = Reading { vendor: None, total: None, currency: None, date: None, confidence: 0.0 };
                    (nothing, Some(error))
                }
            };
            output::json(&Line { file: &file, reading, error })?;
        }
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
