//! A settle that is tried and rolled back: what would refuse every result is found out before anything is paid for.

use std::time::Duration;

use tokio_postgres::types::Type;

use super::client::Transaction;
use super::outcome::{Completion, JobOutcome, SettleEntry};
use super::settle::{SettleVerdict, check, rehearse};
use super::{Connection, Lease, QueueError};
use crate::failure::{Failure, FailureKind};

/// It waits for nobody's lock longer than this, and nobody for its own: a host that is gone without a word in the middle of it
/// would hold the job's row for as long as the server takes the connection for alive.
const LIMITS: &str = "SELECT set_config('lock_timeout', '2s', true), set_config('statement_timeout', '5s', true),
                             set_config('idle_in_transaction_session_timeout', '10s', true)";
/// Waiting receipts that are tried: one of them may be an odd one.
const MOST: i64 = 3;

/// How often, and how soon again, it is tried on a job that is in hand.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(100);

/// What came of it.
#[derive(Debug)]
pub enum Rehearsed {
    /// A result would be written.
    Passed,
    /// It could not be tried; why.
    Unclear(String),
    /// A result would be written, and that a receipt is given up would not; why.
    NeverDead(QueueError),
    /// No result would be written; why.
    Refused(QueueError),
}

/// Tries the settle of a leased job. A heartbeat may have the row at this moment: then once more.
pub(super) async fn of_job(client: &mut impl Connection, lease: Lease) -> Rehearsed {
    for _ in 1..TRIES {
        match tried(client, Whose::Job(lease)).await {
            Rehearsed::Unclear(_) => tokio::time::sleep(PAUSE).await,
            other => return other,
        }
    }
    tried(client, Whose::Job(lease)).await
}

/// Tries the settle on receipts that wait, or on any where none does.
pub async fn of_any(client: &mut impl Connection) -> Result<Rehearsed, QueueError> {
    // What a column's type does not take needs no receipt to be seen.
    match check(client).await {
        Err(error) if error.is_permanent() => return Ok(Rehearsed::Refused(error)),
        checked => checked?,
    }
    let problem = |error: tokio_postgres::Error| QueueError::query("a look for a receipt", &error);
    let sql = "SELECT id FROM public.receipt_queue WHERE NOT processed AND lease_token IS NULL ORDER BY available_at, id LIMIT $1";
    let rows = client.query_typed(sql, &[(&MOST, Type::INT8)]).await.map_err(problem)?;
    let waiting: Vec<i64> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(problem)?;
    let mut found = None;
    for job in waiting {
        match (tried(client, Whose::Row(job)).await, &found) {
            (Rehearsed::Refused(error), _) => found = Some(Rehearsed::Refused(error)),
            // A host may have that one in hand; the others say more.
            (Rehearsed::Unclear(_), Some(_)) => {}
            (Rehearsed::Unclear(why), None) => found = Some(Rehearsed::Unclear(why)),
            (other, _) => return Ok(other),
        }
    }
    if let Some(found) = found {
        return Ok(found);
    }
    // What an app lets nobody change of a receipt that is done says nothing of one that waits.
    Ok(match tried(client, Whose::Anybodys).await {
        Rehearsed::Refused(error) | Rehearsed::NeverDead(error) if error.is_raised() => {
            Rehearsed::Unclear(error.to_string())
        }
        other => other,
    })
}

#[derive(Clone, Copy)]
enum Whose {
    Job(Lease),
    Row(i64),
    Anybodys,
}

async fn tried(client: &mut impl Connection, whose: Whose) -> Rehearsed {
    let read = Completion {
        vendor: Some("A".to_owned()),
        total: Some("1.10".to_owned()),
        currency: Some("USD".to_owned()),
        date: Some("2024-03-15".to_owned()),
        confidence: 50.0,
        artifact_key: "ocr/rehearsal.json".to_owned(),
    };
    let nothing = Completion { artifact_key: read.artifact_key.clone(), ..Completion::default() };
    let (read, nothing) = (JobOutcome::Complete(read), JobOutcome::Complete(nothing));
    match once(client, whose, read).await {
        Rehearsed::Passed => match once(client, whose, given_up()).await {
            Rehearsed::Refused(error) => Rehearsed::NeverDead(error),
            // Somebody has it locked by now; that its result would be written is known.
            _ => Rehearsed::Passed,
        },
        // It may be the values: a check or a table of the app's that does not know these.
        Rehearsed::Refused(error) if error.is_about_the_data() && !error.is_of_what_was_written() => {
            match once(client, whose, nothing).await {
                Rehearsed::Passed => Rehearsed::Unclear(error.to_string()),
                Rehearsed::Refused(again) if again.likeness() != error.likeness() => {
                    Rehearsed::Unclear(error.to_string())
                }
                other => other,
            }
        }
        other => other,
    }
}

