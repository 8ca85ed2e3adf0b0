//! What a run comes to: faults against outcomes.

use std::collections::BTreeMap;

use serde::Serialize;
use tokio_postgres::{Client, Error};

/// Faults that the proxies put into requests to one service.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct RequestFaults {
    /// Requests of any outcome.
    pub requests: u64,
    /// Answered late, up to 2.5 s.
    pub slow: u64,
    /// 500 or 503, before anything was done.
    pub broken: u64,
    /// "Not so fast", before anything was done.
    pub throttled: u64,
    /// Done, and half of the answer arrived.
    pub half: u64,
    /// Done, and the connection broke before the answer.
    pub lost: u64,
    /// Done, and never answered.
    pub never: u64,
}

/// Everything that was done to the system.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Faults {
    /// How long they lasted.
    pub seconds: f64,
    /// SIGKILL.
    pub kills: u64,
    /// SIGSTOP for longer than a lease.
    pub stops: u64,
    /// Hosts that could not start (their database or bucket was away) and were started again.
    pub failed_starts: u64,
    pub postgres_restarts: u64,
    pub postgres_crashes: u64,
    pub backends_terminated: u64,
    pub s3: RequestFaults,
    pub textract: RequestFaults,
    /// Components that trap, put in place of the good one.
    pub bad_guests: u64,
    /// What the hosts made of changed components, over all hosts.
    pub component_changes: BTreeMap<String, i64>,
    /// What people did meanwhile, as far as it found a receipt to be done to.
    pub deeds: BTreeMap<String, u64>,
}

/// What became of the receipts.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Outcomes {
    pub inserted: i64,
    pub done: i64,
    /// By the error's code.
    pub dead: BTreeMap<String, i64>,
    /// A status of the app's own.
    pub by_hand: i64,
    pub deleted: i64,
    /// Dead letters of a component on probation that its host took back when it ended; worked by the next host.
    pub put_back_in_the_end: i64,
    /// Neither done nor dead, nor taken care of by a person. Must be 0.
    pub lost: i64,
    /// Settled more than once. Must be 0.
    pub doubled: usize,
    /// Receipts by their attempts, done and dead.
    pub attempts: BTreeMap<i32, i64>,
    /// The most claims of one receipt.
    pub most_claims: i32,
}

/// What was paid.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Paid {
    /// OCR calls that reached the service.
    pub calls: u64,
    /// Photos that were read.
    pub photos: usize,
    /// Calls a photo that was read.
    pub calls_per_photo: f64,
    /// The most calls for one photo.
    pub most: u64,
    /// Answers that the faults took away after they were paid for: each is paid for again by right.
    pub answers_taken_away: u64,
    /// Calls for a photo whose artifact was there when the attempt began. Must be 0.
    pub wasted: usize,
}

/// Hosts that were stopped for longer than their leases, and woke up.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Zombies {
    pub woke: u64,
    /// Those that said in their log that they had lost a lease. (Who held none says nothing.)
    pub said_so: u64,
    /// Lines in all logs that say that a lease was lost, for whatever reason.
    pub leases_lost: u64,
}

/// What one run came to.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    pub seed: u64,
    pub hosts: usize,
    pub seconds: f64,
    pub faults: Faults,
    pub outcomes: Outcomes,
    pub paid: Paid,
    pub zombies: Zombies,
    /// Snapshots that were judged during the run.
    pub looks: u64,
    /// Broken invariants, and hosts that ended as they should not.
    pub violations: Vec<String>,
}

/// Counts what is in the database in the end.
pub async fn outcomes(client: &Client, inserted: i64) -> Result<Outcomes, Error> {
    let counts = "SELECT
            count(*) FILTER (WHERE status::text = 'ocr_done'),
            count(*) FILTER (WHERE status::text NOT IN ('pending', 'ocr_done', 'ocr_failed')),
            count(*) FILTER (WHERE status::text = 'pending'
                OR (status::text = 'ocr_failed'
                    AND NOT EXISTS (SELECT FROM receipt_queue_dlq d WHERE d.receipt_id = r.id))),
            count(*),
            (SELECT count(DISTINCT receipt) FROM witness.event WHERE event = 'gone')
        FROM receipts r";
    let row = client.query_one(counts, &[]).await?;
    let (present, deleted): (i64, i64) = (row.try_get(3)?, row.try_get(4)?);
    let vanished = inserted - present - deleted;
    let mut outcomes = Outcomes {
        inserted,
        done: row.try_get(0)?,
        by_hand: row.try_get(1)?,
        lost: row.try_get::<_, i64>(2)? + vanished,
        deleted,
        ..Outcomes::default()
    };
    // A person's own status on a dead receipt leaves its dead letter.
    let dead = "SELECT d.error_code, count(*) FROM receipt_queue_dlq d
        JOIN receipts r ON r.id = d.receipt_id WHERE r.status::text = 'ocr_failed' GROUP BY 1";
    for row in client.query(dead, &[]).await? {
        outcomes.dead.insert(row.try_get(0)?, row.try_get(1)?);
    }
    let attempts = "SELECT attempts, count(*), max(claims) FROM (
            SELECT attempts, claims FROM receipt_queue UNION ALL SELECT attempts, claims FROM receipt_queue_dlq
        ) AS settled GROUP BY 1";
    for row in client.query(attempts, &[]).await? {
        outcomes.attempts.insert(row.try_get(0)?, row.try_get(1)?);
        outcomes.most_claims = outcomes.most_claims.max(row.try_get(2)?);
    }
    Ok(outcomes)
}

/// What the hosts made of changed components, from their own ledger.
pub async fn component_changes(client: &Client) -> Result<BTreeMap<String, i64>, Error> {
    let rows = client.query("SELECT change, count(*) FROM receipt_component_changes GROUP BY 1", &[]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}
