//! The dead letters: listing, retrying and discarding them.

use serde::{Deserialize, Serialize};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::text::{self, Queryable, Text};
use super::{Connection, Parameter, QueueError};

/// Which dead letters `d` are meant: $1 and $2 are what [`DeadLetterSelection::ids`] returns.
const CHOSEN: &str = "(
    $1::text[] IS NULL
    OR d.receipt_id::text = ANY ($1)
    OR convert_to(d.receipt_id::text, getdatabaseencoding()) = ANY ($2)
)";

/// Texts as bytes: one that is none must not spoil the list.
fn select() -> String {
    format!(
        "SELECT
        convert_to(receipt_id::text, getdatabaseencoding()) AS receipt_id,
        convert_to(s3_key, getdatabaseencoding()) AS s3_key,
        convert_to(error_kind, getdatabaseencoding()) AS error_kind,
        convert_to(error_code, getdatabaseencoding()) AS error_code,
        convert_to(error_message, getdatabaseencoding()) AS error_message,
        convert_to(component, getdatabaseencoding()) AS component,
        convert_to(notes, getdatabaseencoding()) AS notes,
        convert_to(history::text, getdatabaseencoding()) AS history,
        getdatabaseencoding()::text AS encoding,
        attempts, claims, deaths,
        {enqueued_at} AS enqueued_at,
        {failed_at} AS failed_at
    FROM public.receipt_queue_dlq AS d",
        enqueued_at = iso("enqueued_at"),
        failed_at = iso("failed_at"),
    )
}

/// A time in ISO 8601, or in the database's words where that cannot write it.
fn iso(column: &str) -> String {
    format!(
        "CASE
            WHEN {column} >= '0001-01-01 UTC' AND {column} < '10000-01-01 UTC'
                THEN to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')
            ELSE {column}::text
        END"
    )
}

const TEXTS: [&str; 8] =
    ["receipt_id", "s3_key", "error_kind", "error_code", "error_message", "component", "notes", "history"];

/// One dead letter.
#[derive(Debug, Clone, Serialize)]
pub struct DeadLetter {
    pub receipt_id: String,
    pub s3_key: Option<String>,
    pub error_kind: String,
    pub error_code: String,
    pub error_message: String,
    /// Charged attempts.
    pub attempts: i32,
    /// Times it was claimed.
    pub claims: i32,
    /// SHA-256 of the component that gave it up.
    pub component: Option<String>,
    pub notes: Option<String>,
    /// How often it has died, this time included.
    pub deaths: i32,
    /// The last attempts that did not complete, oldest first.
    pub history: Vec<Attempt>,
    /// ISO 8601, UTC.
    pub enqueued_at: String,
    /// ISO 8601, UTC.
    pub failed_at: String,
}

/// An attempt that did not complete.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Attempt {
    /// From 1; the same number again after one that was not charged.
    pub attempt: i32,
    /// SHA-256 of the component that decided; none where the host did.
    pub component: Option<String>,
    /// ISO 8601, UTC.
    pub at: String,
    /// `retry`, `uncharged`, `dead-letter` or, since it was undone, `taken-back`.
    pub outcome: String,
    /// Why: the failure's kind …
    pub kind: String,
    /// … and its code.
    pub code: String,
}

/// Which dead letters are meant.
#[derive(Debug, Clone)]
pub enum DeadLetterSelection {
    /// Every one.
    All,
    /// Those of these receipts.
    Receipts(Vec<String>),
}

impl DeadLetterSelection {
    /// The ids, and those that are no text, as bytes. Compared with `ids` and `raw` ids by `x::text = ANY (ids) OR
    /// convert_to(x::text, getdatabaseencoding()) = ANY (raw)`.
    pub(super) fn ids(&self) -> (Option<&[String]>, Vec<Vec<u8>>) {
        match self {
            Self::All => (None, Vec::new()),
            Self::Receipts(ids) => (Some(ids), ids.iter().filter_map(|id| text::bytes_of(id)).collect()),
        }
    }
}

