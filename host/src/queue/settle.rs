//! Settling: what became of jobs, written in batches, one statement (hence one transaction) for a kind of outcome.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Once;
use std::time::Duration;

use futures_util::FutureExt;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::client::{Encoding, Transaction};
use super::columns::{Completed, Dead, Leases, PutBack};
use super::lane::Statements;
use super::outcome::{JobOutcome, SettleEntry};
use super::session::{Parameter, Session, Within};
use super::{Connection, Lease, QueueError};

const COMPLETE: &str = include_str!("sql/complete.sql");
const RETRY: &str = include_str!("sql/retry.sql");
const DEAD_LETTER: &str = include_str!("sql/dead_letter.sql");
const CHANGEABLE: &str = include_str!("sql/changeable.sql");
const SETTLED_BEFORE: &str = include_str!("sql/settled_before.sql");

const PREPARING: &str = "to prepare the settle";
const PREPARING_TO_GIVE_UP: &str = "to prepare the settle of a receipt that is given up";

/// What the database said to one settle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettleVerdict {
    /// Committed.
    Committed,
    /// The lease is lost; nothing was changed.
    LeaseLost,
    /// Someone else has the receipt locked; to be tried again.
    Blocked,
    /// The lease is ours, and row-level security hides the receipt from this role, or lets nothing of it be changed.
    Hidden,
}

/// The verdicts on a batch. By lease, for a batch can hold two leases of one job; and by kind of outcome, for it can hold
/// two outcomes of one lease (settled, and given back by a drain).
#[derive(Debug, Default)]
pub struct SettleVerdicts {
    complete: BTreeMap<Lease, SettleVerdict>,
    retry: BTreeMap<Lease, SettleVerdict>,
    dead_letter: BTreeMap<Lease, SettleVerdict>,
}

impl SettleVerdicts {
    /// The verdict on one settle.
    pub fn of(&self, entry: &SettleEntry) -> Option<SettleVerdict> {
        let kind = match &entry.outcome {
            JobOutcome::Complete(_) => &self.complete,
            JobOutcome::Retry { .. } => &self.retry,
            JobOutcome::DeadLetter { .. } => &self.dead_letter,
        };
        kind.get(&entry.lease).copied()
    }
}

/// The statements that settle.
pub struct Writer {
    session: Session,
}

/// That the app has words of its own is said once.
static REWORDED: Once = Once::new();

impl Statements for Writer {
    async fn on(session: Session) -> Result<Self, QueueError> {
        Ok(Self { session })
    }

    fn session(&self) -> &Session {
        &self.session
    }

    async fn check(&self) -> Result<(), QueueError> {
        let (completed, put_back, dead) = (Completed::default(), PutBack::default(), Dead::default());
        self.session.check(PREPARING, COMPLETE, &completed.parameters()).await?;
        self.session.check(PREPARING, RETRY, &put_back.parameters()).await?;
        self.session.check(PREPARING_TO_GIVE_UP, DEAD_LETTER, &dead.parameters()).await
    }
}

impl Writer {
    /// Writes a batch. The kinds of outcome are pipelined: three statements cost one round trip.
    /// Each statement is cancelled after `limit`, or `unless` something happens before.
    pub async fn write(
        &self,
        entries: &[SettleEntry],
        limit: Duration,
        unless: impl Future<Output = ()> + Send,
    ) -> Result<SettleVerdicts, QueueError> {
        let until = async {
            tokio::select! {
                () = tokio::time::sleep(limit) => {}
                () = unless => {}
            }
        }
        .shared();
        let within = |until| Within { limit, until };
        let entries = &*self.fitting(entries);
        let (completed, put_back, dead) = (Completed::of(entries), PutBack::of(entries), Dead::of(entries));
        let (complete, retry, dead_letter) = tokio::join!(
            self.settle(
                "to settle completed jobs",
                COMPLETE,
                &completed.leases,
                completed.parameters(),
                within(until.clone())
            ),
            self.settle("to put jobs back", RETRY, &put_back.leases, put_back.parameters(), within(until.clone())),
            self.settle("to dead-letter jobs", DEAD_LETTER, &dead.leases, dead.parameters(), within(until.clone())),
        );
        Ok(SettleVerdicts { complete: complete?, retry: retry?, dead_letter: dead_letter? })
    }

    /// The tokens of those that were committed by an earlier try whose reply was lost.
    pub async fn settled_before(&self, entries: &[SettleEntry]) -> Result<BTreeSet<i64>, QueueError> {
        let mut leases = Leases::default();
        entries.iter().for_each(|entry| leases.push(entry));
        let parameters = [(&leases.jobs as _, Type::INT8_ARRAY), (&leases.tokens as _, Type::INT8_ARRAY)];
        let rows = self.session.query("a look at what was settled", SETTLED_BEFORE, &parameters).await?;
        Ok(rows.iter().filter_map(|row| row.try_get(0).ok()).collect())
    }

