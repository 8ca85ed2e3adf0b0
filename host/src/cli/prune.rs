//! `host prune`: forgets processed queue rows.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::output;
use super::quantity::duration;
use super::target::TargetArgs;
use crate::queue::prune::Pruner;

/// What is younger is still asked for: a host that lost the reply to a settle asks whether it was committed.
const SHORTEST: Duration = Duration::from_secs(3600);

/// Removes queue rows that were processed long ago, in small batches beside running hosts.
///
/// Receipts and OCR artifacts stay as they are, and so does everything that waits. A receipt that becomes pending again later
/// is queued as ever, and its stored OCR response is used; only that it was dead once is forgotten, and the status view counts
/// fewer. Run it from cron or pg_cron. Dead letters stay unless --dlq is given: then those that old are discarded for good.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  host prune --keep 30d --dry-run
  host prune --keep 30d
  host prune --keep 7d --dlq 180d --json | jq .processed")]
pub(crate) struct Prune {
    /// How long processed rows are kept; at least 1h.
    #[arg(long, env = "WORKER_PRUNE_KEEP", default_value = "30d", value_parser = age, value_name = "TIME")]
    keep: Duration,
    /// Discard dead letters that failed longer ago, too; at least 1h. Their receipts stay ocr_failed.
    #[arg(long, env = "WORKER_PRUNE_DLQ", value_parser = age, value_name = "TIME")]
    dlq: Option<Duration>,
    /// Rows removed in one transaction.
    #[arg(long, env = "WORKER_PRUNE_BATCH", default_value_t = 1000, value_parser = clap::value_parser!(i64).range(1..=100_000), value_name = "N")]
    batch: i64,
    /// How long to leave the database alone between two batches.
    #[arg(long, env = "WORKER_PRUNE_PAUSE", default_value = "50ms", value_parser = duration, value_name = "TIME")]
    pause: Duration,
    /// Say how many there are, and remove none.
    #[arg(long)]
    dry_run: bool,
    /// One line of JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Serialize)]
struct Pruned {
    processed: u64,
    dead_letters: u64,
    dry_run: bool,
}

impl Prune {
    pub(super) async fn execute(self) -> anyhow::Result<ExitCode> {
        let database = self.target.resolve().await?.database;
        let pruner = Pruner::connect(&database, self.batch, self.pause).await?;
        let keep = pruner.ago(self.keep).await?;
        let dlq = match self.dlq {
            Some(age) => Some(pruner.ago(age).await?),
            None => None,
        };
        let pruned = if self.dry_run {
            let dead_letters = match dlq {
                Some(before) => pruner.count_dead(before).await?,
                None => 0,
            };
            Pruned { processed: pruner.count_processed(keep).await?, dead_letters, dry_run: true }
        } else {
            let bar = output::spinner();
            let processed = pruner.processed(keep, |count| bar.set_position(count)).await?;
            let dead_letters = match dlq {
                Some(before) => {
                    bar.set_message("dead letters");
                    pruner.dead(before, |count| bar.set_position(count)).await?
                }
                None => 0,
            };
            bar.finish_and_clear();
            Pruned { processed, dead_letters, dry_run: false }
        };
        self.show(&pruned)?;
        Ok(ExitCode::SUCCESS)
    }

    fn show(&self, pruned: &Pruned) -> anyhow::Result<()> {
        if self.json {
            return output::json(pruned);
        }
        let Pruned { processed, dead_letters, .. } = pruned;
        let verb = if self.dry_run { "would be removed" } else { "removed" };
        output::line(format!("{processed} processed rows and {dead_letters} dead letters {verb}"))?;
        Ok(())
    }
}

fn age(text: &str) -> Result<Duration, String> {
    let age = duration(text)?;
    if age < SHORTEST { Err(format!("{text:?} is too short; keep at least 1h")) } else { Ok(age) }
}
