//! Making due at once what was put off.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::dead_letters::Which;
use super::{CHANNEL, Connection, QueueError};

/// A job that was put off and is due now.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Hurried {
    pub receipt_id: String,
    /// Why it had been put off, if it was for a failure.
    pub error_code: Option<String>,
    /// The same in words.
    pub error: Option<String>,
}

/// Makes due what was put off, and wakes the hosts. What somebody works is left, and of all what is parked for ever.
pub async fn hurry(client: &mut impl Connection, which: &Which) -> Result<Vec<Hurried>, QueueError> {
    let problem = |error: tokio_postgres::Error| QueueError::query("to make due what was put off", &error);
    let ids = match which {
        Which::All => None,
        Which::Receipts(ids) => Some(ids),
    };
    let transaction = client.transaction().await.map_err(problem)?;
    let rows = transaction
        .query_typed(
            "UPDATE public.receipt_queue q
             SET available_at = now()
             WHERE NOT q.processed
               AND q.lease_token IS NULL
               AND q.available_at > now()
               AND CASE WHEN $1::text[] IS NULL THEN isfinite(q.available_at) ELSE q.receipt_id::text = ANY ($1) END
             RETURNING q.receipt_id::text, q.last_error_code, q.last_error",
            &[(&ids, Type::TEXT_ARRAY)],
        )
        .await
        .map_err(problem)?;
    if !rows.is_empty() {
        transaction.execute_typed("SELECT pg_notify($1, '')", &[(&CHANNEL, Type::TEXT)]).await.map_err(problem)?;
    }
    transaction.commit().await.map_err(problem)?;
    let hurried =
        |row: &Row| Ok(Hurried { receipt_id: row.try_get(0)?, error_code: row.try_get(1)?, error: row.try_get(2)? });
    rows.iter().map(hurried).collect::<Result<_, _>>().map_err(problem)
}
