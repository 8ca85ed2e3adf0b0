//! A lane: one connection for one kind of work, with a timeout of its own, made anew where it is gone. The pump has one to
//! claim, one to renew leases, and two to settle.

use std::time::Duration;

use super::session::Session;
use super::{Database, QueueError};

/// No lane's timeout is shorter, however short the leases are.
const SHORTEST_TIMEOUT: Duration = Duration::from_secs(1);

/// What is asked on a lane.
pub(super) trait Statements: Sized + Send {
    /// Learns of a new connection whatever the statements need to know of it.
    fn on(session: Session) -> impl Future<Output = Result<Self, QueueError>> + Send;

    fn session(&self) -> &Session;

    /// Fails where the schema (the app's own receipts table, say) or this role's rights do not allow them.
    fn check(&self) -> impl Future<Output = Result<(), QueueError>> + Send;
}

pub(super) struct Lane<S> {
    database: Database,
    statements: Option<S>,
}

impl<S: Statements> Lane<S> {
    /// A lane whose statements may take as long as any, not connected yet.
    pub(super) fn new(database: Database) -> Self {
        Self { database, statements: None }
    }

    /// A lane whose statements may take this long, but no longer than any.
    pub(super) fn with_timeout(database: Database, timeout: Duration) -> Self {
        let timeout = timeout.max(SHORTEST_TIMEOUT).min(database.statement_timeout());
        Self::new(database.with_statement_timeout(timeout))
    }

    /// The same, connected.
    pub(super) async fn connected(mut self) -> Result<Self, QueueError> {
        self.statements().await?;
        Ok(self)
    }

    /// Fails where its statements would.
    pub(super) async fn check(&mut self) -> Result<(), QueueError> {
        self.statements().await?.check().await
    }

    pub(super) fn timeout(&self) -> Duration {
        self.database.statement_timeout()
    }

    /// Whether no new connection is needed. Postgres may end a session for being idle.
    pub(super) fn is_connected(&self) -> bool {
        self.statements.as_ref().is_some_and(|statements| !statements.session().is_closed())
    }

    /// Its statements, on a new connection where the one that it had is gone.
    pub(super) async fn statements(&mut self) -> Result<&S, QueueError> {
        let statements = match self.statements.take().filter(|statements| !statements.session().is_closed()) {
            Some(statements) => statements,
            None => S::on(Session::connect(&self.database).await?).await?,
        };
        Ok(self.statements.insert(statements))
    }

    /// Lets the connection go; the next statement is asked on a new one.
    pub(super) fn disconnect(&mut self) {
        self.statements = None;
    }
}
