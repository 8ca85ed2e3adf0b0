//! One connection that claims or settles. Its statements have no name and leave nothing behind on the server, so that a
//! pooler may run each on another server connection (docs/decisions/0014). Each has a time limit, and the server is told
//! when it is over: a statement that nobody waits for any more must not wait for a lock for ever.

use std::pin::pin;
use std::time::Duration;

use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use super::client::Encoding;
pub(super) use super::client::Parameter;
use super::connect::{Database, connect};
use super::{Client, Connection as _, QueueError};

/// How long the server may take to cancel, and then to say what became of the statement. No longer than the statement; but a
/// statement with a short limit is to be cancelled all the same, and a new connection takes its time.
const SHORTEST_CANCEL_TIMEOUT: Duration = Duration::from_secs(1);
const LONGEST_CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a statement may take, and what ends then, or before.
pub(super) struct Within<F> {
    pub(super) limit: Duration,
    pub(super) until: F,
}

/// One connection, with a time limit for each of its statements.
pub(super) struct Session {
    client: Client,
    database: Database,
}

impl Session {
    pub(super) async fn connect(database: &Database) -> Result<Self, QueueError> {
        let (client, _) = connect(database, |_| {}).await?;
        Ok(Self { client, database: database.clone() })
    }

    /// Whether the server has ended it. An idle session may be ended by the server's settings; that is no error.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    pub(super) fn encoding(&self) -> Encoding {
        self.client.encoding()
    }

    /// Whether a pooler stands between us and the server.
    pub(super) async fn is_pooled(&self) -> Result<bool, QueueError> {
        let limit = self.database.statement_timeout();
        let late = || QueueError::Query {
            what: "a look at its session",
            reason: format!("no answer within {limit:?}"),
            closed: true,
            code: None,
            raised: false,
        };
        tokio::time::timeout(limit, super::is_pooled(&self.client)).await.unwrap_or_else(|_| Err(late()))
    }

    /// Runs a statement. An error with a code is certain: the statement has changed nothing.
    pub(super) async fn query(
        &self,
        what: &'static str,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, QueueError> {
        let limit = self.database.statement_timeout();
        let within = Within { limit, until: tokio::time::sleep(limit) };
        self.query_within(what, sql, parameters, within).await
    }

    /// The same, for another time.
    pub(super) async fn query_within(
        &self,
        what: &'static str,
        sql: &str,
        parameters: &[Parameter<'_>],
        Within { limit, until }: Within<impl Future<Output = ()> + Send>,
    ) -> Result<Vec<Row>, QueueError> {
        let timeout = limit.clamp(SHORTEST_CANCEL_TIMEOUT, LONGEST_CANCEL_TIMEOUT);
        let mut work = pin!(self.client.query_typed(sql, parameters));
        tokio::select! {
            biased;
            answer = &mut work => return answer.map_err(|error| QueueError::query(what, &error)),
            () = until => {}
        }
        let late = |code: Option<SqlState>| QueueError::Query {
            what,
            reason: format!("no answer within {limit:?} (is a table locked by somebody?)"),
            closed: code.is_none(),
            code,
            raised: false,
        };
        let token = self.client.cancel_token();
        let cancel = token.cancel_query(self.database.connector());
        let _ = tokio::time::timeout(timeout, cancel).await;
        match tokio::time::timeout(timeout, work).await {
            Ok(Ok(rows)) => Ok(rows),
            Ok(Err(error)) if error.code() == Some(&SqlState::QUERY_CANCELED) => Err(late(error.code().cloned())),
            Ok(Err(error)) => Err(QueueError::query(what, &error)),
            Err(_) => Err(late(None)),
        }
    }

    /// Whether the server would take the statement: its tables, its columns and this role's rights. Nothing is run.
    pub(super) async fn check(
        &self,
        what: &'static str,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<(), QueueError> {
        self.query(what, &format!("EXPLAIN {sql}"), parameters).await.map(drop)
    }
}
