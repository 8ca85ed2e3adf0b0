//! `host migrate`: brings the database's schema up to this host's.

use std::process::ExitCode;

use clap::Args;
use clap::builder::FalseyValueParser;

use super::args::{DatabaseArgs, DirectArgs};
use super::output;
use crate::aws::AwsOverrides;
use crate::queue::migrate::{mend, migrate};
use crate::queue::place::{NewTable, check_place, status_default};
use crate::queue::realtime::publish;
use crate::queue::rehearsal::{Rehearsed, of_any};

/// Creates or completes the tables, trigger and views of the queue.
///
/// Safe to run again, on an empty database, and on one that already has the app's own receipts table: what is missing is
/// added, pending receipts are queued. What the app has changed since (the type of receipts.id, a column that it dropped) is
/// mended. The same files can be applied by `supabase db push`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  DATABASE_URL=postgres://… host migrate
  host migrate --schema app                     the receipts table is app.receipts")]
pub(crate) struct Migrate {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    direct: DirectArgs,
    /// Make a new, empty receipts table, though there is one by another spelling or in another schema.
    #[arg(long, env = "WORKER_NEW_TABLE", value_parser = FalseyValueParser::new())]
    new_table: bool,
    /// Publish the receipts table by Supabase's Realtime (publication supabase_realtime), so that an app hears of each result.
    #[arg(long, env = "WORKER_REALTIME", value_parser = FalseyValueParser::new())]
    realtime: bool,
    /// One line of JSON: what was applied, and what was mended.
    #[arg(long)]
    json: bool,
}

impl Migrate {
    pub(super) async fn execute(self) -> anyhow::Result<ExitCode> {
        let aws = AwsOverrides::default();
        let database = self.direct.or(&self.database, &self.database.parse(&aws).await?, &aws).await?;
        let mut client = database.connect_telling(|notice| tracing::warn!(name: "migrate.notice", "{notice}")).await?;
        let new_table = if self.new_table { NewTable::Anyway } else { NewTable::of(database.names_schema()) };
        check_place(&client, new_table).await?;
        let applied = migrate(&mut client).await?;
        for name in &applied {
            tracing::info!(name: "migrate.applied", migration = name, "applied");
        }
        let mended = mend(&mut client).await?;
        for what in &mended {
            tracing::info!(name: "migrate.mended", what, "mended");
        }
        if !mended.is_empty() {
            tracing::info!(
                name: "migrate.reconcile_next",
                "`host reconcile` queues what was not queued meanwhile, and host run does within the hour"
            );
        }
        if applied.is_empty() && mended.is_empty() {
            tracing::info!(
                name: "migrate.up_to_date",
                database = database.at(),
                "nothing to do: the schema is up to date"
            );
        }
        if self.realtime && publish(&client).await? {
            tracing::info!(name: "migrate.published", "receipts are published by supabase_realtime now");
        }
        if let Some(default) = status_default(&client).await? {
            tracing::warn!(
                name: "migrate.default_not_queued",
                default,
                "a receipt that is inserted without a status is not queued; let the app write 'pending', or: ALTER TABLE \
                 receipts ALTER COLUMN status SET DEFAULT 'pending'"
            );
        }
        if self.json {
            output::json(&serde_json::json!({ "applied": applied, "mended": mended }))?;
        }
        // Nobody waits for the first receipt to hear of it, and to pay for it.
        match of_any(&mut client).await? {
            Rehearsed::Passed => {}
            Rehearsed::Unclear(why) => tracing::debug!(
                name: "migrate.rehearsal_unclear",
                "a result was not tried: {why}"
            ),
            Rehearsed::NeverDead(error) => anyhow::bail!(
                "the schema is up to date, but no receipt that fails could be given up: {error}; mend it before `host run`"
            ),
            Rehearsed::Refused(error) => anyhow::bail!(
                "the schema is up to date, but no receipt could be settled: {error}; mend it before `host run`"
            ),
        }
        Ok(ExitCode::SUCCESS)
    }
}
