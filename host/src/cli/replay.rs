//! `host replay`: recorded runs and recorded responses, against what was recorded and what is expected.

mod responses;
mod step;
mod traces;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::args::{SandboxArgs, at_least_one};
use super::reading::{default_jobs, recordings};
use crate::trace::{SUFFIX, traces_in};

/// Replays recorded runs (*.trace.jsonl, from `host run --record`) and reads recorded responses (*.json), with no database,
/// no S3 and no AWS.
///
/// A run on the component that was recorded must be the same, byte for byte: the first event that differs is shown, with
/// what was expected and what came. On another component (--component) the decisions that differ are shown, field by
/// field. A response is read and compared with NAME.expected.json beside it. Exit code 1 on any difference, and on a trace
/// that is cut off or edited.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  host replay traces/                         every run again, on the built-in component
  host replay traces/ --component new.wasm    what a new component would have decided
  host replay one.trace.jsonl --step          event by event; Enter for the next one
  host replay tests/recordings                recorded responses against their expectations
  host replay tests/recordings --bless        what it reads now is what is expected from now on")]
pub(crate) struct Replay {
    /// Traces, responses with their expectations, or folders of them.
    #[arg(required = true, value_name = "TRACE|DIR|FILE")]
    paths: Vec<PathBuf>,
    /// Show the events of a run one by one, as they are replayed; on a terminal, Enter goes on.
    #[arg(long, conflicts_with = "bless")]
    step: bool,
    /// Write what is read from responses now as the expectation.
    #[arg(long)]
    bless: bool,
    /// One JSON object a run in place of text (for traces).
    #[arg(long, conflicts_with = "step")]
    json: bool,
    /// Responses read at the same time; as many as there are cores, if not given.
    #[arg(long, short, env = "WORKER_JOBS", value_parser = at_least_one, value_name = "N")]
    jobs: Option<usize>,
    #[command(flatten)]
    sandbox: SandboxArgs,
}

impl Replay {
    pub(super) async fn execute(self) -> anyhow::Result<ExitCode> {
        let (traces, responses) = self.sort()?;
        anyhow::ensure!(
            !traces.is_empty() || !responses.is_empty(),
            "there is no recorded run (*{SUFFIX}) and no recorded response (*.json) in what was named"
        );
        let mut good = true;
        if !traces.is_empty() {
            good &= traces::replay(&traces, &self.sandbox, self.step, self.json).await?;
        }
        if !responses.is_empty() {
            let jobs = self.jobs.unwrap_or_else(default_jobs);
            good &= responses::replay(&responses, &self.sandbox, self.bless, jobs).await?;
        }
        Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Traces, and responses. What lies in a folder of traces as the responses of its runs is no recording of its own.
    fn sort(&self) -> anyhow::Result<(Vec<PathBuf>, Vec<PathBuf>)> {
        let is_trace = |path: &PathBuf| path.to_string_lossy().ends_with(SUFFIX);
        let named: Vec<PathBuf> = self.paths.iter().filter(|path| path.is_dir() || is_trace(path)).cloned().collect();
        let traces = traces_in(&named)?;
        let others: Vec<PathBuf> = self.paths.iter().filter(|path| !is_trace(path)).cloned().collect();
        let of_runs: Vec<PathBuf> =
            traces.iter().filter_map(|trace| Some(trace.parent()?.join(crate::trace::RESPONSES))).collect();
        let mut responses = recordings(&others)?;
        responses.retain(|path| path.parent().is_none_or(|parent| !of_runs.iter().any(|folder| folder == parent)));
        Ok((traces, responses))
    }
}
