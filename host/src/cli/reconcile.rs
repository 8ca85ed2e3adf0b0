//! `host reconcile`: queues what is pending and in no queue.

use std::process::ExitCode;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::output;
use super::target::TargetArgs;
use crate::queue::reconcile::{Reconciled, walk};

/// Queues receipts that are pending and that nothing would ever work, because no trigger saw them.
///
/// Rows that arrive by logical replication, from a backup, or while a trigger is off are in no queue, and setting them to
/// pending again does nothing since they are pending already. This walks all receipts by primary key in small slices, beside
/// running hosts, and queues those without queue row and dead letter, those whose queue row is processed, those that wait for
/// another image than they have now, and those that died once and were set to pending since. host run does the same once an
/// hour (WORKER_NO_RECONCILE switches it off). Exit code 1 when one could not be queued.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  host reconcile --dry-run
  host reconcile
  host reconcile --json | jq .queued")]
pub(crate) struct Reconcile {
    /// Say how many there are, and queue none.
    #[arg(long)]
    dry_run: bool,
    /// One line of JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

impl Reconcile {
    pub(super) async fn execute(self) -> anyhow::Result<ExitCode> {
        let client = self.target.resolve().await?.database.connect_checked().await?;
        let bar = ProgressBar::new_spinner().with_style(ProgressStyle::with_template("{spinner} {pos} receipts")?);
        let found = walk(&client, !self.dry_run, |found| bar.set_position(found.looked)).await?;
        bar.finish_and_clear();
        self.show(&found)?;
        Ok(if found.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn show(&self, found: &Reconciled) -> anyhow::Result<()> {
        if self.json {
            return output::json(found);
        }
        let Reconciled { looked, stranded, queued, failed, dead, problem, .. } = found;
        match self.dry_run {
            true => output::line(format!("{stranded} of {looked} receipts are pending and in no queue"))?,
            false => {
                output::line(format!("{queued} of {looked} receipts were pending and in no queue, and are queued now"))?
            }
        }
        if *dead > 0 {
            output::line(format!("{dead} are pending and dead letters: host dlq retry, or host dlq discard"))?;
        }
        if *failed > 0 {
            let why = output::plain(problem.as_deref().unwrap_or_default());
            output::line(format!("{failed} could not be queued; the first: {why}"))?;
        }
        Ok(())
    }
}
