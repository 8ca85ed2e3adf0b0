//! The queue as it is: each operation, done by the statements that the host ships and by the SQL that apps write.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::SystemTime;

use host::queue::dead_letters::{self, DeadLetterSelection};
use host::queue::{Lease, take_back};
use tokio_postgres::{Client, Row};

use crate::reference::{MAX_ATTEMPTS, Op, Seen, Slot, Token, Verdict};
use crate::statements::Prepared;
use crate::values::{fields, id, name, slot, status};

/// In milliseconds. Leases and waits end by moving them, never by waiting.
const HOUR: i64 = 3_600_000;

/// Which rows and tokens the reference's leases are.
#[derive(Debug, Default)]
pub struct Leases {
    leases: Mutex<Vec<(Slot, Lease)>>,
}

impl Leases {
    pub fn of(&self, token: Token) -> Lease {
        self.leases.lock().unwrap()[token as usize - 1].1
    }

    pub fn tokens(&self) -> BTreeMap<i64, Token> {
        (1..).zip(self.leases.lock().unwrap().iter()).map(|(token, (_, lease))| (lease.token, token)).collect()
    }

    pub fn len(&self) -> usize {
        self.leases.lock().unwrap().len()
    }

    /// Forgets those given since: they were rolled back.
    pub fn truncate(&self, len: usize) {
        self.leases.lock().unwrap().truncate(len);
    }

    fn slot_of(&self, job: i64) -> Slot {
        self.leases.lock().unwrap().iter().find(|(_, lease)| lease.job == job).unwrap().0
    }

    /// Names a lease. The database's own token must have grown.
    fn named(&self, slot: Slot, lease: Lease) -> Token {
        let mut leases = self.leases.lock().unwrap();
        if let Some(place) = leases.iter().position(|known| *known == (slot, lease)) {
            return place as Token + 1;
        }
        let last = leases.iter().filter(|(of, _)| *of == slot).map(|(_, lease)| lease.token).max();
        assert!(last.is_none_or(|last| last < lease.token), "receipt {slot}: token {} after {last:?}", lease.token);
        leases.push((slot, lease));
        leases.len() as Token
    }
}

/// Whether it opens its own transaction.
pub fn has_own_transaction(op: &Op) -> bool {
    matches!(op, Op::ManualRetry { .. } | Op::TakeBack { .. })
}

/// Does it. Errors are the database's.
pub async fn perform(client: &mut Client, sql: &Prepared, leases: &Leases, op: &Op) -> Result<Seen, String> {
    match op {
        Op::ManualRetry { slot: wanted } => {
            let done = dead_letters::retry(client, &DeadLetterSelection::Receipts(vec![id(*wanted)])).await;
            done.map(|ids| Seen::Slots(ids.iter().map(|id| slot(id)).collect())).map_err(|error| error.to_string())
        }
        Op::Discard { slot: wanted } => {
            let done = dead_letters::discard(client, &DeadLetterSelection::Receipts(vec![id(*wanted)])).await;
            done.map(|ids| Seen::Slots(ids.iter().map(|id| slot(id)).collect())).map_err(|error| error.to_string())
        }
        Op::TakeBack { token } => {
            take_back(client, &[leases.of(*token)]).await.map(|_| Seen::Nothing).map_err(|error| error.to_string())
        }
        _ => statement(client, sql, leases, op).await.map_err(|error| format!("{op:?}: {error:?}")),
    }
}