fn given_up() -> JobOutcome {
    let failure = Failure::new(FailureKind::Internal, "queue.Rehearsal", "tried, and rolled back");
    JobOutcome::DeadLetter { failure, notes: "a rehearsal" }
}

async fn once(client: &mut impl Connection, whose: Whose, outcome: JobOutcome) -> Rehearsed {
    let transaction = match client.transaction().await {
        Ok(transaction) => transaction,
        Err(error) => return Rehearsed::Unclear(error.to_string()),
    };
    let rehearsed = within(&transaction, whose, outcome).await;
    // Whatever it was, nothing of it stays.
    if let Err(error) = transaction.rollback().await {
        tracing::debug!(
            name: "rehearsal.connection_lost",
            %error,
            "a rehearsal's connection is gone, and with it what it did"
        );
    }
    match rehearsed {
        Ok(Some(SettleVerdict::Committed)) => Rehearsed::Passed,
        Ok(Some(SettleVerdict::Hidden)) => {
            Rehearsed::Unclear("row-level security hides the receipt from this role".to_owned())
        }
        Ok(_) => Rehearsed::Unclear("there is no receipt to try it on, or somebody has it locked".to_owned()),
        Err(error) if error.is_permanent() => Rehearsed::Refused(error),
        Err(error) => Rehearsed::Unclear(error.to_string()),
    }
}

async fn within(
    transaction: &Transaction<'_>,
    whose: Whose,
    outcome: JobOutcome,
) -> Result<Option<SettleVerdict>, QueueError> {
    let what = match &outcome {
        JobOutcome::DeadLetter { .. } => "that a receipt is given up (tried, and rolled back)",
        _ => "a result (tried, and rolled back)",
    };
    let problem = |error: tokio_postgres::Error| QueueError::query(what, &error);
    transaction.query_typed(LIMITS, &[]).await.map_err(problem)?;
    let lease = match whose {
        Whose::Job(lease) => Some(lease),
        Whose::Row(job) => leased(transaction, job).await.map_err(problem)?,
        Whose::Anybodys => match made_pending(transaction).await.map_err(problem)? {
            Some(job) => leased(transaction, job).await.map_err(problem)?,
            None => None,
        },
    };
    let Some(lease) = lease else { return Ok(None) };
    let entry = SettleEntry { lease, outcome, component: Some("rehearsal".to_owned()) };
    let verdict = rehearse(transaction, what, &entry).await?;
    // What is deferred to the commit is asked now.
    transaction.batch_execute("SET CONSTRAINTS ALL IMMEDIATE").await.map_err(problem)?;
    Ok(verdict)
}

/// The job, leased; none where somebody works it, whom this must not get in the way of.
async fn leased(transaction: &Transaction<'_>, job: i64) -> Result<Option<Lease>, tokio_postgres::Error> {
    let sql = "UPDATE public.receipt_queue
               SET lease_token = nextval('public.receipt_queue_token'), processed = false
               WHERE id = (SELECT id FROM public.receipt_queue WHERE id = $1 AND lease_token IS NULL FOR UPDATE SKIP LOCKED)
               RETURNING id, lease_token";
    let row = transaction.query_typed_opt(sql, &[(&job, Type::INT8)]).await?;
    row.map(|row| Ok(Lease { job: row.try_get(0)?, token: row.try_get(1)? })).transpose()
}

/// Any receipt, made to wait; its job.
async fn made_pending(transaction: &Transaction<'_>) -> Result<Option<i64>, tokio_postgres::Error> {
    let sql = "UPDATE public.receipts r
               SET status = 'pending'
               FROM (SELECT id FROM public.receipts WHERE status::text <> 'pending' LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED) AS o
               WHERE r.id = o.id
               RETURNING convert_to(r.id::text, getdatabaseencoding())";
    let Some(row) = transaction.query_typed_opt(sql, &[]).await? else { return Ok(None) };
    let receipt: Vec<u8> = row.try_get(0)?;
    // In this very transaction it was queued last.
    let sql = "SELECT q.id FROM public.receipt_queue q WHERE NOT q.processed AND q.receipt_id::text = convert_from($1, getdatabaseencoding())
               ORDER BY q.available_at DESC LIMIT 1";
    let row = transaction.query_typed_opt(sql, &[(&receipt, Type::BYTEA)]).await?;
    row.map(|row| row.try_get(0)).transpose()
}
