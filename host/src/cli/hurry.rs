//! `host hurry`: what was put off is due now.

use std::process::ExitCode;

use clap::Args;

use super::output::{self, plain};
use super::target::TargetArgs;
use crate::queue::dead_letters::DeadLetterSelection;
use crate::queue::hurry::hurry;

/// Makes due at once what was put off: when what it waits for has been mended, nobody waits for the delay.
///
/// Attempts stay as they are; what is being worked is left alone, and so is, with --all, what is parked (available_at =
/// infinity). Exit code 1 when a receipt that was named was not put off.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  host hurry --all
  host hurry 6f1c… 07aa…
  host hurry --all --json | jq -r .error_code | sort | uniq -c")]
pub(crate) struct Hurry {
    #[command(flatten)]
    which: WhichArgs,
    /// One line of JSON each.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct WhichArgs {
    /// Receipts' ids.
    #[arg(value_name = "RECEIPT")]
    receipts: Vec<String>,
    /// All of them.
    #[arg(long)]
    all: bool,
}

impl Hurry {
    pub(super) async fn execute(self) -> anyhow::Result<ExitCode> {
        let WhichArgs { receipts, all } = self.which;
        let which = if all { DeadLetterSelection::All } else { DeadLetterSelection::Receipts(receipts.clone()) };
        let mut client = self.target.resolve().await?.database.connect_checked().await?;
        let hurried = hurry(&mut client, &which).await?;
        for job in &hurried {
            match self.json {
                true => output::json(job)?,
                false => output::line(plain(&job.receipt_id))?,
            }
        }
        tracing::info!(name: "hurry.finished", count = hurried.len(), "due now");
        let is_missing = |id: &&String| !hurried.iter().any(|job| job.receipt_id == **id);
        let missing: Vec<&str> = receipts.iter().filter(is_missing).map(String::as_str).collect();
        anyhow::ensure!(missing.is_empty(), "not put off: {}", missing.join(", "));
        Ok(ExitCode::SUCCESS)
    }
}
