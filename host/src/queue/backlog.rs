//! How much waits: the one number by which a fleet is scaled and watched. The status view counts all history; this one is
//! counted by an index, and only as far as anybody needs it.

use super::{Connection, QueueError};
use crate::health::Depth;

/// The view also serves whoever scales the hosts.
const SQL: &str = "SELECT backlog, estimated, oldest_age_seconds, dead_letters FROM public.vw_receipt_queue_backlog";

/// Reads `vw_receipt_queue_backlog`.
pub async fn backlog(client: &impl Connection) -> Result<Depth, QueueError> {
    let problem = |error: tokio_postgres::Error| QueueError::query("to show vw_receipt_queue_backlog", &error);
    let row = client.query_typed_one(SQL, &[]).await.map_err(problem)?;
    let read = || {
        Ok(Depth {
            backlog: row.try_get(0)?,
            estimated: row.try_get(1)?,
            oldest_age_seconds: row.try_get(2)?,
            dead_letters: row.try_get(3)?,
        })
    };
    read().map_err(problem)
}
