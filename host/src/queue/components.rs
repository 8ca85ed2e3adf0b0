//! The ledger of components: what ran on which worker, and why it changed. Shared by all hosts of a database, so that what
//! one of them rolled back is distrusted by all.

use std::fmt;

use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::pooler::is_pooled;
use super::server::SESSION_NAME;
use super::text::{Queryable, Text};
use super::{Connection, QueueError};

const DISTRUSTED: &str = include_str!("sql/distrusted.sql");
const LAST_CONFIRMED: &str = include_str!("sql/last_confirmed.sql");
const RUNNING: &str = include_str!("sql/running.sql");

/// What happened to a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// A worker began with it.
    Started,
    /// A worker went over to it; it is on probation.
    Switched,
    /// It passed its probation.
    Confirmed,
    /// A worker went back from it; it is distrusted from then on.
    RolledBack,
    /// It was not let in.
    Refused,
    /// A person trusts it again.
    Allowed,
    /// A worker ended with it.
    Stopped,
    /// A worker claims nothing for now: the component, or the services, fail for everything.
    Paused,
    /// It claims again.
    Resumed,
}

impl Change {
    const ALL: [Self; 9] = [
        Self::Started,
        Self::Switched,
        Self::Confirmed,
        Self::RolledBack,
        Self::Refused,
        Self::Allowed,
        Self::Stopped,
        Self::Paused,
        Self::Resumed,
    ];

    /// The name that the ledger has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Switched => "switched",
            Self::Confirmed => "confirmed",
            Self::RolledBack => "rolled-back",
            Self::Refused => "refused",
            Self::Allowed => "allowed",
            Self::Stopped => "stopped",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|change| change.as_str() == name)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A change to be recorded.
#[derive(Debug, Clone)]
pub struct LedgerEntry {
    /// The worker's id (see [`super::Pump::worker`]).
    pub worker: String,
    pub change: Change,
    /// SHA-256 of the component that the change is about: in a roll-back the bad one.
    pub digest: String,
    /// SHA-256 of the one before; in a roll-back the one that runs again.
    pub previous: Option<String>,
    /// Why, for people.
    pub reason: Option<String>,
    /// Where the component came from: a file, an S3 object, "built in".
    pub source: Option<String>,
}

/// A recorded change.
#[derive(Debug, Clone, Serialize)]
pub struct Recorded {
    /// ISO 8601, UTC.
    pub at: String,
    pub worker: String,
    pub change: Change,
    /// See [`LedgerEntry`].
    pub digest: String,
    /// See [`LedgerEntry`].
    pub previous: Option<String>,
    pub reason: Option<String>,
    pub source: Option<String>,
    pub host_version: Option<String>,
}

/// Why a digest is distrusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Distrust {
    /// When it was rolled back: ISO 8601, UTC.
    pub at: String,
    /// Who did.
    pub worker: String,
    pub reason: Option<String>,
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, worker, reason } = self;
        let reason = reason.as_deref().unwrap_or("no reason was given");
        write!(f, "worker {worker} rolled it back at {at}: {reason}; `host components allow` trusts it again")
    }
}

/// What a worker runs.
#[derive(Debug, Clone, Serialize)]
pub struct Running {
    pub worker: String,
    /// SHA-256 of what runs.
    pub digest: String,
    /// How it came to run: started, switched or rolled back (to it).
    pub change: Change,
    /// ISO 8601, UTC.
    pub since: String,
    /// What ran before; after a roll-back the bad one.
    pub previous: Option<String>,
    /// Why it changed.
    pub why: Option<String>,
    /// Whether it has a session in the database; none where that cannot be told, because the operator gave the sessions
    /// a name of their own, or a pooler shares them out.
    pub alive: Option<bool>,
    /// Why it claims nothing for now; none while it works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<String>,
}

/// Writes a change into the ledger, which forgets what is older than 90 days and not asked for any more.
pub async fn record(client: &impl Connection, entry: &LedgerEntry) -> Result<(), QueueError> {
    let sql = "INSERT INTO public.receipt_component_changes
                   (worker, change, digest, previous, reason, source, host_version)
               VALUES ($1, $2, $3, $4, $5, $6, $7)";
    // Postgres takes no NUL, and a reason may quote a component.
    let plain = |text: &Option<String>| {
        text.as_ref().map(|text| client.encoding().fit(&text.replace('\0', "\u{FFFD}")).into_owned())
    };
    let change = entry.change.as_str();
    client
        .execute_typed(
            sql,
            &[
                (&entry.worker, Type::TEXT),
                (&change, Type::TEXT),
                (&entry.digest, Type::TEXT),
                (&entry.previous, Type::TEXT),
                (&plain(&entry.reason), Type::TEXT),
                (&plain(&entry.source), Type::TEXT),
                (&env!("CARGO_PKG_VERSION"), Type::TEXT),
            ],
        )
        .await
        .map_err(|error| QueueError::query("to record a change of component", &error))?;
    Ok(())
}

