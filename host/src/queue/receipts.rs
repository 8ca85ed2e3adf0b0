//! The receipts table, as `host enqueue` uses it: insert, and look at the result.

use serde::Serialize;
use tokio_postgres::types::Type;

use super::{Connection, QueueError};

/// A receipt's result, as the app sees it.
#[derive(Debug, Clone, Serialize)]
pub struct ReceiptRow {
    /// The receipt's id.
    pub receipt_id: String,
    /// `pending`, `ocr_done`, `ocr_failed`, or what the app has.
    pub status: String,
    /// Who was paid.
    pub vendor: Option<String>,
    /// What was paid.
    pub total: Option<String>,
    /// ISO 4217.
    pub currency: Option<String>,
    /// ISO 8601.
    pub date: Option<String>,
    /// 0 to 100.
    pub confidence: Option<f64>,
    /// Key of the OCR artifact.
    pub artifact: Option<String>,
    /// From enqueued to processed.
    pub milliseconds: Option<f64>,
    /// Why it failed.
    pub error: Option<String>,
}

impl ReceiptRow {
    /// Whether nothing more is to come.
    pub fn is_final(&self) -> bool {
        self.status != "pending"
    }
}

/// Inserts a receipt as an app does; the trigger queues it. Returns its id.
pub async fn insert(client: &impl Connection, key: &str, user_id: Option<&str>) -> Result<String, QueueError> {
    // Through jsonb, so that user_id gets the type it has in this database.
    let fields = match user_id {
        Some(user) => serde_json::json!({ "user_id": user }).to_string(),
        None => "{}".to_owned(),
    };
    let sql = match user_id {
        Some(_) => {
            "INSERT INTO public.receipts (user_id, status, image_url)
             SELECT (jsonb_populate_record(NULL::public.receipts, $1::text::jsonb)).user_id, 'pending', $2
             RETURNING id::text"
        }
        None => {
            "INSERT INTO public.receipts (status, image_url)
             SELECT 'pending', $2 WHERE $1::text IS NOT NULL
             RETURNING id::text"
        }
    };
    let row = client
        .query_typed_one(sql, &[(&fields, Type::TEXT), (&key, Type::TEXT)])
        .await
        .map_err(|error| QueueError::query("to insert the receipt", &error))?;
    row.try_get(0).map_err(|error| QueueError::query("to insert the receipt", &error))
}

/// The newest receipt with this image, if there is one.
pub async fn find(client: &impl Connection, key: &str) -> Result<Option<String>, QueueError> {
    let problem = |error: tokio_postgres::Error| QueueError::query("a look for the receipt", &error);
    let row = client
        .query_typed_opt(
            "SELECT id::text FROM public.receipts WHERE image_url::text = $1 ORDER BY created_at DESC LIMIT 1",
            &[(&key, Type::TEXT)],
        )
        .await
        .map_err(problem)?;
    row.map(|row| row.try_get(0)).transpose().map_err(problem)
}

/// The receipts with these ids.
pub async fn query(client: &impl Connection, ids: &[String]) -> Result<Vec<ReceiptRow>, QueueError> {
    let problem = |error: tokio_postgres::Error| QueueError::query("a look at the receipts", &error);
    let rows = client
        .query_typed(
            "SELECT
                r.id::text,
                r.status::text,
                r.vendor_text::text,
                r.total_amount::text,
                r.currency::text,
                to_jsonb(r.receipt_date) #>> '{}',
                r.ocr_confidence::float8,
                r.ocr_s3_key::text,
                (CASE WHEN isfinite(q.processed_at) AND isfinite(q.enqueued_at)
                    THEN (extract(epoch FROM q.processed_at) - extract(epoch FROM q.enqueued_at)) * 1000
                END)::float8,
                d.error_message
             FROM public.receipts r
             LEFT JOIN public.receipt_queue q ON q.receipt_id = r.id
             LEFT JOIN public.receipt_queue_dlq d ON d.receipt_id = r.id
             JOIN unnest($1::text[]) WITH ORDINALITY AS wanted (id, place) ON wanted.id = r.id::text
             ORDER BY wanted.place",
            &[(&ids, Type::TEXT_ARRAY)],
        )
        .await
        .map_err(problem)?;
    rows.iter()
        .map(|row| {
            Ok(ReceiptRow {
                receipt_id: row.try_get(0)?,
                status: row.try_get(1)?,
                vendor: row.try_get(2)?,
                total: row.try_get(3)?,
                currency: row.try_get(4)?,
                date: row.try_get(5)?,
                confidence: row.try_get(6)?,
                artifact: row.try_get(7)?,
                milliseconds: row.try_get(8)?,
                error: row.try_get(9)?,
            })
        })
        .collect::<Result<_, _>>()
        .map_err(problem)
}
