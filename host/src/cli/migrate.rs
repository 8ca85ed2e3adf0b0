//! `host migrate`: brings the database's schema up to this host's.

use std::process::ExitCode;

use clap::Args;

use super::args::{DatabaseArgs, DirectArgs};
use crate::queue::migrate::migrate;

/// Creates or completes the tables, trigger and views of the queue.
///
/// Safe to run again, on an empty database, and on one that already has the app's own receipts table: what is missing is
/// added, pending receipts are queued. The same files can be applied by `supabase db push`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  DATABASE_URL=postgres://… host migrate")]
pub(crate) struct Migrate {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    direct: DirectArgs,
}

impl Migrate {
    pub(super) async fn execute(self) -> anyhow::Result<ExitCode> {
        let database = self.direct.or(&self.database, &self.database.parse()?)?;
        let mut client = database.connect().await?;
        let applied = migrate(&mut client).await?;
        for name in &applied {
            tracing::info!(migration = name, "applied");
        }
        if applied.is_empty() {
            tracing::info!(database = database.at(), "nothing to do: the schema is up to date");
        }
        Ok(ExitCode::SUCCESS)
    }
}