/// What is one statement.
async fn statement(client: &Client, sql: &Prepared, leases: &Leases, op: &Op) -> Result<Seen, tokio_postgres::Error> {
    let max_attempts = MAX_ATTEMPTS as i32;
    let keys = |tokens: &[Token]| -> (Vec<i64>, Vec<i64>) {
        tokens.iter().map(|token| leases.of(*token)).map(|lease| (lease.job, lease.token)).unzip()
    };
    Ok(match op {
        Op::Claim { worker, limit } => {
            let worker = name('w', Some(*worker));
            let everything = SystemTime::UNIX_EPOCH;
            let limit = *limit as i64;
            leased(client.query(&sql.claim, &[&limit, &HOUR, &worker, &max_attempts, &everything]).await?, leases)
        }
        Op::Exhausted => {
            let rows = client.query(&sql.exhausted, &[&max_attempts, &100_i64]).await?;
            let lease = |row: &Row| Lease { job: row.get("id"), token: row.get("lease_token") };
            // Attempts are used up by claims, so that the row is known.
            let mut exhausted: Vec<_> = rows.iter().map(|row| (leases.slot_of(lease(row).job), lease(row))).collect();
            exhausted.sort_unstable();
            Seen::Leased(exhausted.into_iter().map(|(slot, lease)| (slot, leases.named(slot, lease))).collect())
        }
        Op::Heartbeat { tokens } => {
            let (ids, given) = keys(tokens);
            let rows = client.query(&sql.heartbeat, &[&ids, &given, &HOUR]).await?;
            let of = |job: &i64| rows.iter().find(|row| row.get::<_, i64>("id") == *job);
            let verdict = |job: &i64| match of(job).map(|row| row.get("renewed")) {
                Some(true) => Verdict::Committed,
                Some(false) => Verdict::Blocked,
                None => Verdict::Lost,
            };
            Seen::Verdicts(ids.iter().map(verdict).collect())
        }
        Op::Complete { readings } => {
            let (ids, given) = keys(&readings.iter().map(|(token, _)| *token).collect::<Vec<_>>());
            let of = |index: usize| -> Vec<Option<String>> {
                readings.iter().map(|(_, reading)| fields(Some(*reading))[index].clone()).collect()
            };
            let named = |letter: char| -> Vec<Option<String>> {
                readings.iter().map(|(_, reading)| name(letter, Some(*reading))).collect()
            };
            let confidences: Vec<f64> = readings.iter().map(|(_, reading)| f64::from(*reading)).collect();
            let rows = client
                .query(
                    &sql.complete,
                    &[&ids, &given, &of(0), &of(1), &of(2), &of(3), &confidences, &named('a'), &named('c')],
                )
                .await?;
            verdicts(&rows, &given)
        }
        Op::Retry { token, wait, charge, error } => {
            let (ids, given) = keys(&[*token]);
            let delays = vec![if *wait { HOUR } else { 0 }];
            let named = |letter: char| vec![name(letter, *error)];
            let rows = client
                .query(
                    &sql.retry,
                    &[&ids, &given, &delays, &vec![*charge], &named('k'), &named('e'), &named('m'), &named('c')],
                )
                .await?;
            verdicts(&rows, &given)
        }
        Op::DeadLetter { token, error } => {
            let (ids, given) = keys(&[*token]);
            let named = |letter: char| vec![name(letter, Some(*error))];
            let rows = client
                .query(
                    &sql.dead_letter,
                    &[&ids, &given, &named('k'), &named('e'), &named('m'), &named('c'), &vec!["note"]],
                )
                .await?;
            verdicts(&rows, &given)
        }
        _ => {
            client.execute(&app(op), &[]).await?;
            Seen::Nothing
        }
    })
}

/// What an app writes, and how time passes.
fn app(op: &Op) -> String {
    let literal = |text: Option<String>| text.map_or("NULL".to_owned(), |text| format!("'{text}'"));
    let update = |slot: Slot, set: String| format!("UPDATE receipts SET {set} WHERE id = '{}'", id(slot));
    match op {
        Op::Insert { slot, status: as_status, image, fields: number } => {
            let [vendor, total, currency, day] = fields(*number).map(literal);
            format!(
                "INSERT INTO receipts (id, status, image_url, vendor_text, total_amount, currency, receipt_date)
                 VALUES ('{}', '{}', {}, {vendor}, {total}, {currency}, {day})",
                id(*slot),
                status(*as_status),
                literal(name('i', *image))
            )
        }
        Op::Edit { slot, fields: number } => {
            let [vendor, total, currency, day] = fields(*number).map(literal);
            update(
                *slot,
                format!("vendor_text = {vendor}, total_amount = {total}, currency = {currency}, receipt_date = {day}"),
            )
        }
        Op::ReplaceImage { slot, image } => update(*slot, format!("image_url = {}", literal(name('i', *image)))),
        Op::SetStatus { slot, status: wanted } => update(*slot, format!("status = '{}'", status(*wanted))),
        Op::Delete { slot } => format!("DELETE FROM receipts WHERE id = '{}'", id(*slot)),
        Op::Expire { slot } => format!(
            "UPDATE receipt_queue SET available_at = clock_timestamp() WHERE receipt_id = '{}' AND NOT processed",
            id(*slot)
        ),
        _ => unreachable!("{op:?} is the host's"),
    }
}

fn leased(rows: Vec<Row>, leases: &Leases) -> Seen {
    let mut rows: Vec<_> = rows
        .iter()
        .map(|row| {
            let lease = Lease { job: row.get("id"), token: row.get("lease_token") };
            let receipt = String::from_utf8(row.get("receipt_id")).unwrap();
            (row.get::<_, SystemTime>("due_at"), lease, slot(&receipt))
        })
        .collect();
    // As the host deals them: the oldest first.
    rows.sort_unstable_by_key(|(due, lease, _)| (*due, lease.job));
    Seen::Leased(
        rows.into_iter()
            .map(|(_, lease, slot)| (slot, lease))
            .map(|(slot, lease)| (slot, leases.named(slot, lease)))
            .collect(),
    )
}

fn verdicts(rows: &[Row], tokens: &[i64]) -> Seen {
    let verdict = |token: &i64| {
        let row = rows.iter().find(|row| row.get::<_, i64>("token") == *token).unwrap();
        match (row.get("settled"), row.get("blocked")) {
            (true, _) => Verdict::Committed,
            (false, true) => Verdict::Blocked,
            (false, false) => Verdict::Lost,
        }
    };
    Seen::Verdicts(tokens.iter().map(verdict).collect())
}
