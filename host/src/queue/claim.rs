//! Claiming: leases the oldest due jobs, starting at a low watermark.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row, Statement};

use super::{Job, Lease, QueueError, connect};

const CLAIM: &str = include_str!("sql/claim.sql");
const NEXT_DUE: &str = include_str!("sql/next_due.sql");
const HEARTBEAT: &str = include_str!("sql/heartbeat.sql");
const SPENT: &str = include_str!("sql/spent.sql");
const UNANSWERED: &str = include_str!("sql/unanswered.sql");

/// A job whose attempts are used up, to be settled as a dead letter.
pub struct Spent {
    pub lease: Lease,
    pub attempts: i32,
    pub last_error: Option<(String, String, String)>,
}

/// What a heartbeat did for a lease that is still ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// Renewed.
    Renewed,
    /// Somebody has the row locked; not renewed this time.
    Locked,
}

/// The connection that claims, with its statements prepared.
pub struct Claimer {
    client: Client,
    claim: Statement,
    next_due: Statement,
    heartbeat: Statement,
    spent: Statement,
    unanswered: Statement,
}

impl Claimer {
    pub async fn connect(database: &super::Database) -> Result<Self, QueueError> {
        let (client, _) = connect(database, || {}).await?;
        let prepare = async |sql: &str, types: &[Type]| {
            client.prepare_typed(sql, types).await.map_err(|error| QueueError::query("to prepare the claim", &error))
        };
        Ok(Self {
            claim: prepare(CLAIM, &[Type::INT8, Type::INT8, Type::TEXT, Type::INT4, Type::TIMESTAMPTZ]).await?,
            next_due: prepare(NEXT_DUE, &[]).await?,
            heartbeat: prepare(HEARTBEAT, &[Type::INT8_ARRAY, Type::INT8_ARRAY, Type::INT8]).await?,
            spent: prepare(SPENT, &[Type::INT4, Type::INT8]).await?,
            unanswered: prepare(UNANSWERED, &[Type::TEXT, Type::INT8, Type::INT8, Type::INT8_ARRAY]).await?,
            client,
        })
    }

    /// Leases up to `limit` jobs due at or after `floor`. Returns them oldest first, each with the time it was due.
    pub async fn claim(
        &self,
        limit: usize,
        lease: Duration,
        worker: &str,
        max_attempts: u32,
        floor: SystemTime,
    ) -> Result<Vec<(Job, SystemTime)>, QueueError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let attempts = i32::try_from(max_attempts).unwrap_or(i32::MAX);
        let rows = self
            .client
            .query(&self.claim, &[&limit, &millis(lease), &worker, &attempts, &floor])
            .await
            .map_err(|error| QueueError::query("the claim", &error))?;
        jobs(&rows, max_attempts)
    }

    /// What a claim of this worker leased that was sent so long ago and never answered: renewed, oldest first, and without
    /// the leases that are `known`.
    pub async fn unanswered(
        &self,
        since: Duration,
        lease: Duration,
        worker: &str,
        max_attempts: u32,
        known: &[i64],
    ) -> Result<Vec<(Job, SystemTime)>, QueueError> {
        let rows = self
            .client
            .query(&self.unanswered, &[&worker, &millis(lease), &millis(since), &known])
            .await
            .map_err(|error| QueueError::query("a look for an unanswered claim", &error))?;
        jobs(&rows, max_attempts)
    }

    /// How long until a job is due; none when nothing waits.
    pub async fn next_due(&self) -> Result<Option<Duration>, QueueError> {
        let row = self
            .client
            .query_opt(&self.next_due, &[])
            .await
            .map_err(|error| QueueError::query("a look at what is due next", &error))?;
        Ok(row
            .and_then(|row| row.try_get::<_, f64>(0).ok())
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()))
    }

    /// Renews leases; returns those that are still ours, by job.
    pub async fn heartbeat(&self, leases: &[Lease], lease: Duration) -> Result<BTreeMap<i64, Renewal>, QueueError> {
        let (ids, tokens): (Vec<i64>, Vec<i64>) = leases.iter().map(|lease| (lease.job, lease.token)).unzip();
        let rows = self
            .client
            .query(&self.heartbeat, &[&ids, &tokens, &millis(lease)])
            .await
            .map_err(|error| QueueError::query("the heartbeat", &error))?;
        rows.iter()
            .map(|row| {
                let renewal = if row.try_get("renewed")? { Renewal::Renewed } else { Renewal::Locked };
                Ok((row.try_get("id")?, renewal))
            })
            .collect::<Result<_, _>>()
            .map_err(|error| QueueError::query("the heartbeat", &error))
    }

    /// Jobs whose lease ended after their last attempt.
    pub async fn spent(&self, max_attempts: u32, limit: i64) -> Result<Vec<Spent>, QueueError> {
        let attempts = i32::try_from(max_attempts).unwrap_or(i32::MAX);
        let rows = self
            .client
            .query(&self.spent, &[&attempts, &limit])
            .await
            .map_err(|error| QueueError::query("a look for spent jobs", &error))?;
        rows.iter()
            .map(|row| {
                let kind: Option<String> = row.try_get("last_error_kind")?;
                let code: Option<String> = row.try_get("last_error_code")?;
                let message: Option<String> = row.try_get("last_error")?;
                Ok(Spent {
                    lease: Lease { job: row.try_get("id")?, token: row.try_get("lease_token")? },
                    attempts: row.try_get("attempts")?,
                    last_error: kind.zip(code).zip(message).map(|((kind, code), message)| (kind, code, message)),
                })
            })
            .collect::<Result<_, _>>()
            .map_err(|error| QueueError::query("a look for spent jobs", &error))
    }
}

fn jobs(rows: &[Row], max_attempts: u32) -> Result<Vec<(Job, SystemTime)>, QueueError> {
    let mut jobs = rows
        .iter()
        .map(|row| job(row, max_attempts))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| QueueError::query("the claim", &error))?;
    jobs.sort_by_key(|(job, due)| (*due, job.lease.job));
    Ok(jobs)
}

fn job(row: &Row, max_attempts: u32) -> Result<(Job, SystemTime), tokio_postgres::Error> {
    let attempts: i32 = row.try_get("attempts")?;
    let claims: i32 = row.try_get("claims")?;
    let job = Job {
        lease: Lease { job: row.try_get("id")?, token: row.try_get("lease_token")? },
        receipt_id: row.try_get("receipt_id")?,
        location: row.try_get("s3_key")?,
        attempt: u32::try_from(attempts).unwrap_or(1),
        max_attempts,
        claims: u32::try_from(claims).unwrap_or(1),
        alone: false,
        lost: Arc::new(AtomicBool::new(false)),
    };
    Ok((job, row.try_get("due_at")?))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
