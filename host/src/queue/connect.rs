//! Connections to the database, and what the server says on them unasked.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::error::{DbError, Severity, SqlState};
use tokio_postgres::{AsyncMessage, Notification};

use super::login::{Login, Origin};
use super::server::Server;
use super::tls::{MakeTls, TlsSettings};
use super::{Client, Connection, QueueError, Schema, describe, migrate};
use crate::aws::call::Caller;

const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);

/// Where the queue is.
#[derive(Clone)]
pub struct Database {
    login: Arc<Login>,
    /// Whose sessions they are.
    worker: Option<String>,
    statement_timeout: Duration,
    schema: Schema,
    /// Named by the flag or in the connection string.
    schema_given: bool,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Database({})", self.at())
    }
}

impl Database {
    /// Parses a connection string (URL form, or libpq's `key=value` form).
    pub fn parse(url: &str) -> Result<Self, QueueError> {
        Self::parse_with(url, None)
    }

    /// Parses a connection string; `root_certificate` is the CA file (or `system`) where the string names none.
    pub fn parse_with(url: &str, root_certificate: Option<&str>) -> Result<Self, QueueError> {
        Server::parse(url, root_certificate).map(|server| Self::by(Login::of(server)))
    }

    /// As [`Self::parse_with`], of a connection string that may be kept elsewhere. With `tokens` each connection has a password of
    /// its own (rds-iam).
    pub async fn open(
        origin: Origin<'_>,
        root_certificate: Option<&str>,
        tokens: Option<Caller>,
    ) -> Result<Self, QueueError> {
        Login::open(origin, root_certificate, tokens).await.map(Self::by)
    }

    fn by(login: Login) -> Self {
        let schema = login.server(|server| server.schema().cloned());
        Self {
            login: Arc::new(login),
            worker: None,
            statement_timeout: STATEMENT_TIMEOUT,
            schema_given: schema.is_some(),
            schema: schema.unwrap_or(Schema::PUBLIC),
        }
    }

    /// The same database; each statement of the pump's may take so long.
    pub fn with_statement_timeout(self, statement_timeout: Duration) -> Self {
        Self { statement_timeout, ..self }
    }

    /// The same database; our objects are in this schema, beside the app's receipts.
    pub fn with_schema(self, schema: Schema) -> Self {
        Self { schema, schema_given: true, ..self }
    }

    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Whether somebody named the schema.
    pub fn names_schema(&self) -> bool {
        self.schema_given
    }

    pub(super) fn statement_timeout(&self) -> Duration {
        self.statement_timeout
    }

    pub(super) fn connector(&self) -> MakeTls {
        self.login.server(Server::connector)
    }

    /// What the connection string asks of TLS.
    pub fn tls(&self) -> TlsSettings {
        self.login.server(|server| server.tls().clone())
    }

    /// The same database, with sessions that show which worker's they are; a name that the operator chose stays.
    pub fn of_worker(self, worker: &str) -> Self {
        Self { worker: Some(worker.to_owned()), ..self }
    }

    /// Whether the server is on this machine.
    pub fn is_local(&self) -> bool {
        self.login.server(Server::is_local)
    }

    /// Whether it is reached by a socket of this machine, where there is no TLS and no need of it.
    pub fn is_by_socket(&self) -> bool {
        self.login.server(Server::is_by_socket)
    }

    /// Hosts, ports and database for messages; no user, no password.
    pub fn at(&self) -> String {
        self.login.server(Server::at)
    }
}

/// What the server says unasked.
pub(super) enum Heard<'a> {
    Notification(&'a Notification),
    Notice(&'a DbError),
}

/// Connects, and drives the connection in a task of its own that ends with it, and with the server's reason. The channels
/// of notifications go to `on_notification`.
pub async fn connect(
    database: &Database,
    on_notification: impl Fn(&str) + Send + 'static,
) -> Result<(Client, JoinHandle<Option<SqlState>>), QueueError> {
    let hears = move |heard: Heard<'_>| {
        if let Heard::Notification(notification) = heard {
            on_notification(notification.channel());
        }
    };
    connect_hearing(database, hears).await
}

/// As [`connect`]; whatever the server says unasked goes to `hears`.
pub(super) async fn connect_hearing(
    database: &Database,
    hears: impl Fn(Heard<'_>) + Send + 'static,
) -> Result<(Client, JoinHandle<Option<SqlState>>), QueueError> {
    let (client, mut connection) = database.login.begin(database.worker.as_deref()).await?;
    let client = Client::new(client, database.schema.clone(), connection.parameter("server_encoding"));
    let driver = tokio::spawn(async move {
        loop {
            match std::future::poll_fn(|context| connection.poll_message(context)).await {
                Some(Ok(AsyncMessage::Notification(notification))) => hears(Heard::Notification(&notification)),
                Some(Ok(AsyncMessage::Notice(notice))) => hears(Heard::Notice(&notice)),
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    tracing::debug!(
                        name: "database.connection_ended",
                        error = %describe(&error),
                        "database connection ended"
                    );
                    return error.code().cloned();
                }
                None => return None,
            }
        }
    });
    Ok((client, driver))
}

