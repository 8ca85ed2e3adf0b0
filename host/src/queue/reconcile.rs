//! Reconciling: receipts that are pending and that nothing will ever work, because they came by a way on which no trigger
//! fires (replication, a restore, a disabled trigger), are found by walking the table in slices, and queued.

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use super::text::{Queryable, Text};
use super::{Connection, Database, QueueError};

/// Receipts that one statement looks at.
const SLICE: i32 = 1000;
/// The pause after a slice is so many times what the slice took: the walk has at most a fifth of one connection.
const PAUSE: u32 = 4;
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
/// A pass that failed is tried again no sooner.
const AFTER_A_FAILURE: Duration = Duration::from_secs(300);

/// What a walk has come to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Reconciled {
    /// Receipts looked at.
    pub looked: u64,
    /// Pending, and nothing would ever have worked them.
    pub stranded: u64,
    /// Of these, queued now.
    pub queued: u64,
    /// Of these, refused by the database.
    pub failed: u64,
    /// Pending beside a dead letter that died more than once: left to a person.
    pub dead: u64,
    /// Whether all receipts were looked at.
    pub complete: bool,
    /// Why the first of those that failed did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Reconciled {
    /// What `host status` and `host doctor` say of it; nothing where nothing is stranded.
    pub fn notice(&self) -> Option<String> {
        let (stranded, dead) = (self.stranded, self.dead);
        let among = if self.complete { String::new() } else { format!(" among the newest {}", self.looked) };
        match (stranded, dead) {
            (0, 0) => None,
            (_, 0) => Some(format!(
                "{stranded} receipts{among} are pending and were never queued: host reconcile queues them"
            )),
            (0, _) => Some(format!(
                "{dead} receipts{among} are pending and dead letters: host dlq retry, or host dlq discard"
            )),
            _ => Some(format!(
                "{stranded} receipts{among} are pending and were never queued (host reconcile queues them), and {dead} are \
                 pending and dead letters (host dlq retry)"
            )),
        }
    }
}

/// Walks all receipts from the first to the last, and queues what is stranded, or (with `repair` off) only counts it; `heard`
/// is told of each slice.
pub async fn walk(
    client: &impl Connection,
    repair: bool,
    heard: impl Fn(&Reconciled),
) -> Result<Reconciled, QueueError> {
    let mut found = Reconciled::default();
    let mut after = None;
    loop {
        let begun = Instant::now();
        after = slice(client, after, false, repair, &mut found).await?;
        heard(&found);
        if after.is_none() {
            found.complete = true;
            return Ok(found);
        }
        tokio::time::sleep((begun.elapsed()).max(SHORTEST_PAUSE)).await;
    }
}

/// Counts, from the newest receipts back, for so long.
pub async fn glance(client: &impl Connection, timeout: Duration) -> Result<Reconciled, QueueError> {
    let begun = Instant::now();
    let mut found = Reconciled::default();
    let mut after = None;
    while found.looked == 0 || begun.elapsed() < timeout {
        after = slice(client, after, true, false, &mut found).await?;
        if after.is_none() {
            found.complete = true;
            break;
        }
    }
    Ok(found)
}

/// Looks at the receipts behind this one. Returns the last of them, or nothing at the end.
async fn slice(
    client: &impl Connection,
    after: Option<Vec<u8>>,
    newest_first: bool,
    repair: bool,
    found: &mut Reconciled,
) -> Result<Option<Vec<u8>>, QueueError> {
    let problem = |error: tokio_postgres::Error| QueueError::query("to reconcile receipts and queue", &error);
    let sql = "SELECT looked::bigint, stranded::bigint, queued::bigint, failed::bigint, dead::bigint,
                   convert_to(last, getdatabaseencoding()) AS last,
                   convert_to(problem, getdatabaseencoding()) AS problem,
                   getdatabaseencoding()::text AS encoding
               FROM public.receipt_queue_reconcile(convert_from($1, getdatabaseencoding()), $2, $3, $4)";
    let row = client
        .query_typed_one(
            sql,
            &[(&after, Type::BYTEA), (&SLICE, Type::INT4), (&newest_first, Type::BOOL), (&repair, Type::BOOL)],
        )
        .await
        .map_err(problem)?;
    let counts = [&mut found.looked, &mut found.stranded, &mut found.queued, &mut found.failed, &mut found.dead];
    for (place, count) in counts.into_iter().enumerate() {
        let more: i64 = row.try_get(place).map_err(problem)?;
        *count += u64::try_from(more).unwrap_or(0);
    }
    found.problem = found.problem.take().or(why(client, &row).await?);
    row.try_get(5).map_err(problem)
}

/// It may name a receipt whose id is no text.
async fn why(client: &impl Connection, row: &Row) -> Result<Option<String>, QueueError> {
    let texts = Queryable::Client(client).columns(std::slice::from_ref(row), ["problem"]).await?;
    Ok(texts.into_iter().flatten().flatten().next().map(Text::shown))
}

