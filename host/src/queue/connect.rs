//! Connections: parsing DATABASE_URL, TLS, and errors that name the server but never the password.

use std::net::IpAddr;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::config::Host;
use tokio_postgres::{AsyncMessage, Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{QueueError, describe, migrate, tls};

/// The name of our sessions in `pg_stat_activity`; a worker's have its id behind it.
pub(super) const SESSION_NAME: &str = "receipt-worker";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the queue is. Parsed and checked, not yet connected.
#[derive(Clone)]
pub struct Database {
    config: Config,
    /// The operator gave the sessions a name of their own.
    named: bool,
    connector: MakeRustlsConnect,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Database({})", self.at())
    }
}

impl Database {
    /// Parses a connection string (URL form, or libpq's `key=value` form).
    pub fn parse(url: &str) -> Result<Self, QueueError> {
        let (url, settings) = tls::split(url.trim())?;
        let mut config: Config = url
            .parse()
            .map_err(|error: tokio_postgres::Error| QueueError::Url(describe(&error).replace(url.as_str(), "…")))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(QueueError::Url("it names no host".to_owned()));
        }
        // An unencoded "@" in a password makes the rest of the password a part of the host, and so of every message.
        if config.get_hosts().iter().any(|host| matches!(host, Host::Tcp(name) if name.contains(['@', '/', ' ']))) {
            return Err(QueueError::Url(
                "its host has an impossible name; percent-encode the password (@ is %40)".to_owned(),
            ));
        }
        config.ssl_mode(settings.mode).connect_timeout(CONNECT_TIMEOUT).keepalives_idle(Duration::from_secs(30));
        config.tcp_user_timeout(Duration::from_secs(30));
        let named = config.get_application_name().is_some();
        if !named {
            config.application_name(SESSION_NAME);
        }
        Ok(Self { config, named, connector: tls::connector(&settings)? })
    }

    /// The same database, with sessions that show which worker's they are; a name that the operator chose stays.
    pub fn of_worker(mut self, worker: &str) -> Self {
        if !self.named {
            // Postgres cuts off what is longer than 63 bytes; a worker's id is 16.
            self.config.application_name(format!("{SESSION_NAME} {worker}"));
        }
        self
    }

    /// Whether the server is on this machine.
    pub fn is_local(&self) -> bool {
        let local =
            |name: &str| name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        self.config.get_hostaddrs().iter().all(IpAddr::is_loopback)
            && self.config.get_hosts().iter().all(|host| match host {
                Host::Tcp(name) => local(name),
                #[cfg(unix)]
                Host::Unix(_) => true,
            })
    }

    /// Host, port and database for messages; no user, no password.
    pub fn at(&self) -> String {
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(name)) => name.clone(),
            #[cfg(unix)]
            Some(Host::Unix(path)) => path.display().to_string(),
            None => self.config.get_hostaddrs().first().map(ToString::to_string).unwrap_or_default(),
        };
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        format!("{host}:{port}/{}", self.config.get_dbname().unwrap_or(""))
    }
}

/// Connects, and drives the connection in a task of its own that ends with it. Notifications go to `on_notification`.
pub async fn connect(
    database: &Database,
    on_notification: impl Fn() + Send + 'static,
) -> Result<(Client, JoinHandle<()>), QueueError> {
    let attempt = database.config.connect(database.connector.clone());
    let (client, mut connection) = tokio::time::timeout(CONNECT_TIMEOUT * 2, attempt)
        .await
        .map_err(|_| QueueError::Timeout { at: database.at(), seconds: CONNECT_TIMEOUT.as_secs() * 2 })?
        .map_err(|error| QueueError::Connect { at: database.at(), reason: describe(&error) })?;
    let driver = tokio::spawn(async move {
        loop {
            match std::future::poll_fn(|context| connection.poll_message(context)).await {
                Some(Ok(AsyncMessage::Notification(_))) => on_notification(),
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    tracing::debug!(error = %describe(&error), "database connection ended");
                    return;
                }
                None => return,
            }
        }
    });
    Ok((client, driver))
}

/// Connects for one-off statements.
pub async fn connect_simple(database: &Database) -> Result<Client, QueueError> {
    connect(database, || {}).await.map(|(client, _)| client)
}

impl Database {
    /// Connects and makes sure that this is a primary whose schema this host knows.
    pub async fn connect_checked(&self) -> Result<Client, QueueError> {
        let client = connect_simple(self).await?;
        check_primary(&client, self).await?;
        migrate::check(&client).await?;
        Ok(client)
    }

    /// Connects without looking at the schema.
    pub async fn connect(&self) -> Result<Client, QueueError> {
        connect_simple(self).await
    }
}

/// Fails on a server that takes no writes.
pub async fn check_primary(client: &Client, database: &Database) -> Result<(), QueueError> {
    let row = client
        .query_one("SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on'", &[])
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

    #[test]
    fn messages_name_the_server_but_no_password() {
        let database = Database::parse("postgres://me:s3cret@db.example:6543/app?sslmode=require").unwrap();
        assert_eq!(database.at(), "db.example:6543/app");
        assert!(!format!("{database:?}").contains("s3cret"));
        let error = Database::parse("postgres://me:s3cret@db:notaport/app").unwrap_err().to_string();
        assert!(!error.contains("s3cret"), "{error}");
        let error = Database::parse("postgres://me:p@ss@db/app").unwrap_err().to_string();
        assert!(!error.contains("ss@db") && error.contains("percent-encode"), "{error}");
    }

    #[test]
    fn only_loopback_is_local() {
        let local = |url: &str| Database::parse(url).unwrap().is_local();
        assert!(local("postgres://me@localhost/app") && local("postgres://me@127.0.0.1:5/app"));
        assert!(!local("postgres://me@db.example/app") && !local("postgres://me@10.0.0.1/app"));
    }

    #[test]
    fn nonsense_is_refused() {
        for url in ["", "mysql://x", "hello", "postgres://"] {
            assert!(Database::parse(url).is_err(), "{url}");
        }
    }
}