/// Connects for one-off statements.
pub(super) async fn connect_simple(database: &Database) -> Result<Client, QueueError> {
    connect(database, |_| {}).await.map(|(client, _)| client)
}

impl Database {
    /// Connects and makes sure that this is a primary whose schema this host knows.
    pub async fn connect_checked(&self) -> Result<Client, QueueError> {
        let client = connect_simple(self).await?;
        check_primary(&client, self).await?;
        migrate::check(&client).await?;
        Ok(client)
    }

    /// As [`Self::connect`]; what a migration has to say, and warnings, go to `tell`.
    pub async fn connect_telling(&self, tell: impl Fn(&str) + Send + 'static) -> Result<Client, QueueError> {
        let hears = move |heard: Heard<'_>| match heard {
            Heard::Notice(notice) if is_telling(notice) => tell(notice.message()),
            Heard::Notice(_) | Heard::Notification(_) => {}
        };
        connect_hearing(self, hears).await.map(|(client, _)| client)
    }

    /// Connects without looking at the schema.
    pub async fn connect(&self) -> Result<Client, QueueError> {
        connect_simple(self).await
    }
}

/// Of a `NOTICE`, what a `RAISE` said; not that something is there already.
fn is_telling(notice: &DbError) -> bool {
    notice.parsed_severity() == Some(Severity::Warning) || notice.routine() == Some("exec_stmt_raise")
}

/// Fails on a server that takes no writes.
pub async fn check_primary(client: &impl Connection, database: &Database) -> Result<(), QueueError> {
    let row = client
        .query_typed_one("SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on'", &[])
        .await
        .map_err(|error| QueueError::query("a look at its state", &error))?;
    if row.try_get::<_, bool>(0).unwrap_or(false) {
        return Err(QueueError::ReadOnly { at: database.at() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tokio_postgres::config::SslMode;

    #[test]
    fn messages_name_the_server_but_no_password() {
        let database = Database::parse("postgres://me:s3cret@db.example:6543/app?sslmode=require").unwrap();
        assert_eq!(database.at(), "db.example:6543/app");
        assert!(!format!("{database:?}").contains("s3cret"));
        let several = Database::parse("postgres://me@a:1,b:2/app?target_session_attrs=primary").unwrap();
        assert_eq!(several.at(), "a:1,b:2/app");
        let error = Database::parse("postgres://me:s3cret@db:notaport/app").unwrap_err().to_string();
        assert!(!error.contains("s3cret"), "{error}");
        let error = Database::parse("postgres://me:p@ss@db/app").unwrap_err().to_string();
        assert!(!error.contains("ss@db") && error.contains("percent-encode"), "{error}");
    }

    #[test]
    fn the_schema_is_prismas_word() {
        let schema = |url: &str| Database::parse(url).unwrap().schema().name().to_owned();
        assert_eq!(schema("postgres://h/d"), "public");
        assert_eq!(schema("postgres://h/d?schema="), "public");
        assert_eq!(schema("postgres://h/d?schema=app"), "app");
        assert_eq!(schema("postgres://h/d?sslmode=disable&schema=My%20%22app%22&connect_timeout=3"), "My \"app\"");
        assert!(matches!(Database::parse("postgres://h/d?schema=pg_catalog"), Err(QueueError::Schema(_))));
        let database = Database::parse("postgres://h/d?schema=app").unwrap();
        assert!(database.names_schema() && !Database::parse("postgres://h/d").unwrap().names_schema());
        assert_eq!(database.with_schema(Schema::PUBLIC).schema().name(), "public");
    }

    #[test]
    fn a_socket_knows_no_tls_whatever_is_asked_for() {
        let all = "sslmode=verify-full&sslrootcert=/not/there.pem&sslcert=/not/there.crt";
        for url in [format!("postgres:///app?{all}&host=/run/x"), format!("postgres://%2Frun%2Fx/app?{all}")] {
            let database = Database::parse(&url).unwrap();
            assert_eq!((database.at().as_str(), database.tls().mode), ("/run/x:5432/app", SslMode::Disable));
            assert!(database.is_local() && database.is_by_socket());
        }
        let said = |url: &str| Database::parse(url).unwrap_err().to_string();
        assert!(said("host=/run/x dbname=app channel_binding=require").contains("channel_binding=require"));
        assert!(said("host=h dbname=app sslmode=disable channel_binding=require").contains("sslmode=require"));
        assert!(said("host=/run/x,h dbname=app sslmode=require").contains("socket"));
        assert_eq!(Database::parse("host=/run/x,h dbname=app").unwrap().tls().mode, SslMode::Prefer);
    }

    #[test]
    fn only_loopback_is_local() {
        let local = |url: &str| Database::parse(url).unwrap().is_local();
        assert!(local("postgres://me@localhost/app") && local("postgres://me@127.0.0.1:5/app"));
        assert!(!local("postgres://me@db.example/app") && !local("postgres://me@10.0.0.1/app"));
    }

    #[test]
    fn nonsense_is_refused() {
        for url in ["", "mysql://x", "hello", "postgres://", "postgres://h/d?target_session_attrs=read-only"] {
            assert!(Database::parse(url).is_err(), "{url}");
        }
    }
}