/// What a step of the pass that all hosts share has come to.
enum Step {
    /// There is more to look at.
    More,
    /// It was the last one.
    Ended(Reconciled),
    /// Nothing to be done for so long: the next pass is not due, or another host is at it.
    Wait(Duration),
}

/// Does what a host does beside its work: a pass through the receipts whenever one is due, over all hosts of this database.
/// Ends never; a failure is told once, and tried again later.
pub async fn run(database: Database, worker: String, every: Duration) {
    let mut told = None;
    loop {
        // A connection of its own, for as long as it takes: most of the time there is nothing to do.
        let passed = match database.connect_checked().await {
            Ok(client) => pass(&client, &worker, every, None).await,
            Err(error) => Err(error),
        };
        let pause = match passed {
            Ok(pause) => {
                told = None;
                pause
            }
            Err(error) => {
                let why = explained(&error);
                if told.as_ref() != Some(&why) {
                    tracing::warn!(
                        name: "reconcile.failed",
                        ?every,
                        "receipts and queue cannot be reconciled: {why}"
                    );
                    told = Some(why);
                }
                every.max(AFTER_A_FAILURE)
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// As [`run`] does, once, and for no longer than this.
pub async fn run_for(database: &Database, worker: &str, every: Duration, timeout: Duration) {
    // A database that cannot be reached is for others to tell.
    let Ok(client) = database.connect_checked().await else { return };
    if let Err(error) = pass(&client, worker, every, Some(Instant::now() + timeout)).await {
        let why = explained(&error);
        tracing::warn!(name: "reconcile.failed", ?every, "receipts and queue cannot be reconciled: {why}");
    }
}

/// Steps until the pass has ended, another host has it, or time is up. Returns how long to wait for the next one.
async fn pass(
    client: &impl Connection,
    worker: &str,
    every: Duration,
    until: Option<Instant>,
) -> Result<Duration, QueueError> {
    loop {
        let begun = Instant::now();
        match step(client, worker, every).await? {
            Step::Wait(pause) => return Ok(pause),
            Step::Ended(Reconciled { looked, queued, failed, dead, problem, .. }) => {
                let problem = problem.unwrap_or_default();
                match (queued, failed) {
                    (0, 0) => tracing::debug!(
                        name: "reconcile.finished",
                        looked,
                        dead,
                        "receipts and queue were reconciled"
                    ),
                    (_, 0) => tracing::warn!(
                        name: "reconcile.queued",
                        looked,
                        queued,
                        dead,
                        "receipts were pending and in no queue; they are queued now"
                    ),
                    _ => tracing::warn!(
                        name: "reconcile.stuck",
                        looked,
                        queued,
                        failed,
                        dead,
                        problem,
                        "receipts are pending and cannot be queued"
                    ),
                }
            }
            Step::More if until.is_some_and(|until| Instant::now() >= until) => return Ok(Duration::ZERO),
            Step::More => {}
        }
        let pause = begun.elapsed().saturating_mul(PAUSE).max(SHORTEST_PAUSE);
        // In one pass over the queue nobody waits for it.
        tokio::time::sleep(if until.is_some() { SHORTEST_PAUSE } else { pause }).await;
    }
}

async fn step(client: &impl Connection, worker: &str, every: Duration) -> Result<Step, QueueError> {
    let problem = |error: tokio_postgres::Error| QueueError::query("to reconcile receipts and queue", &error);
    let sql = "SELECT state, wait, looked, queued, failed, dead,
                   convert_to(problem, getdatabaseencoding()) AS problem, getdatabaseencoding()::text AS encoding
               FROM public.receipt_queue_reconcile_step($1, $2::float8 * interval '1 second', $3)";
    let row = client
        .query_typed_one(sql, &[(&worker, Type::TEXT), (&every.as_secs_f64(), Type::FLOAT8), (&SLICE, Type::INT4)])
        .await
        .map_err(problem)?;
    let count = |place: usize| -> Result<u64, QueueError> {
        let count: Option<i64> = row.try_get(place).map_err(problem)?;
        Ok(u64::try_from(count.unwrap_or(0)).unwrap_or(0))
    };
    let state: String = row.try_get(0).map_err(problem)?;
    Ok(match state.as_str() {
        "more" => Step::More,
        "ended" => Step::Ended(Reconciled {
            looked: count(2)?,
            stranded: count(3)? + count(4)?,
            queued: count(3)?,
            failed: count(4)?,
            dead: count(5)?,
            complete: true,
            problem: why(client, &row).await?,
        }),
        _ => {
            let wait: f64 = row.try_get(1).map_err(problem)?;
            Step::Wait(
                Duration::try_from_secs_f64(wait)
                    .unwrap_or(every)
                    .clamp(Duration::from_secs(1), every.max(Duration::from_secs(1))),
            )
        }
    })
}

/// A role of before has no right to it yet.
fn explained(error: &QueueError) -> String {
    match error {
        QueueError::Query { code: Some(code), .. } if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
            format!("{error}; host doctor says what is missing, and host rights grants it")
        }
        _ => error.to_string(),
    }
}