/// The last `limit` changes, newest first.
pub async fn history(client: &impl Connection, limit: i64) -> Result<Vec<Recorded>, QueueError> {
    let problem = |error: tokio_postgres::Error| QueueError::query("to list the changes of components", &error);
    let sql = "SELECT
                   to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS at,
                   change,
                   convert_to(worker, getdatabaseencoding()) AS worker,
                   convert_to(digest, getdatabaseencoding()) AS digest,
                   convert_to(previous, getdatabaseencoding()) AS previous,
                   convert_to(reason, getdatabaseencoding()) AS reason,
                   convert_to(source, getdatabaseencoding()) AS source,
                   convert_to(host_version, getdatabaseencoding()) AS host_version,
                   getdatabaseencoding()::text AS encoding
               FROM public.receipt_component_changes
               ORDER BY id DESC
               LIMIT $1";
    let rows = client.query_typed(sql, &[(&limit, Type::INT8)]).await.map_err(problem)?;
    let columns = ["worker", "digest", "previous", "reason", "source", "host_version"];
    let texts = Queryable::Client(client).columns(&rows, columns).await?;
    let recorded = |(row, texts): (&Row, [Option<Text>; 6])| {
        let [worker, digest, previous, reason, source, host_version] = texts.map(|text| text.map(Text::shown));
        let (worker, digest) = (worker.unwrap_or_default(), digest.unwrap_or_default());
        let (at, change) = (row.try_get("at")?, change(row)?);
        Ok(Recorded { at, worker, change, digest, previous, reason, source, host_version })
    };
    rows.iter().zip(texts).map(recorded).collect::<Result<_, _>>().map_err(problem)
}

/// Why this digest must not run: it was rolled back, and nobody allowed it since.
pub async fn distrusted(client: &impl Connection, digest: &str) -> Result<Option<Distrust>, QueueError> {
    let problem = |error: tokio_postgres::Error| QueueError::query("a look at whether a component is trusted", &error);
    let rows = client.query_typed(DISTRUSTED, &[(&digest, Type::TEXT)]).await.map_err(problem)?;
    let texts = Queryable::Client(client).columns(&rows, ["worker", "reason"]).await?;
    let distrust = |(row, texts): (&Row, [Option<Text>; 2])| {
        let [worker, reason] = texts.map(|text| text.map(Text::shown));
        Ok(Distrust { at: row.try_get("at")?, worker: worker.unwrap_or_default(), reason })
    };
    rows.iter().zip(texts).map(distrust).next().transpose().map_err(problem)
}

/// The digest that any worker confirmed last, and that is not distrusted since.
pub async fn last_confirmed(client: &impl Connection) -> Result<Option<String>, QueueError> {
    let problem = |error: tokio_postgres::Error| QueueError::query("a look for the last good component", &error);
    let rows = client.query_typed(LAST_CONFIRMED, &[]).await.map_err(problem)?;
    let digests = Queryable::Client(client).columns(&rows, ["digest"]).await?;
    Ok(digests.into_iter().flatten().flatten().next().map(Text::shown))
}

/// Whether this digest was put to work somewhere and has not proved itself anywhere: its probation was cut off.
pub async fn unproven(client: &impl Connection, digest: &str) -> Result<bool, QueueError> {
    let problem = |error: tokio_postgres::Error| QueueError::query("a look at whether a component is proven", &error);
    let sql = "SELECT
                   EXISTS (SELECT FROM public.receipt_component_changes WHERE digest = $1 AND change = 'switched')
                   AND NOT EXISTS (
                       SELECT FROM public.receipt_component_changes
                       WHERE digest = $1 AND change IN ('confirmed', 'allowed')
                   )";
    let row = client.query_typed_one(sql, &[(&digest, Type::TEXT)]).await;
    row.and_then(|row| row.try_get(0)).map_err(problem)
}

/// What runs now, the newest change first: of each worker that has a session. Where the sessions' names cannot tell, all
/// workers of the last 90 days that did not say that they stopped.
pub async fn running(client: &impl Connection) -> Result<Vec<Running>, QueueError> {
    let problem = |error: tokio_postgres::Error| QueueError::query("to list what is running", &error);
    let own = client.query_typed_one("SELECT current_setting('application_name')", &[]).await.map_err(problem)?;
    // Our own name was made from the same connection string as theirs. A pooler's sessions have the name of whoever used
    // them last.
    let named = own.try_get::<_, String>(0).map_err(problem)?.starts_with(SESSION_NAME) && !is_pooled(client).await?;
    let rows = client.query_typed(RUNNING, &[(&named, Type::BOOL)]).await.map_err(problem)?;
    let texts = Queryable::Client(client).columns(&rows, ["worker", "digest", "previous", "reason", "paused"]).await?;
    let running = |(row, texts): (&Row, [Option<Text>; 5])| {
        let [worker, digest, previous, why, paused] = texts.map(|text| text.map(Text::shown));
        let alive: bool = row.try_get("alive")?;
        Ok(Running {
            worker: worker.unwrap_or_default(),
            digest: digest.unwrap_or_default(),
            change: change(row)?,
            since: row.try_get("since")?,
            previous,
            why,
            alive: (alive || named).then_some(alive),
            paused,
        })
    };
    rows.iter().zip(texts).map(running).collect::<Result<_, _>>().map_err(problem)
}

/// The digests in the ledger that begin with `prefix`, at most two: enough to see whether it is one.
pub async fn known(client: &impl Connection, prefix: &str) -> Result<Vec<String>, QueueError> {
    let problem = |error: tokio_postgres::Error| QueueError::query("a look for a component", &error);
    let sql = "SELECT DISTINCT digest FROM public.receipt_component_changes WHERE starts_with(digest, $1) LIMIT 2";
    let rows = client.query_typed(sql, &[(&prefix, Type::TEXT)]).await.map_err(problem)?;
    rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(problem)
}

/// The column's check knows these names only; one of a later host's is shown as what it is nearest to: no change here.
fn change(row: &Row) -> Result<Change, tokio_postgres::Error> {
    Ok(Change::named(row.try_get("change")?).unwrap_or(Change::Refused))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_is_found_by_its_name() {
        for change in Change::ALL {
            assert_eq!(Change::named(change.as_str()), Some(change));
        }
    }
}
