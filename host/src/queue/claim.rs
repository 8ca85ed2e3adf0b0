//! Claiming: leases the oldest due jobs, starting at a low watermark.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::due::Due;
use super::lane::Statements;
use super::session::{Parameter, Session};
use super::text::{Queryable, Text};
use super::{Client, Job, Lease, QueueError};
use crate::failure::{Failure, FailureKind};

const CLAIM: &str = include_str!("sql/claim.sql");
const NEXT_DUE: &str = include_str!("sql/next_due.sql");
const EXHAUSTED: &str = include_str!("sql/exhausted.sql");
const UNANSWERED: &str = include_str!("sql/unanswered.sql");

/// A job whose attempts are used up, to be settled as a dead letter.
pub struct Exhausted {
    pub lease: Lease,
    pub attempts: u32,
    pub last_error: Option<(String, String, String)>,
}

/// The statements that claim.
pub struct Claimer {
    session: Session,
    /// When it was made, by the server's clock; none behind a pooler, where the server may have become another one since.
    since: Option<SystemTime>,
    clock: Clock,
}

/// The server's time when it was asked, and ours before that.
#[derive(Clone, Copy)]
pub struct Clock {
    server: SystemTime,
    asked: Instant,
}

impl Clock {
    /// The server's time now, or a little later.
    pub fn now(self) -> SystemTime {
        self.server.checked_add(self.asked.elapsed()).unwrap_or(self.server)
    }
}

impl Statements for Claimer {
    async fn on(session: Session) -> Result<Self, QueueError> {
        let (what, asked) = ("a look at its clock", Instant::now());
        let problem = |error: tokio_postgres::Error| QueueError::query(what, &error);
        let rows = session.query(what, "SELECT now()", &[]).await?;
        let server = rows.first().map(|row| row.try_get(0)).transpose().map_err(problem)?;
        let clock = Clock { server: server.unwrap_or_else(SystemTime::now), asked };
        let since = if session.is_pooled().await? { None } else { server };
        Ok(Self { session, since, clock })
    }

    fn session(&self) -> &Session {
        &self.session
    }

    async fn check(&self) -> Result<(), QueueError> {
        let (zero, worker, floor) = (0_i64, "", Due::Always);
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
}

impl Claimer {
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Leases up to `limit` jobs due at or after `floor`. Returns them oldest first, each with the time it was due.
    pub async fn claim(
        &self,
        limit: usize,
        lease: Duration,
        worker: &str,
        max_attempts: u32,
        floor: Due,
    ) -> Result<Vec<(Job, Due)>, QueueError> {
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
        self.jobs(&rows, max_attempts).await
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
    ) -> Result<Vec<(Job, Due)>, QueueError> {
        let parameters: [Parameter<'_>; 4] = [
            (&worker, Type::TEXT),
            (&millis(lease), Type::INT8),
            (&millis(since), Type::INT8),
            (&known, Type::INT8_ARRAY),
        ];
        let rows = self.session.query("a look for an unanswered claim", UNANSWERED, &parameters).await?;
        self.jobs(&rows, max_attempts).await
    }

    /// How long until a job is due; none when nothing waits that will ever be.
    pub async fn next_due(&self) -> Result<Option<Duration>, QueueError> {
        let rows = self.session.query("a look at what is due next", NEXT_DUE, &[]).await?;
        Ok(rows
            .first()
            .and_then(|row| row.try_get::<_, f64>(0).ok())
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()))
    }

    /// Jobs whose lease ended after their last attempt.
    pub async fn exhausted(&self, max_attempts: u32, limit: i64) -> Result<Vec<Exhausted>, QueueError> {
        let attempts = i32::try_from(max_attempts).unwrap_or(i32::MAX);
        let parameters: [Parameter<'_>; 2] = [(&attempts, Type::INT4), (&limit, Type::INT8)];
        let rows = self.session.query("a look for exhausted jobs", EXHAUSTED, &parameters).await?;
        let columns = ["last_error_kind", "last_error_code", "last_error"];
        let texts = Queryable::<Client>::Session(&self.session).columns(&rows, columns).await?;
        rows.iter()
            .zip(texts)
            .map(|(row, texts)| {
                let [kind, code, message] = texts.map(|text| text.map(Text::shown));
                Ok(Exhausted {
                    lease: Lease { job: row.try_get("id")?, token: row.try_get("lease_token")? },
                    attempts: u32::try_from(row.try_get::<_, i32>("attempts")?).unwrap_or_default(),
                    last_error: kind.zip(code).zip(message).map(|((kind, code), message)| (kind, code, message)),
                })
            })
            .collect::<Result<_, _>>()
            .map_err(|error| QueueError::query("a look for exhausted jobs", &error))
    }

    async fn jobs(&self, rows: &[Row], max_attempts: u32) -> Result<Vec<(Job, Due)>, QueueError> {
        let problem = |error: tokio_postgres::Error| QueueError::query("the claim", &error);
        let texts = Queryable::<Client>::Session(&self.session).columns(rows, ["receipt_id", "s3_key"]).await?;
        let jobs: Result<Vec<_>, _> =
            rows.iter().zip(texts).map(|(row, [id, key])| job(row, id, key, max_attempts, self.since)).collect();
        let mut jobs = jobs.map_err(problem)?;
        jobs.sort_by_key(|(job, due)| (*due, job.lease.job));
        Ok(jobs)
    }
}

fn job(
    row: &Row,
    id: Option<Text>,
    key: Option<Text>,
    max_attempts: u32,
    since: Option<SystemTime>,
) -> Result<(Job, Due), tokio_postgres::Error> {
    let attempts: i32 = row.try_get("attempts")?;
    let claims: i32 = row.try_get("claims")?;
    let enqueued_at: Due = row.try_get("enqueued_at")?;
    let age: Option<f64> = row.try_get("age_seconds")?;
    // The column is not null.
    let id = id.unwrap_or(Text::Readable(String::new()));
    let job = Job {
        lease: Lease { job: row.try_get("id")?, token: row.try_get("lease_token")? },
        location: location(&id, key),
        receipt_id: id.shown(),
        attempt: u32::try_from(attempts).unwrap_or(1),
        max_attempts,
        claims: u32::try_from(claims).unwrap_or(1),
        // By the database's clock, and from here on by ours: the two need not agree on the time of day.
        age: age.map_or(Duration::MAX, |age| Duration::try_from_secs_f64(age).unwrap_or_default()),
        claimed_at: Instant::now(),
        enqueued_before: since.is_none_or(|since| enqueued_at <= Due::At(since)),
        alone: false,
        lost: Arc::new(AtomicBool::new(false)),
    };
    Ok((job, row.try_get("due_at")?))
}

/// Where the image is; a failure where what says so, or whose it is, is no text.
fn location(id: &Text, key: Option<Text>) -> Result<Option<String>, Failure> {
    let unreadable = |code: &str, what: &str, shown: &str| {
        let why = format!("the receipt's {what} is no text in the database's encoding, nor in UTF-8: {shown}");
        Err(Failure::new(FailureKind::BadLocation, code, why))
    };
    match (id, key) {
        (Text::Unreadable(id), _) => unreadable("queue.UnreadableId", "id", id),
        (_, Some(Text::Unreadable(key))) => unreadable("image.UnreadableKey", "image_url or s3_key", &key),
        (_, key) => Ok(key.map(Text::shown)),
    }
}

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
