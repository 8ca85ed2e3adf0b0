//! A Postgres of our own, and a migrated database for each measurement.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context;
use host::dev::postgres::{LocalPostgres, Settings};
use host::queue::Database;
use host::queue::migrate::migrate;
use tempfile::TempDir;
use tokio_postgres::Client;

/// The Postgres. It goes with this.
pub struct Cluster {
    postgres: LocalPostgres,
    _folder: TempDir,
}

impl Cluster {
    /// Durable, as in earnest. A second of this stands for a minute of a worker: a million jobs go through in minutes,
    /// so autovacuum looks once a second and not once a minute. Tables are filled without a log of it.
    pub async fn start(parent: Option<&Path>) -> anyhow::Result<Self> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
        let folder = tempfile::Builder::new()
            .prefix("receipt-growth-")
            .tempdir_in(&parent)
            .with_context(|| format!("no folder in {}", parent.display()))?;
        // Where root measures, another user runs Postgres.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711))?;
        let options = ["autovacuum_naptime=1s", "wal_level=minimal", "max_wal_senders=0", "jit=off"];
        let settings =
            Settings { options: options.map(str::to_owned).to_vec(), ..Settings::new(folder.path().join("postgres")) };
        Ok(Self { postgres: LocalPostgres::start(settings).await?, _folder: folder })
    }

    /// A migrated database, in place of the one before: only one at a time has to have room.
    pub async fn database(&self) -> anyhow::Result<Database> {
        let server = Database::parse(&self.postgres.url("postgres"))?.connect().await?.into_driver();
        server.batch_execute("DROP DATABASE IF EXISTS growth WITH (FORCE)").await?;
        server.batch_execute("CREATE DATABASE growth").await?;
        let database = Database::parse(&self.postgres.url("growth"))?;
        migrate(&mut database.connect().await?).await?;
        Ok(database)
    }

    pub async fn stop(self) {
        self.postgres.stop().await;
    }
}

/// A session that has been in a transaction since now: what was alive now, vacuum must keep.
pub async fn pin(database: &Database) -> anyhow::Result<Client> {
    let client = database.connect().await?.into_driver();
    client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM receipt_queue").await?;
    Ok(client)
}
