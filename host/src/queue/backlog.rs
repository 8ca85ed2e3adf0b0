//! How much waits: the one number by which a fleet is scaled and watched. The status view counts all history; this one is
//! counted by an index, and only as far as anybody needs it.

use super::{Connection, QueueError};

/// The view also serves whoever scales the hosts.
const SQL: &str = "SELECT backlog, estimated, oldest_age_seconds, dead_letters FROM public.vw_receipt_queue_backlog";

/// One look at `vw_receipt_queue_backlog`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Receipts that wait or are worked. Those that a person parked are not counted.
    pub jobs: i64,
    /// Whether it is an estimate: it is counted up to 10,000.
    pub estimated: bool,
    /// Seconds since the oldest of them was enqueued, of the 10,000 that were or will be due first.
    pub oldest_age_seconds: i64,
    /// Receipts that were given up; counted up to 10,000, too.
    pub dead_letters: i64,
}

/// Reads the view.
pub async fn backlog(client: &impl Connection) -> Result<Backlog, QueueError> {
    let problem = |error: tokio_postgres::Error| QueueError::query("to show vw_receipt_queue_backlog", &error);
    let row = client.query_typed_one(SQL, &[]).await.map_err(problem)?;
    let read = || {
        Ok(Backlog {
            jobs: row.try_get(0)?,
            estimated: row.try_get(1)?,
            oldest_age_seconds: row.try_get(2)?,
            dead_letters: row.try_get(3)?,
        })
    };
    read().map_err(problem)
}
