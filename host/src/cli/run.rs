//! `host run`: the worker.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use super::place::PlaceArgs;
use super::unread::unread_keys;
use super::worker::{Place, WorkerArgs};
use super::{output, signals};
use crate::failure::chain;
use crate::queue::QueueError;
use crate::schedule::Term;
use crate::worker::{Summary, Worker, unless_stopped};

/// Between two looks at a secret that cannot be had.
const PAUSE: Duration = Duration::from_secs(3);

/// Works the queue.
///
/// Wakes at once when a receipt is inserted (NOTIFY), looks every --every for what a notification missed, and goes on
/// without waiting while there is work. SIGTERM or Ctrl-C drains: what was begun ends, the rest goes back.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  host run                                    the built-in component, configured by the environment
  host run --component worker.wasm            another one
  host run --once                             one pass, then a JSON summary; for cron and for tests
  host run --concurrency 16 --textract-tps 5  sixteen receipts at a time, five OCR calls a second")]
pub(crate) struct Run {
    #[command(flatten)]
    place: PlaceArgs,
    /// One pass: work what is due now, print a JSON summary, exit.
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    worker: WorkerArgs,
}

impl Run {
    pub(super) async fn execute(self) -> anyhow::Result<ExitCode> {
        let started = Instant::now();
        let orders = signals::orders()?;
        if let Some(notice) = unread_keys() {
            tracing::warn!(name: "secret.key_unread", "{notice}");
        }
        let Some(place) = unless_stopped(&orders.stop, self.place()).await.transpose()? else {
            return Ok(ExitCode::SUCCESS);
        };
        let settings = self.worker.settings(place)?;
        let Some(worker) = Worker::prepare(settings, &orders).await? else { return Ok(ExitCode::SUCCESS) };
        let mut report = worker.run(orders).await?;
        if let Some(why) = report.runs.gave_up.take() {
            anyhow::bail!(why);
        }
        if self.once {
            output::json(&Summary::of(report, started.elapsed()))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Waits for a secret that cannot be had at this moment, as for everything that is not there at a start.
    async fn place(&self) -> anyhow::Result<Place> {
        let term = if self.once { Term::OnePass } else { Term::UntilStopped };
        loop {
            match self.place.resolve(term).await {
                Err(error) if !self.once && error.downcast_ref().is_some_and(QueueError::may_pass) => {
                    tracing::warn!(name: "secret.awaited", again_in = ?PAUSE, "cannot start yet: {}", chain(error.as_ref()));
                    tokio::time::sleep(PAUSE).await;
                }
                found => return found,
            }
        }
    }
}