/// Newest first.
pub async fn list(
    client: &impl Connection,
    which: &DeadLetterSelection,
    limit: i64,
) -> Result<Vec<DeadLetter>, QueueError> {
    let problem = |error: tokio_postgres::Error| QueueError::query("to list the dead letters", &error);
    let sql = format!(
        "{select}
         WHERE {CHOSEN}
         ORDER BY d.failed_at DESC, d.id DESC
         LIMIT $3",
        select = select(),
    );
    let (ids, raw) = which.ids();
    let parameters: [Parameter<'_>; 3] = [(&ids, Type::TEXT_ARRAY), (&raw, Type::BYTEA_ARRAY), (&limit, Type::INT8)];
    let rows = client.query_typed(&sql, &parameters).await.map_err(problem)?;
    let texts = Queryable::Client(client).columns(&rows, TEXTS).await?;
    rows.iter().zip(texts).map(|(row, texts)| dead_letter(row, texts)).collect::<Result<_, _>>().map_err(problem)
}

/// Puts dead letters back into the queue with fresh attempts; the queue row remembers that they were dead. Returns the
/// receipts' ids.
pub async fn retry(client: &mut impl Connection, which: &DeadLetterSelection) -> Result<Vec<String>, QueueError> {
    let problem = |error: tokio_postgres::Error| QueueError::query("to retry dead letters", &error);
    let transaction = client.transaction().await.map_err(problem)?;
    // Receipts first and in order, as everywhere (see complete.sql).
    let (ids, raw) = which.ids();
    let rows = transaction
        .query_typed(
            &format!(
                "SELECT d.id
                 FROM public.receipts r
                 JOIN public.receipt_queue_dlq d ON d.receipt_id = r.id
                 WHERE {CHOSEN}
                 ORDER BY r.id
                 FOR NO KEY UPDATE OF r"
            ),
            &[(&ids, Type::TEXT_ARRAY), (&raw, Type::BYTEA_ARRAY)],
        )
        .await
        .map_err(problem)?;
    let locked: Vec<i64> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(problem)?;
    // Becoming pending is what queues a receipt: the trigger does it, and empties the dead letters, with rights that a
    // worker's role need not have. One that is pending already becomes what a dead letter is first.
    transaction
        .execute_typed(
            "UPDATE public.receipts r
             SET status = 'ocr_failed'
             FROM public.receipt_queue_dlq d
             WHERE d.receipt_id = r.id AND d.id = ANY ($1) AND r.status::text = 'pending'",
            &[(&locked, Type::INT8_ARRAY)],
        )
        .await
        .map_err(problem)?;
    // What somebody revived, finished or discarded while its lock was waited for is not ours to report.
    let retried = transaction
        .query_typed(
            "UPDATE public.receipts r
             SET status = 'pending'
             FROM public.receipt_queue_dlq d
             WHERE d.receipt_id = r.id AND d.id = ANY ($1)
             RETURNING
                 d.id,
                 convert_to(r.id::text, getdatabaseencoding()) AS receipt_id,
                 getdatabaseencoding()::text AS encoding",
            &[(&locked, Type::INT8_ARRAY)],
        )
        .await
        .map_err(problem)?;
    let letters: Vec<i64> = retried.iter().map(|row| row.try_get("id")).collect::<Result<_, _>>().map_err(problem)?;
    // The trigger takes out of the dead letters what it queues, and nothing else. Where it is off, or was kept from it, all
    // stays as it was.
    let left = transaction
        .query_typed_one(
            "SELECT count(*) FROM public.receipt_queue_dlq WHERE id = ANY ($1)",
            &[(&letters, Type::INT8_ARRAY)],
        )
        .await
        .map_err(problem)?;
    let left: i64 = left.try_get(0).map_err(problem)?;
    if left > 0 {
        transaction.rollback().await.map_err(problem)?;
        return Err(QueueError::NotQueued { missing: usize::try_from(left).unwrap_or(0), asked: letters.len() });
    }
    transaction.commit().await.map_err(problem)?;
    shown(client, &retried).await
}

/// The receipts' ids, for people.
async fn shown(client: &impl Connection, rows: &[Row]) -> Result<Vec<String>, QueueError> {
    let texts = Queryable::Client(client).columns(rows, ["receipt_id"]).await?;
    Ok(texts.into_iter().flatten().flatten().map(Text::shown).collect())
}

/// How many of them are left alone by everything, because row-level security hides their receipts from this role: a dead letter
/// never outlives its receipt.
pub async fn hidden(client: &impl Connection, which: &DeadLetterSelection) -> Result<u64, QueueError> {
    let problem =
        |error: tokio_postgres::Error| QueueError::query("to look for dead letters of hidden receipts", &error);
    let (ids, raw) = which.ids();
    let row = client
        .query_typed_one(
            &format!(
                "SELECT count(*)
                 FROM public.receipt_queue_dlq d
                 WHERE row_security_active('public.receipts')
                   AND {CHOSEN}
                   AND NOT EXISTS (SELECT FROM public.receipts r WHERE r.id = d.receipt_id)"
            ),
            &[(&ids, Type::TEXT_ARRAY), (&raw, Type::BYTEA_ARRAY)],
        )
        .await
        .map_err(problem)?;
    let count: i64 = row.try_get(0).map_err(problem)?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// Removes dead letters for good; their receipts stay `ocr_failed`. Returns the receipts' ids.
pub async fn discard(client: &impl Connection, which: &DeadLetterSelection) -> Result<Vec<String>, QueueError> {
    let problem = |error: tokio_postgres::Error| QueueError::query("to discard dead letters", &error);
    let (ids, raw) = which.ids();
    let rows = client
        .query_typed(
            // Receipts first and in order: beside a retry, one of the two finds nothing any more.
            &format!(
                "WITH locked AS MATERIALIZED (
                     SELECT r.id
                     FROM public.receipts r
                     JOIN public.receipt_queue_dlq d ON d.receipt_id = r.id
                     WHERE {CHOSEN}
                     ORDER BY r.id
                     FOR NO KEY UPDATE OF r
                 )
                 DELETE FROM public.receipt_queue_dlq d
                 USING locked l
                 WHERE d.receipt_id = l.id
                 RETURNING
                     convert_to(d.receipt_id::text, getdatabaseencoding()) AS receipt_id,
                     getdatabaseencoding()::text AS encoding"
            ),
            &[(&ids, Type::TEXT_ARRAY), (&raw, Type::BYTEA_ARRAY)],
        )
        .await
        .map_err(problem)?;
    shown(client, &rows).await
}

fn dead_letter(row: &Row, texts: [Option<Text>; 8]) -> Result<DeadLetter, tokio_postgres::Error> {
    let [id, s3_key, kind, code, message, component, notes, history] = texts.map(|text| text.map(Text::shown));
    Ok(DeadLetter {
        receipt_id: id.unwrap_or_default(),
        s3_key,
        error_kind: kind.unwrap_or_default(),
        error_code: code.unwrap_or_default(),
        error_message: message.unwrap_or_default(),
        component,
        notes,
        attempts: row.try_get("attempts")?,
        claims: row.try_get("claims")?,
        deaths: row.try_get("deaths")?,
        // What a later host writes differently is not shown.
        history: serde_json::from_str(&history.unwrap_or_default()).unwrap_or_default(),
        enqueued_at: row.try_get("enqueued_at")?,
        failed_at: row.try_get("failed_at")?,
    })
}
