//! The app, which inserts receipts, and people, who edit, delete and replace them meanwhile. Both try again until the
//! database has taken it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::Clock;
use super::plan::{Deed, Timeline};
use super::stage::{Stage, has_replacement, id, key, replacement};

/// Statements in which receipts are inserted.
const INSERTS: u32 = 60;
/// So many of them at once in the beginning: hosts that have nothing to do have nothing to lose.
const BACKLOG: u32 = 24;

/// Inserts a backlog, and then the other receipts over a time. `inserted` counts them.
pub async fn insert(stage: &Stage, receipts: u32, over: Duration, started: Instant, inserted: &AtomicU32) {
    let mut database = Patient { stage, client: None };
    for batch in 0..INSERTS {
        tokio::time::sleep_until((started + over * batch.saturating_sub(BACKLOG) / (INSERTS - BACKLOG)).into()).await;
        let numbers = receipts * batch / INSERTS..receipts * (batch + 1) / INSERTS;
        let ids: Vec<String> = numbers.clone().map(id).collect();
        let keys: Vec<String> = numbers.clone().map(key).collect();
        // Again where the reply to a commit was lost.
        let sql = "INSERT INTO receipts (id, user_id, status, image_url)
            SELECT id::uuid, 'somebody', 'pending', key FROM unnest($1::text[], $2::text[]) AS r (id, key)
            ON CONFLICT (id) DO NOTHING";
        while database.with(async |client| client.execute(sql, &[&ids, &keys]).await).await.is_none() {}
        inserted.store(numbers.end, Ordering::Release);
    }
}

/// Does what the plan says to receipts that are there. Returns what was done, by kind; a deed that found its receipt
/// gone, or the database away, is not counted.
pub async fn live(
    stage: &Stage,
    deeds: &Timeline<(Deed, u32)>,
    clock: &Clock,
    inserted: &AtomicU32,
) -> BTreeMap<String, u64> {
    let mut database = Patient { stage, client: None };
    let mut done = BTreeMap::new();
    for (at, (deed, number)) in deeds {
        if !clock.reaches(*at).await {
            break;
        }
        let there = inserted.load(Ordering::Acquire);
        if there == 0 {
            continue;
        }
        // The newest are still being worked, or wait.
        let number = there - 1 - (number % there.min(500));
        let receipt = id(number);
        let (name, sql) = match deed {
            Deed::Edit => {
                ("edit", format!("UPDATE receipts SET vendor_text = 'by hand {number}' WHERE id = '{receipt}'"))
            }
            Deed::Delete => ("delete", format!("DELETE FROM receipts WHERE id = '{receipt}'")),
            Deed::ReplaceImage => {
                let number = number - number.saturating_sub(7) % 10;
                if !has_replacement(number) {
                    continue;
                }
                let (receipt, key) = (id(number), replacement(number));
                ("replace image", format!("UPDATE receipts SET image_url = '{key}' WHERE id = '{receipt}'"))
            }
            Deed::Approve => ("approve", format!("UPDATE receipts SET status = 'approved' WHERE id = '{receipt}'")),
            Deed::RetryDead => (
                "retry a dead one",
                "UPDATE receipts SET status = 'pending' WHERE id = (
                    SELECT d.receipt_id FROM receipt_queue_dlq d JOIN receipts r ON r.id = d.receipt_id
                    WHERE r.status::text = 'ocr_failed' ORDER BY d.failed_at DESC LIMIT 1)"
                    .to_owned(),
            ),
            Deed::ReadAgain => (
                "read again",
                format!("UPDATE receipts SET status = 'pending' WHERE id = '{receipt}' AND status <> 'pending'"),
            ),
        };
        if database.with(async |client| client.execute(&sql, &[]).await).await == Some(1) {
            *done.entry(name.to_owned()).or_default() += 1;
        }
    }
    done
}

/// A connection that is made anew when it is lost.
struct Patient<'a> {
    stage: &'a Stage,
    client: Option<Client>,
}

impl Patient<'_> {
    /// None when the database is away or refuses; a pause is made then.
    async fn with<T>(&mut self, work: impl AsyncFnOnce(&Client) -> Result<T, tokio_postgres::Error>) -> Option<T> {
        if self.client.as_ref().is_none_or(Client::is_closed) {
            self.client = self.stage.connect().await;
        }
        let answer = match &self.client {
            Some(client) => work(client).await.ok(),
            None => None,
        };
        if answer.is_none() {
            self.client = None;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        answer
    }
}
