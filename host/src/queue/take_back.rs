//! Taking back what a bad component decided: its jobs are due again, uncharged, and what it dead-lettered is alive.

use tokio_postgres::types::Type;

use super::client::Transaction;
use super::{CHANNEL, Connection, Lease, Parameter, QueueError};

const LOCK: &str = include_str!("sql/take_back_lock.sql");
const TAKE_BACK: &str = include_str!("sql/take_back.sql");

/// Takes back jobs by the leases under which they were put back or dead-lettered: every attempt that they were charged is
/// given back, what waits for it is due now, and a dead letter is in the queue again as new and its receipt `pending`. What
/// somebody claimed or settled since gets its attempts back and is left alone otherwise; what was completed stays. One
/// transaction; hosts are woken. Returns how many jobs were taken back.
pub async fn take_back(client: &mut impl Connection, leases: &[Lease]) -> Result<u64, QueueError> {
    if leases.is_empty() {
        return Ok(0);
    }
    let problem = |error: tokio_postgres::Error| QueueError::query("to take back what a component decided", &error);
    let (ids, tokens): (Vec<i64>, Vec<i64>) = leases.iter().map(|lease| (lease.job, lease.token)).unzip();
    let transaction = client.transaction().await.map_err(problem)?;
    let which: [Parameter<'_>; 2] = [(&ids, Type::INT8_ARRAY), (&tokens, Type::INT8_ARRAY)];
    transaction.query_typed(LOCK, &which).await.map_err(problem)?;
    let dead = revive(&transaction, &tokens).await.map_err(problem)?;
    let waiting = transaction.execute_typed(TAKE_BACK, &which).await.map_err(problem)?;
    if waiting > 0 {
        transaction.execute_typed("SELECT pg_notify($1, '')", &[(&CHANNEL, Type::TEXT)]).await.map_err(problem)?;
    }
    transaction.commit().await.map_err(problem)?;
    Ok(dead + waiting)
}

/// Becoming pending is what queues a receipt: the trigger does it, and empties the dead letters, with rights that a worker's
/// role need not have. A receipt that the app gave another status since stays a dead letter.
async fn revive(transaction: &Transaction<'_>, tokens: &[i64]) -> Result<u64, tokio_postgres::Error> {
    let revived = transaction
        .execute_typed(
            "UPDATE public.receipts r
             SET status = 'pending'
             FROM public.receipt_queue_dlq d
             WHERE d.receipt_id = r.id AND d.settled_token = ANY ($1) AND r.status::text = 'ocr_failed'",
            &[(&tokens, Type::INT8_ARRAY)],
        )
        .await?;
    // What the trigger was kept from queueing is a dead letter still, and its receipt says so.
    let left = transaction
        .execute_typed(
            "UPDATE public.receipts r
             SET status = 'ocr_failed'
             FROM public.receipt_queue_dlq d
             WHERE d.receipt_id = r.id AND d.settled_token = ANY ($1) AND r.status::text = 'pending'",
            &[(&tokens, Type::INT8_ARRAY)],
        )
        .await?;
    Ok(revived.saturating_sub(left))
}
