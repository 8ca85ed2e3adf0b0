//! Forgetting: processed queue rows, and dead letters that nobody wants any more, in small batches beside running hosts.

use std::time::{Duration, SystemTime};

use tokio_postgres::types::{FromSql, ToSql, Type};

use super::due::Due;
use super::{Client, Connection as _, Database, Parameter, QueueError};

const PRUNE: &str = include_str!("sql/prune.sql");
const PRUNE_DEAD: &str = include_str!("sql/prune_dead.sql");

/// What is old, by the database's clock, and how it is removed.
pub struct Pruner {
    client: Client,
    batch: i64,
    pause: Duration,
}

impl Pruner {
    /// Connects. Each batch is a statement, and so a transaction, of its own; `pause` lies between two of them.
    pub async fn connect(database: &Database, batch: i64, pause: Duration) -> Result<Self, QueueError> {
        Ok(Self { client: database.connect_checked().await?, batch, pause })
    }

    /// The moment that lies so far back.
    pub async fn ago(&self, age: Duration) -> Result<SystemTime, QueueError> {
        let problem = |error: tokio_postgres::Error| QueueError::query("a look at its clock", &error);
        let row = self.client.query_typed_one("SELECT now()", &[]).await.map_err(problem)?;
        let now: SystemTime = row.try_get(0).map_err(problem)?;
        Ok(now.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH))
    }

    /// How many rows were processed before.
    pub async fn count_processed(&self, before: SystemTime) -> Result<u64, QueueError> {
        let sql = "SELECT count(*) FROM public.receipt_queue
                   WHERE processed AND lease_token IS NULL
                     AND coalesce(processed_at, enqueued_at) < $1 AND enqueued_at < $1";
        self.count(sql, before).await
    }

    /// How many receipts were given up before.
    pub async fn count_dead(&self, before: SystemTime) -> Result<u64, QueueError> {
        self.count("SELECT count(*) FROM public.receipt_queue_dlq WHERE failed_at < $1", before).await
    }

    /// Removes rows that were processed before; `removed` hears of each batch. Returns how many there were.
    pub async fn processed(&self, before: SystemTime, removed: impl Fn(u64)) -> Result<u64, QueueError> {
        self.sweep("to prune the queue", PRUNE, before, (Due::Always, Type::TIMESTAMPTZ), removed).await
    }

    /// Removes dead letters that failed before, for good. As [`Self::processed`].
    pub async fn dead(&self, before: SystemTime, removed: impl Fn(u64)) -> Result<u64, QueueError> {
        self.sweep("to prune the dead letters", PRUNE_DEAD, before, (0_i64, Type::INT8), removed).await
    }

    /// Runs a statement until it finds less than a batch. It begins where the batch before ended: what was removed is still
    /// in the index until the next vacuum.
    async fn sweep<F>(
        &self,
        what: &'static str,
        sql: &str,
        before: SystemTime,
        (mut floor, floor_type): (F, Type),
        removed: impl Fn(u64),
    ) -> Result<u64, QueueError>
    where
        F: ToSql + Sync + for<'a> FromSql<'a>,
    {
        let problem = |error: tokio_postgres::Error| QueueError::query(what, &error);
        let mut all = 0;
        loop {
            let parameters: [Parameter<'_>; 3] =
                [(&before, Type::TIMESTAMPTZ), (&self.batch, Type::INT8), (&floor, floor_type.clone())];
            let row = self.client.query_typed_one(sql, &parameters).await.map_err(problem)?;
            let count: i64 = row.try_get(0).map_err(problem)?;
            let last: Option<F> = row.try_get(1).map_err(problem)?;
            all += u64::try_from(count).unwrap_or(0);
            removed(all);
            floor = last.unwrap_or(floor);
            if count < self.batch {
                return Ok(all);
            }
            tokio::time::sleep(self.pause).await;
        }
    }

    async fn count(&self, sql: &str, before: SystemTime) -> Result<u64, QueueError> {
        let problem = |error: tokio_postgres::Error| QueueError::query("to count what is old", &error);
        let row = self.client.query_typed_one(sql, &[(&before, Type::TIMESTAMPTZ)]).await.map_err(problem)?;
        let count: i64 = row.try_get(0).map_err(problem)?;
        Ok(u64::try_from(count).unwrap_or(0))
    }
}
