//! Making due at once what was put off.

use tokio_postgres::types::Type;

use super::dead_letters::DeadLetterSelection;
use super::text::{Queryable, Text};
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
pub async fn hurry(client: &mut impl Connection, which: &DeadLetterSelection) -> Result<Vec<Hurried>, QueueError> {
    let problem = |error: tokio_postgres::Error| QueueError::query("to make due what was put off", &error);
    let (ids, raw) = which.ids();
    let transaction = client.transaction().await.map_err(problem)?;
    let rows = transaction
        .query_typed(
            "UPDATE public.receipt_queue q
             SET available_at = now()
             WHERE NOT q.processed
               AND q.lease_token IS NULL
               AND q.available_at > now()
               AND CASE
                   WHEN $1::text[] IS NULL THEN isfinite(q.available_at)
                   ELSE q.receipt_id::text = ANY ($1)
                       OR convert_to(q.receipt_id::text, getdatabaseencoding()) = ANY ($2)
               END
             RETURNING
                 convert_to(q.receipt_id::text, getdatabaseencoding()) AS receipt_id,
                 convert_to(q.last_error_code, getdatabaseencoding()) AS code,
                 convert_to(q.last_error, getdatabaseencoding()) AS error,
                 getdatabaseencoding()::text AS encoding",
            &[(&ids, Type::TEXT_ARRAY), (&raw, Type::BYTEA_ARRAY)],
        )
        .await
        .map_err(problem)?;
    if !rows.is_empty() {
        transaction.execute_typed("SELECT pg_notify($1, '')", &[(&CHANNEL, Type::TEXT)]).await.map_err(problem)?;
    }
    transaction.commit().await.map_err(problem)?;
    let texts = Queryable::Client(client).columns(&rows, ["receipt_id", "code", "error"]).await?;
    let hurried = |texts: [Option<Text>; 3]| {
        let [receipt_id, error_code, error] = texts.map(|text| text.map(Text::shown));
        Hurried { receipt_id: receipt_id.unwrap_or_default(), error_code, error }
    };
    Ok(texts.into_iter().map(hurried).collect())
}