    /// Whether row-level security lets this role see the receipt of a job, and not change it. A receipt that is locked this
    /// moment may be changed.
    pub async fn is_read_only(&self, job: i64) -> Result<bool, QueueError> {
        match self.session.query("a look at a locked receipt", CHANGEABLE, &[(&job, Type::INT8)]).await {
            Ok(rows) => Ok(rows.is_empty()),
            Err(error) if error.is_locked() => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn settle<const N: usize>(
        &self,
        what: &'static str,
        sql: &str,
        leases: &Leases<'_>,
        parameters: [Parameter<'_>; N],
        within: Within<impl Future<Output = ()> + Send>,
    ) -> Result<BTreeMap<Lease, SettleVerdict>, QueueError> {
        if leases.jobs.is_empty() {
            return Ok(BTreeMap::new());
        }
        let rows = self.session.query_within(what, sql, &parameters, within).await?;
        for row in &rows {
            if row.try_get("edited").unwrap_or(false) {
                let job: i64 = row.try_get("job_id").unwrap_or_default();
                tracing::info!(
                    name: "receipt.edited_meanwhile",
                    job,
                    "a person edited the receipt meanwhile; their values stay"
                );
            }
            if row.try_get("reworded").unwrap_or(false) {
                REWORDED.call_once(|| {
                    tracing::info!(
                        name: "receipt.reworded",
                        "a trigger of the app's, or a column's type, gives a receipt's status, vendor or currency other words \
                         than the worker wrote; they stay (said once)"
                    );
                });
            }
        }
        verdicts(&rows)
    }
}

impl Writer {
    /// The batch, with failures that the database can hold: one that it cannot could never be settled.
    fn fitting<'a>(&self, entries: &'a [SettleEntry]) -> Cow<'a, [SettleEntry]> {
        let encoding = self.session.encoding();
        if encoding == Encoding::Any {
            return Cow::Borrowed(entries);
        }
        let mut fitting = entries.to_vec();
        for entry in &mut fitting {
            let (JobOutcome::Retry { failure: Some(failure), .. } | JobOutcome::DeadLetter { failure, .. }) =
                &mut entry.outcome
            else {
                continue;
            };
            failure.code = encoding.fit(&failure.code).into_owned();
            failure.message = encoding.fit(&failure.message).into_owned();
        }
        Cow::Owned(fitting)
    }
}

/// The same as the check of a [`Writer`], for somebody's connection.
pub(super) async fn check(client: &impl Connection) -> Result<(), QueueError> {
    let (completed, dead) = (Completed::default(), Dead::default());
    for (what, sql, parameters) in [
        (PREPARING, COMPLETE, &completed.parameters()[..]),
        (PREPARING_TO_GIVE_UP, DEAD_LETTER, &dead.parameters()[..]),
    ] {
        let planned = client.query_typed(&format!("EXPLAIN {sql}"), parameters).await;
        planned.map_err(|error| QueueError::query(what, &error))?;
    }
    Ok(())
}

/// Settles a job in somebody's transaction, as it would be settled.
pub(super) async fn rehearse(
    transaction: &Transaction<'_>,
    what: &'static str,
    entry: &SettleEntry,
) -> Result<Option<SettleVerdict>, QueueError> {
    // Its text tells it from a settle, for whoever reads the traffic or the server's log.
    let text = |sql: &str| format!("{sql}-- Rehearsed, and rolled back.\n");
    let entries = std::slice::from_ref(entry);
    let rows = match &entry.outcome {
        JobOutcome::Complete(_) => transaction.query_typed(&text(COMPLETE), &Completed::of(entries).parameters()).await,
        JobOutcome::Retry { .. } => transaction.query_typed(&text(RETRY), &PutBack::of(entries).parameters()).await,
        JobOutcome::DeadLetter { .. } => {
            transaction.query_typed(&text(DEAD_LETTER), &Dead::of(entries).parameters()).await
        }
    };
    let rows = rows.map_err(|error| QueueError::query(what, &error))?;
    Ok(verdicts(&rows)?.get(&entry.lease).copied())
}

fn verdicts(rows: &[Row]) -> Result<BTreeMap<Lease, SettleVerdict>, QueueError> {
    rows.iter()
        .map(|row| {
            let (settled, blocked): (bool, bool) = (row.try_get("settled")?, row.try_get("blocked")?);
            let verdict = match (settled, blocked) {
                (true, _) => SettleVerdict::Committed,
                // A job that is put back needs no receipt: retry.sql does not ask.
                (false, true) if row.try_get("hidden").unwrap_or(false) => SettleVerdict::Hidden,
                (false, true) => SettleVerdict::Blocked,
                (false, false) => SettleVerdict::LeaseLost,
            };
            Ok((Lease { job: row.try_get("job_id")?, token: row.try_get("token")? }, verdict))
        })
        .collect::<Result<_, _>>()
        .map_err(|error| QueueError::query("to settle", &error))
}
