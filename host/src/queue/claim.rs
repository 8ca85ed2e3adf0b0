//! Claiming: leases the oldest due jobs, starting at a low watermark.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::session::{Parameter, Session};
use super::{Database, Job, Lease, QueueError};

const CLAIM: &str = include_str!("sql/claim.sql");
const NEXT_DUE: &str = include_str!("sql/next_due.sql");
const SPENT: &str = include_str!("sql/spent.sql");
const UNANSWERED: &str = include_str!("sql/unanswered.sql");

/// A job whose attempts are used up, to be settled as a dead letter.
pub struct Spent {
    pub lease: Lease,
    pub attempts: i32,
    pub last_error: Option<(String, String, String)>,
}

/// The connection that claims.
pub struct Claimer {
    session: Session,
    /// When it was made, by the server's clock; none behind a pooler, where the server may have become another one since.
    since: Option<SystemTime>,
}

impl Claimer {
    pub async fn connect(database: &Database) -> Result<Self, QueueError> {
        let session = Session::connect(database).await?;
        if session.is_pooled().await? {
            return Ok(Self { session, since: None });
        }
        let what = "a look at its clock";
        let rows = session.query(what, "SELECT now()", &[]).await?;
        let since = rows.first().map(|row| row.try_get(0)).transpose();
        Ok(Self { session, since: since.map_err(|error| QueueError::query(what, &error))? })
    }

    /// Fails where the schema or this role's rights do not allow a claim.
    pub async fn check(&self) -> Result<(), QueueError> {
        let (zero, worker, floor) = (0_i64, "", SystemTime::UNIX_EPOCH);
        self.session
            .check(
                "to prepare the claim",
                CLAIM,
                &[
                    (&zero, Type::INT8),
                    (&zero, Type::INT8),
                    (&worker, Type::TEXT),
                    (&0_i32, Type::INT4),
                    (&floor, Type::TIMESTAMPTZ),
                ],
            )
            .await
    }

    /// Whether the server has ended the connection.
    pub fn is_closed(&self) -> bool {
        self.session.is_closed()
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
        let parameters: [Parameter<'_>; 5] = [
            (&limit, Type::INT8),
            (&millis(lease), Type::INT8),
            (&worker, Type::TEXT),
            (&attempts, Type::INT4),
            (&floor, Type::TIMESTAMPTZ),
        ];
        let rows = self.session.query("the claim", CLAIM, &parameters).await?;
        self.jobs(&rows, max_attempts)
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
        let parameters: [Parameter<'_>; 4] = [
            (&worker, Type::TEXT),
            (&millis(lease), Type::INT8),
            (&millis(since), Type::INT8),
            (&known, Type::INT8_ARRAY),
        ];
        let rows = self.session.query("a look for an unanswered claim", UNANSWERED, &parameters).await?;
        self.jobs(&rows, max_attempts)
    }

    /// How long until a job is due; none when nothing waits.
    pub async fn next_due(&self) -> Result<Option<Duration>, QueueError> {
        let rows = self.session.query("a look at what is due next", NEXT_DUE, &[]).await?;
        Ok(rows
            .first()
            .and_then(|row| row.try_get::<_, f64>(0).ok())
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()))
    }

    /// Jobs whose lease ended after their last attempt.
    pub async fn spent(&self, max_attempts: u32, limit: i64) -> Result<Vec<Spent>, QueueError> {
        let attempts = i32::try_from(max_attempts).unwrap_or(i32::MAX);
        let parameters: [Parameter<'_>; 2] = [(&attempts, Type::INT4), (&limit, Type::INT8)];
        let rows = self.session.query("a look for spent jobs", SPENT, &parameters).await?;
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

    fn jobs(&self, rows: &[Row], max_attempts: u32) -> Result<Vec<(Job, SystemTime)>, QueueError> {
        let mut jobs = rows
            .iter()
            .map(|row| job(row, max_attempts, self.since))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| QueueError::query("the claim", &error))?;
        jobs.sort_by_key(|(job, due)| (*due, job.lease.job));
        Ok(jobs)
    }
}

fn job(row: &Row, max_attempts: u32, since: Option<SystemTime>) -> Result<(Job, SystemTime), tokio_postgres::Error> {
    let attempts: i32 = row.try_get("attempts")?;
    let claims: i32 = row.try_get("claims")?;
    let enqueued_at: SystemTime = row.try_get("enqueued_at")?;
    let age: Option<f64> = row.try_get("age_seconds")?;
    let job = Job {
        lease: Lease { job: row.try_get("id")?, token: row.try_get("lease_token")? },
        receipt_id: row.try_get("receipt_id")?,
        location: row.try_get("s3_key")?,
        attempt: u32::try_from(attempts).unwrap_or(1),
        max_attempts,
        claims: u32::try_from(claims).unwrap_or(1),
        // By the database's clock, and from here on by ours: the two need not agree on the time of day.
        age: age.map_or(Duration::MAX, |age| Duration::try_from_secs_f64(age).unwrap_or_default()),
        claimed_at: Instant::now(),
        enqueued_before: since.is_none_or(|since| enqueued_at <= since),
        alone: false,
        lost: Arc::new(AtomicBool::new(false)),
    };
    Ok((job, row.try_get("due_at")?))
}

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
