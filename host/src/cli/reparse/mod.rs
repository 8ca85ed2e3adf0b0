//! `host reparse`: a new parser over the OCR responses that are stored already.

mod differences;
mod pass;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::Args;

use self::pass::{Mode, Pass, Reader};
use super::args::{SandboxArgs, at_least_one};
use super::components::digest;
use super::output;
use super::quantity::duration;
use super::reading::default_jobs;
use super::target::TargetArgs;
use crate::aws;
use crate::queue::reparse::{ReparseSelection, Reparser};
use crate::storage::Artifacts;

/// Reads receipts again that another component has read, from the OCR responses that are stored: Textract is not called.
///
/// A receipt is read again when it is ocr_done and carries the reading of another component; one that a person edited carries
/// none, and stays. Each is shown with its fields, old → new. Then it asks; with --yes it writes as it goes.
///
/// Every receipt that is read costs the table one UPDATE, also where nothing but the digest changes: what carries the new
/// digest is done, so that after a crash or Ctrl-C the same command goes on where it stopped. A receipt that changes
/// in between is left alone. Exit code 1 when a receipt could not be read or written; it stays as it is.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  host reparse --dry-run
  host reparse --component new.wasm --since 7d
  host reparse --receipt 6f1c… --receipt 07aa… --yes
  host reparse --read-by 3f9ac01b22d4 --yes --json > changes.jsonl")]
pub(crate) struct Reparse {
    /// Receipts created since: a day (UTC, 2026-11-01) or so long ago (7d, 12h).
    #[arg(long, env = "WORKER_REPARSE_SINCE", value_parser = since, value_name = "DAY|TIME")]
    since: Option<Since>,
    /// This receipt; may be given again.
    #[arg(long, value_name = "ID")]
    receipt: Vec<String>,
    /// Receipts that the component with this SHA-256 has read; its beginning will do.
    #[arg(long, env = "WORKER_REPARSE_READ_BY", value_parser = digest, value_name = "DIGEST")]
    read_by: Option<String>,
    /// Show what would change, and change nothing.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// One line of JSON a receipt: one that changes, or could not be read.
    #[arg(long)]
    json: bool,
    /// Receipts read at the same time; as many as there are cores, if not given.
    #[arg(long, short, env = "WORKER_JOBS", value_parser = at_least_one, value_name = "N")]
    jobs: Option<usize>,
    /// Receipts written in one statement.
    #[arg(long, env = "WORKER_REPARSE_BATCH", default_value_t = 100, value_parser = at_least_one, value_name = "N")]
    batch: usize,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    sandbox: SandboxArgs,
}

/// A day, or so long ago.
#[derive(Debug, Clone, PartialEq)]
enum Since {
    Day(String),
    Ago(Duration),
}

impl Reparse {
    pub(super) async fn execute(self) -> anyhow::Result<ExitCode> {
        let target = self.target.resolve().await?;
        let bucket = target.artifact_bucket()?;
        let jobs = self.jobs.unwrap_or_else(default_jobs);
        let (sandbox, program) = self.sandbox.load(jobs)?;
        let reparser = Reparser::connect(&target.database, program.digest()).await?;
        let aws = aws::load(&target.aws).await?;
        tracing::info!(
            name: "reparse.started",
            component = program.digest(),
            artifacts = bucket,
            "reading stored OCR responses"
        );
        let pass = Pass {
            which: self.which(&reparser).await?,
            reader: Arc::new(Reader { sandbox, program, artifacts: Artifacts::new(aws.s3, bucket) }),
            reparser,
            batch: self.batch,
            jobs,
            json: self.json,
        };
        let left_out = pass.reparser.left_out(&self.receipt).await?;
        for (receipt, why) in &left_out {
            tracing::warn!(name: "reparse.left_out", receipt, "not read again: {why}");
        }
        if self.yes {
            return pass.run(Mode::Write { show: true }).await.map(|tally| tally.report("written"));
        }
        let tally = pass.run(Mode::Look).await?;
        let code = tally.report("nothing was written yet");
        if self.dry_run || tally.to_write() == 0 {
            return Ok(code);
        }
        anyhow::ensure!(
            output::confirmed(&format!("Write the new reading of {} receipts?", tally.to_write()))?,
            "nothing was written (--yes does not ask)"
        );
        // Read once more: what is held in memory does not grow with the table.
        pass.run(Mode::Write { show: false }).await.map(|tally| tally.report("written"))
    }

    async fn which(&self, reparser: &Reparser) -> anyhow::Result<ReparseSelection> {
        let since = match &self.since {
            Some(Since::Day(day)) => Some(reparser.midnight(day).await?),
            Some(Since::Ago(ago)) => Some(SystemTime::now().checked_sub(*ago).unwrap_or(SystemTime::UNIX_EPOCH)),
            None => None,
        };
        let receipts = Some(self.receipt.clone()).filter(|receipts| !receipts.is_empty());
        Ok(ReparseSelection { since, receipts, read_by: self.read_by.clone() })
    }
}

fn since(text: &str) -> Result<Since, String> {
    let text = text.trim();
    let is_day = text.len() == 10
        && text
            .bytes()
            .enumerate()
            .all(|(at, byte)| if matches!(at, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() });
    if is_day {
        return Ok(Since::Day(text.to_owned()));
    }
    let ago = match text.strip_suffix('d') {
        Some(days) => duration(&format!("{days}h")).map(|hours| hours.saturating_mul(24)),
        None => duration(text),
    };
    ago.map(Since::Ago).map_err(|_| format!("{text:?} is no day and no time; write 2026-11-01, 7d or 12h"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_day_or_a_time() {
        assert_eq!(since("2026-11-01"), Ok(Since::Day("2026-11-01".to_owned())));
        assert_eq!(since("7d"), Ok(Since::Ago(Duration::from_secs(7 * 86_400))));
        assert_eq!(since("12h"), Ok(Since::Ago(Duration::from_secs(12 * 3600))));
        for text in ["", "d", "yesterday", "2026-11-1", "2026/11/01", "-7d"] {
            assert!(since(text).is_err(), "{text}");
        }
    }
}
