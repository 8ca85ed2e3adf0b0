//! `host status`: the status view as a table.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use super::output;
use super::quantity::duration;
use super::target::TargetArgs;
use crate::queue::components::{self, Running};
use crate::queue::reconcile::{self, Reconciled};
use crate::queue::status::{StatusRow, parked, say_parked, status};
use crate::queue::{Client, Database};
use crate::swap::short;

/// Shows how many receipts are pending, processed and dead, and their ages (the view vw_receipt_queue_status).
///
/// Age: since enqueued (pending), from enqueued to processed (processed), since failed (dlq).
///
/// Below it is how many receipts are pending and in no queue, as far as can be told in a quarter of a second (with --json: a line
/// with `stranded`); host reconcile counts and queues them all.
///
/// Then come the workers that claim nothing for now, because their component, or storage or OCR, fail for everything: the
/// ledger of components says so, so that it can be seen from every machine (with --json: a line with `paused`, the worker).
/// Receipts that a person has parked (available_at is infinity) are named, too (with --json: a line with `parked`, how many).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  host status
  host status --watch
  host status --json | jq 'select(.status == \"dlq\").count'")]
pub(crate) struct Status {
    /// Show it again and again, until Ctrl-C.
    #[arg(long)]
    watch: bool,
    /// How often.
    #[arg(long, env = "WORKER_WATCH_EVERY", default_value = "2s", value_parser = duration, value_name = "TIME", requires = "watch")]
    interval: Duration,
    /// One line of JSON a status.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

/// How long receipts are looked at, and how often when the status is watched.
const GLANCE: Duration = Duration::from_millis(250);
const GLANCE_AGAIN: Duration = Duration::from_secs(60);

impl Status {
    pub(super) async fn execute(self) -> anyhow::Result<ExitCode> {
        let database = self.target.resolve().await?.database;
        let mut client = database.connect_checked().await?;
        let mut looked: Option<Instant> = None;
        let mut stranded = None;
        loop {
            let rows = match status(&client).await {
                Err(error) if self.watch && error.may_pass() => {
                    tracing::warn!(name: "status.unreachable", "{error}; watching on when it is there again");
                    client = self.connect_again(&database).await?;
                    continue;
                }
                rows => rows?,
            };
            if looked.is_none_or(|looked| looked.elapsed() >= GLANCE_AGAIN) {
                looked = Some(Instant::now());
                // Who may read the view may not be allowed to reconcile.
                stranded = reconcile::glance(&client, GLANCE)
                    .await
                    .inspect_err(|error| {
                        tracing::debug!(
                            name: "status.stranded_unknown",
                            %error,
                            "cannot tell how many receipts are in no queue"
                        )
                    })
                    .ok()
                    .filter(|found| found.notice().is_some());
            }
            // Who may read the view may not be allowed to read the ledger.
            let running = components::running(&client).await.unwrap_or_else(|error| {
                tracing::debug!(name: "status.paused_unknown", %error, "cannot tell which workers are paused");
                Vec::new()
            });
            let parked = parked(&client).await.unwrap_or_else(|error| {
                tracing::debug!(name: "status.parked_unknown", %error, "cannot tell how many are parked");
                0
            });
            let paused: Vec<Running> = running.into_iter().filter(|worker| worker.paused.is_some()).collect();
            if self.watch && !self.json && std::io::stdout().is_terminal() {
                // Home and clear: one picture, not a scroll.
                output::bytes(b"\x1b[H\x1b[2J")?;
            }
            self.show(&rows, stranded.as_ref(), parked, &paused)?;
            if !self.watch {
                return Ok(ExitCode::SUCCESS);
            }
            tokio::time::sleep(self.interval).await;
        }
    }

    /// Who watches may be watching for this: it goes on when the database does.
    async fn connect_again(&self, database: &Database) -> anyhow::Result<Client> {
        loop {
            tokio::time::sleep(self.interval).await;
            match database.connect_checked().await {
                Err(error) if error.may_pass() => tracing::debug!(
                    name: "status.still_unreachable",
                    %error,
                    "not there yet"
                ),
                connected => return Ok(connected?),
            }
        }
    }

    fn show(
        &self,
        rows: &[StatusRow],
        stranded: Option<&Reconciled>,
        parked: i64,
        paused: &[Running],
    ) -> anyhow::Result<()> {
        if self.json {
            rows.iter().try_for_each(output::json)?;
            stranded.into_iter().try_for_each(output::json)?;
            if parked > 0 {
                output::json(&serde_json::json!({ "parked": parked }))?;
            }
            return paused.iter().try_for_each(|worker| output::json(&Paused::from(worker)));
        }
        let mut table = output::table(&["status", "count", "avg age", "max age"]);
        for row in rows {
            table.add_row([&row.status, &row.count.to_string(), &age(row.avg_age_seconds), &age(row.max_age_seconds)]);
        }
        output::show(&table, "there are no receipts")?;
        if let Some(notice) = stranded.and_then(Reconciled::notice) {
            output::line(notice)?;
        }
        if parked > 0 {
            output::line(say_parked(parked))?;
        }
        for Paused { paused, component, why } in paused.iter().map(Paused::from) {
            let (worker, component) = (output::plain(paused), output::plain(short(component)));
            output::line(format!(
                "worker {worker} claims nothing for now: {} (component {component})",
                output::plain(why)
            ))?;
        }
        Ok(())
    }
}

/// A worker that claims nothing for now.
#[derive(Debug, Serialize)]
struct Paused<'a> {
    paused: &'a str,
    component: &'a str,
    why: &'a str,
}

impl<'a> From<&'a Running> for Paused<'a> {
    fn from(worker: &'a Running) -> Self {
        let why = worker.paused.as_deref().unwrap_or_default();
        Self { paused: &worker.worker, component: &worker.digest, why }
    }
}

fn age(seconds: i64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {:02} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}
