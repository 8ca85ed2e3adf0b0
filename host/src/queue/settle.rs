//! Settling: what became of jobs, written in batches, one statement (hence one transaction) for a kind of outcome.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Statement};

use super::{Database, Lease, QueueError, connect};
use crate::failure::Failure;

const COMPLETE: &str = include_str!("sql/complete.sql");
const RETRY: &str = include_str!("sql/retry.sql");
const DEAD_LETTER: &str = include_str!("sql/dead_letter.sql");
const SETTLED_BEFORE: &str = include_str!("sql/settled_before.sql");

/// What was read from a receipt, as the database takes it.
#[derive(Debug, Clone, Default)]
pub struct Completion {
    /// Who was paid.
    pub vendor: Option<String>,
    /// A decimal number.
    pub total: Option<String>,
    /// ISO 4217.
    pub currency: Option<String>,
    /// ISO 8601.
    pub date: Option<String>,
    /// 0 to 100.
    pub confidence: f64,
    /// Key of the OCR artifact.
    pub artifact_key: String,
}

/// What becomes of a job.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Done.
    Complete(Completion),
    /// Back to the queue, invisible for a while.
    Retry {
        /// How long it stays invisible.
        delay: Duration,
        /// Whether the attempt counts.
        charge: bool,
        /// Why; none for a job that was given back without having been worked.
        failure: Option<Failure>,
    },
    /// Given up.
    DeadLetter {
        /// Why.
        failure: Failure,
        /// For people: "permanent failure", "max attempts exceeded".
        notes: &'static str,
    },
}

impl Outcome {
    /// For the log.
    pub(super) fn doing(&self) -> &'static str {
        match self {
            Self::Complete(_) => "completing",
            Self::Retry { failure: Some(_), .. } => "retrying",
            Self::Retry { failure: None, .. } => "giving back",
            Self::DeadLetter { .. } => "dead-lettering",
        }
    }
}

/// How many jobs ended how, as committed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Completed.
    pub processed: u64,
    /// Put back after a failure.
    pub retried: u64,
    /// Moved to the dead letters.
    pub dead: u64,
    /// Taken away meanwhile: lease lost, receipt deleted, image replaced.
    pub lost: u64,
    /// Given back unworked.
    pub released: u64,
}

/// What the database said to one settle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Committed.
    Committed,
    /// The lease is lost; nothing was changed.
    LeaseLost,
    /// Someone else has the receipt locked; to be tried again.
    Blocked,
}

/// The verdicts on a batch. By lease, for a batch can hold two leases of one job; and by kind of outcome, for it can hold
/// two outcomes of one lease (settled, and given back by a drain).
#[derive(Debug, Default)]
pub struct Verdicts {
    complete: BTreeMap<Lease, Verdict>,
    retry: BTreeMap<Lease, Verdict>,
    dead_letter: BTreeMap<Lease, Verdict>,
}

impl Verdicts {
    /// The verdict on one settle.
    pub fn of(&self, entry: &Entry) -> Option<Verdict> {
        let kind = match &entry.outcome {
            Outcome::Complete(_) => &self.complete,
            Outcome::Retry { .. } => &self.retry,
            Outcome::DeadLetter { .. } => &self.dead_letter,
        };
        kind.get(&entry.lease).copied()
    }
}

/// One settle to be written.
#[derive(Debug, Clone)]
pub struct Entry {
    pub lease: Lease,
    pub outcome: Outcome,
    pub component: Option<String>,
}

/// The connection that settles, with its statements prepared.
pub struct Writer {
    client: Client,
    complete: Statement,
    retry: Statement,
    dead_letter: Statement,
    settled_before: Statement,
}

impl Writer {
    pub async fn connect(database: &Database) -> Result<Self, QueueError> {
        let (client, _) = connect(database, || {}).await?;
        let prepare = async |sql: &str, types: &[Type]| {
            client.prepare_typed(sql, types).await.map_err(|error| QueueError::query("to prepare the settle", &error))
        };
        const IDS: [Type; 2] = [Type::INT8_ARRAY, Type::INT8_ARRAY];
        let typed = |rest: &[Type]| [&IDS, rest].concat();
        const TEXT: Type = Type::TEXT_ARRAY;
        let complete = typed(&[TEXT, TEXT, TEXT, TEXT, Type::FLOAT8_ARRAY, TEXT, TEXT]);
        let retry = typed(&[Type::INT8_ARRAY, Type::BOOL_ARRAY, TEXT, TEXT, TEXT, TEXT]);
        let dead_letter = typed(&[TEXT, TEXT, TEXT, TEXT, TEXT]);
        Ok(Self {
            complete: prepare(COMPLETE, &complete).await?,
            retry: prepare(RETRY, &retry).await?,
            dead_letter: prepare(DEAD_LETTER, &dead_letter).await?,
            settled_before: prepare(SETTLED_BEFORE, &IDS).await?,
            client,
        })
    }

    /// Writes a batch. The kinds of outcome are pipelined: three statements cost one round trip.
    pub async fn write(&self, entries: &[Entry]) -> Result<Verdicts, QueueError> {
        let (complete, retry, dead_letter) =
            tokio::join!(self.complete(entries), self.retry(entries), self.dead_letter(entries));
        Ok(Verdicts { complete: complete?, retry: retry?, dead_letter: dead_letter? })
    }

