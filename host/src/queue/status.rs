//! What people ask of the queue: the status view, and whether a role may work it.

use serde::Serialize;

use super::{Connection, QueueError};

/// One row of `vw_receipt_queue_status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StatusRow {
    /// `pending`, `processed` or `dlq`.
    pub status: String,
    /// How many.
    pub count: i64,
    /// See the view's comment for what age means.
    pub avg_age_seconds: i64,
    /// Likewise.
    pub max_age_seconds: i64,
}

/// Reads the view.
pub async fn status(client: &impl Connection) -> Result<Vec<StatusRow>, QueueError> {
    let problem = |error: tokio_postgres::Error| QueueError::query("to show vw_receipt_queue_status", &error);
    let rows = client
        .query_typed("SELECT status, count, avg_age_seconds, max_age_seconds FROM public.vw_receipt_queue_status", &[])
        .await
        .map_err(problem)?;
    rows.iter()
        .map(|row| {
            Ok(StatusRow {
                status: row.try_get(0)?,
                count: row.try_get(1)?,
                avg_age_seconds: row.try_get(2)?,
                max_age_seconds: row.try_get(3)?,
            })
        })
        .collect::<Result<_, _>>()
        .map_err(problem)
}

/// How many jobs are parked: a person has set their `available_at` to infinity, so that no worker takes them.
pub async fn parked(client: &impl Connection) -> Result<i64, QueueError> {
    let problem = |error: tokio_postgres::Error| QueueError::query("a look for parked jobs", &error);
    let sql = "SELECT count(*) FROM public.receipt_queue WHERE NOT processed AND available_at = 'infinity'";
    client.query_typed_one(sql, &[]).await.and_then(|row| row.try_get(0)).map_err(problem)
}

/// How parked jobs are told of.
pub fn say_parked(count: i64) -> String {
    format!(
        "{count} waiting receipts are parked (available_at is infinity) and are not worked; set it to now() in \
         receipt_queue to have them worked"
    )
}

/// What keeps the role of this connection from working the queue, in words; nothing when nothing does.
pub async fn missing_rights(client: &impl Connection) -> Result<Vec<String>, QueueError> {
    let problem = |error: tokio_postgres::Error| QueueError::query("a look at this role's rights", &error);
    let rows = client.query_typed(include_str!("sql/rights.sql"), &[]).await.map_err(problem)?;
    rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(problem)
}

/// What is no fault of the queue's and ought to be known: a table of receipts that is open to anybody.
pub async fn warnings(client: &impl Connection) -> Result<Vec<String>, QueueError> {
    let problem = |error: tokio_postgres::Error| QueueError::query("a look at who may do what", &error);
    let rows = client.query_typed(include_str!("sql/exposed.sql"), &[]).await.map_err(problem)?;
    rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(problem)
}
