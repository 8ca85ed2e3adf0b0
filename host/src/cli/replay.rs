//! `host replay`: recorded responses against what is expected of them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::args::{SandboxArgs, at_least_one};
use super::output::plain;
use super::reading::{Reading, default_jobs, read_all, recordings};
use super::{output, run};

/// Reads recorded Textract responses with the component's parser and compares with what is expected.
///
/// The expectation of NAME.json is NAME.expected.json beside it. Prints every difference, field by field; exit code 1 on
/// any, and on a response without an expectation.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  host replay tests/recordings
  host replay tests/recordings --component new.wasm
  host replay tests/recordings --bless        what it reads now is what is expected from now on")]
pub(crate) struct Replay {
    /// Responses with their expectations, or folders of them.
    #[arg(required = true, value_name = "DIR|FILE")]
    paths: Vec<PathBuf>,
    /// Write what is read now as the expectation.
    #[arg(long)]
    bless: bool,
    /// Files read at the same time; as many as there are cores, if not given.
    #[arg(long, short, env = "WORKER_JOBS", value_parser = at_least_one, value_name = "N")]
    jobs: Option<usize>,
    #[command(flatten)]
    sandbox: SandboxArgs,
}

impl Replay {
    pub(super) async fn execute(self) -> anyhow::Result<ExitCode> {
        let paths = recordings(&self.paths)?;
        anyhow::ensure!(!paths.is_empty(), "there is no recorded response (*.json) in what was named");
        let jobs = self.jobs.unwrap_or_else(default_jobs);
        let (sandbox, program) = run::load(&self.sandbox, jobs)?;
        let (mut same, mut other) = (0_usize, 0_usize);
        for (path, reading) in paths.iter().zip(read_all(&sandbox, &program, &paths, jobs)) {
            let reading = reading.await?;
            let agrees = if self.bless { bless(path, reading)? } else { compare(path, reading)? };
            if agrees { same += 1 } else { other += 1 }
        }
        let verb = if self.bless { "unchanged" } else { "as expected" };
        output::line(format!("{same} {verb}, {other} not ({})", program.digest()))?;
        Ok(if other == 0 || self.bless { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn compare(path: &Path, reading: Result<Reading, String>) -> anyhow::Result<bool> {
    let name = path.display();
    let Some(expected) = expectation(path)? else {
        output::line(format!("{name}: no expectation (--bless writes one)"))?;
        return Ok(false);
    };
    let found = match reading {
        Ok(found) => found,
        Err(error) => {
            output::line(format!("{name}: {}", plain(&error)))?;
            return Ok(false);
        }
    };
    let differences = expected.differences(&found);
    for (field, expected, found) in &differences {
        output::line(format!("{name}: {field}: expected {expected}, found {found}"))?;
    }
    Ok(differences.is_empty())
}

fn bless(path: &Path, reading: Result<Reading, String>) -> anyhow::Result<bool> {
    let reading = reading.map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
    if expectation(path).ok().flatten().as_ref() == Some(&reading) {
        return Ok(true);
    }
    let file = expectation_file(path);
    let text = format!("{}\n", serde_json::to_string(&reading)?);
    std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    output::line(format!("{}: written", file.display()))?;
    Ok(false)
}

fn expectation(path: &Path) -> anyhow::Result<Option<Reading>> {
    let file = expectation_file(path);
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    };
    serde_json::from_str(&text).map(Some).with_context(|| format!("{} is no expectation", file.display()))
}

fn expectation_file(path: &Path) -> PathBuf {
    path.with_extension("expected.json")
}