    /// The tokens of those that were committed by an earlier try whose reply was lost.
    pub async fn settled_before(&self, entries: &[Entry]) -> Result<Vec<i64>, QueueError> {
        let (ids, tokens) = keys(entries.iter());
        let rows = self
            .client
            .query(&self.settled_before, &[&ids, &tokens])
            .await
            .map_err(|error| QueueError::query("a look at what was settled", &error))?;
        Ok(rows.iter().filter_map(|row| row.try_get(0).ok()).collect())
    }

    async fn complete(&self, entries: &[Entry]) -> Result<BTreeMap<Lease, Verdict>, QueueError> {
        let of_kind = entries.iter().filter_map(|entry| match &entry.outcome {
            Outcome::Complete(completion) => Some((entry, completion)),
            _ => None,
        });
        let (entries, completions): (Vec<&Entry>, Vec<&Completion>) = of_kind.unzip();
        if entries.is_empty() {
            return Ok(BTreeMap::new());
        }
        let (ids, tokens) = keys(entries.iter().copied());
        let text = |field: fn(&Completion) -> Option<&str>| -> Vec<Option<&str>> {
            completions.iter().map(|completion| field(completion)).collect()
        };
        let rows = self
            .client
            .query(
                &self.complete,
                &[
                    &ids,
                    &tokens,
                    &text(|completion| completion.vendor.as_deref()),
                    &text(|completion| completion.total.as_deref()),
                    &text(|completion| completion.currency.as_deref()),
                    &text(|completion| completion.date.as_deref()),
                    &completions.iter().map(|completion| completion.confidence).collect::<Vec<_>>(),
                    &text(|completion| Some(&completion.artifact_key)),
                    &components(&entries),
                ],
            )
            .await
            .map_err(|error| QueueError::query("to settle completed jobs", &error))?;
        for row in &rows {
            if row.try_get("edited").unwrap_or(false) {
                let job: i64 = row.try_get("job_id").unwrap_or_default();
                tracing::info!(job, "a person edited the receipt meanwhile; their values stay");
            }
        }
        verdicts(&rows)
    }

    async fn retry(&self, entries: &[Entry]) -> Result<BTreeMap<Lease, Verdict>, QueueError> {
        let mut of_kind = Vec::new();
        let (mut delays, mut charges, mut kinds, mut codes, mut messages) = (vec![], vec![], vec![], vec![], vec![]);
        for entry in entries {
            let Outcome::Retry { delay, charge, failure } = &entry.outcome else { continue };
            of_kind.push(entry);
            delays.push(i64::try_from(delay.as_millis()).unwrap_or(i64::MAX / 2));
            charges.push(*charge);
            kinds.push(failure.as_ref().map(|failure| failure.kind.as_str()));
            codes.push(failure.as_ref().map(|failure| failure.code.as_str()));
            messages.push(failure.as_ref().map(|failure| failure.message.as_str()));
        }
        if of_kind.is_empty() {
            return Ok(BTreeMap::new());
        }
        let (ids, tokens) = keys(of_kind.iter().copied());
        let components = components(&of_kind);
        let rows = self
            .client
            .query(&self.retry, &[&ids, &tokens, &delays, &charges, &kinds, &codes, &messages, &components])
            .await
            .map_err(|error| QueueError::query("to put jobs back", &error))?;
        verdicts(&rows)
    }

    async fn dead_letter(&self, entries: &[Entry]) -> Result<BTreeMap<Lease, Verdict>, QueueError> {
        let mut of_kind = Vec::new();
        let (mut kinds, mut codes, mut messages, mut remarks) = (vec![], vec![], vec![], vec![]);
        for entry in entries {
            let Outcome::DeadLetter { failure, notes } = &entry.outcome else { continue };
            of_kind.push(entry);
            kinds.push(failure.kind.as_str());
            codes.push(failure.code.as_str());
            messages.push(failure.message.as_str());
            remarks.push(*notes);
        }
        if of_kind.is_empty() {
            return Ok(BTreeMap::new());
        }
        let (ids, tokens) = keys(of_kind.iter().copied());
        let components = components(&of_kind);
        let rows = self
            .client
            .query(&self.dead_letter, &[&ids, &tokens, &kinds, &codes, &messages, &components, &remarks])
            .await
            .map_err(|error| QueueError::query("to dead-letter jobs", &error))?;
        verdicts(&rows)
    }
}

fn keys<'a>(entries: impl Iterator<Item = &'a Entry>) -> (Vec<i64>, Vec<i64>) {
    entries.map(|entry| (entry.lease.job, entry.lease.token)).unzip()
}

fn components<'a>(entries: &[&'a Entry]) -> Vec<Option<&'a str>> {
    entries.iter().map(|entry| entry.component.as_deref()).collect()
}

fn verdicts(rows: &[tokio_postgres::Row]) -> Result<BTreeMap<Lease, Verdict>, QueueError> {
    rows.iter()
        .map(|row| {
            let (settled, blocked): (bool, bool) = (row.try_get("settled")?, row.try_get("blocked")?);
            let verdict = match (settled, blocked) {
                (true, _) => Verdict::Committed,
                (false, true) => Verdict::Blocked,
                (false, false) => Verdict::LeaseLost,
            };
            Ok((Lease { job: row.try_get("job_id")?, token: row.try_get("token")? }, verdict))
        })
        .collect::<Result<_, _>>()
        .map_err(|error| QueueError::query("to settle", &error))
}
