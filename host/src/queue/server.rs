//! The server that a connection string names: TLS, and errors that name the server but never the password.

use std::net::IpAddr;

use tokio_postgres::config::{ChannelBinding, Host, SslMode, TargetSessionAttrs};
use tokio_postgres::error::{Severity, SqlState};
use tokio_postgres::{Config, Connection, Socket};

use super::hosted::{self, Attempt};
use super::options::{Options, Variables};
use super::tls::{self, MakeTls, TlsSettings};
use super::{QueueError, Schema, describe};
use crate::aws::call::Caller;
use crate::aws::rds;

/// The name of our sessions in `pg_stat_activity`; a worker's have its id behind it.
pub(super) const SESSION_NAME: &str = "receipt-worker";

/// A server, how we log in, and what of TLS. Parsed and checked, not yet connected.
pub(super) struct Server {
    config: Config,
    /// The operator gave the sessions a name of their own.
    named: bool,
    tls: TlsSettings,
    connector: MakeTls,
    /// Named in the connection string.
    schema: Option<Schema>,
}

/// A session that has begun, and its other half.
#[allow(clippy::disallowed_types, reason = "it is wrapped where it is driven")]
pub(super) type Begun = (tokio_postgres::Client, Connection<Socket, tls::Stream<Socket>>);

impl Server {
    /// Parses a connection string; `root_certificate` is the CA file (or `system`) where the string names none.
    pub(super) fn parse(url: &str, root_certificate: Option<&str>) -> Result<Self, QueueError> {
        // As libpq's, an empty one is none.
        Self::read(url, root_certificate, &|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn read(url: &str, root_certificate: Option<&str>, variables: Variables<'_>) -> Result<Self, QueueError> {
        let options = Options::read(url.trim(), variables)?;
        options.say_ignored();
        let Options { mut config, tls, schema, .. } = options;
        let sockets = config.get_hosts().iter().filter(|host| !matches!(host, Host::Tcp(_))).count();
        // As libpq: over a socket there is no TLS, whatever is asked for.
        let settings = match sockets {
            0 => TlsSettings::read(&tls, root_certificate)?,
            sockets if sockets == config.get_hosts().len() => TlsSettings::NONE,
            _ => TlsSettings::read(&tls, root_certificate)?.beside_a_socket()?,
        };
        let settings = settings.with_binding(config.get_channel_binding() == ChannelBinding::Require)?;
        // Of several hosts the primary is the one that is meant, and after a failover it may be another than before.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        config.ssl_mode(settings.mode).ssl_negotiation(settings.negotiation);
        let named = config.get_application_name().is_some();
        if !named {
            config.application_name(SESSION_NAME);
        }
        let connector = tls::connector(&settings)?;
        Ok(Self { config, named, tls: settings, connector, schema })
    }

    /// Connects, as the worker of that id where there is one. The driver tries host after host; a limit on all of them is ours.
    pub(super) async fn connect(&self, worker: Option<&str>, tokens: Option<&Caller>) -> Result<Begun, QueueError> {
        let mut config = self.config.clone();
        if let Some(caller) = tokens {
            let failed = |failure| QueueError::Token { at: self.at(), failure };
            config.password(rds::token(caller, self.place_of_tokens()?).await.map_err(failed)?);
        }
        if let (false, Some(worker)) = (self.named, worker) {
            // Postgres cuts off what is longer than 63 bytes; a worker's id is 16.
            config.application_name(format!("{SESSION_NAME} {worker}"));
        }
        let attempt = config.connect(self.connector.clone());
        let hosts = u32::try_from(config.get_hosts().len().max(1)).unwrap_or(1);
        let each = config.get_connect_timeout().copied().unwrap_or_default();
        let timeout = each.saturating_mul(hosts + 1);
        tokio::time::timeout(timeout, attempt)
            .await
            .map_err(|_| QueueError::Timeout { at: self.at(), seconds: timeout.as_secs() })?
            .map_err(|error| self.refusal(&error, tokens.is_some()))
    }

    /// A token is the password of one user at one server, and travels as it is.
    pub(super) fn check_for_tokens(&self) -> Result<(), QueueError> {
        self.place_of_tokens()?;
        match self.tls.mode {
            SslMode::Require => Ok(()),
            _ => Err(QueueError::Url(
                "DATABASE_AUTH=rds-iam needs TLS: add sslmode=verify-full (or require); RDS takes no token without"
                    .to_owned(),
            )),
        }
    }

    fn place_of_tokens(&self) -> Result<rds::Place<'_>, QueueError> {
        let wrong = |what: &str| QueueError::Url(format!("DATABASE_AUTH=rds-iam needs {what} in it"));
        let user = self.config.get_user().ok_or_else(|| wrong("the role's name"))?;
        match self.config.get_hosts() {
            [Host::Tcp(host)] => {
                Ok(rds::Place { host, port: self.config.get_ports().first().copied().unwrap_or(5432), user })
            }
            _ => Err(wrong("one host, by its name")),
        }
    }

    pub(super) fn schema(&self) -> Option<&Schema> {
        self.schema.as_ref()
    }

    pub(super) fn connector(&self) -> MakeTls {
        self.connector.clone()
    }

    pub(super) fn tls(&self) -> &TlsSettings {
        &self.tls
    }

    /// Whether the server is on this machine.
    pub(super) fn is_local(&self) -> bool {
        let local =
            |name: &str| name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        self.config.get_hostaddrs().iter().all(IpAddr::is_loopback)
            && self.config.get_hosts().iter().all(|host| match host {
                Host::Tcp(name) => local(name),
                #[cfg(unix)]
                Host::Unix(_) => true,
            })
    }

    /// Whether it is reached by a socket of this machine, where there is no TLS and no need of it.
    pub(super) fn is_by_socket(&self) -> bool {
        self.config.get_hosts().iter().all(|host| !matches!(host, Host::Tcp(_)))
    }

    /// Hosts, ports and database for messages; no user, no password.
    pub(super) fn at(&self) -> String {
        let mut hosts: Vec<String> = self.config.get_hosts().iter().map(name).collect();
        if hosts.is_empty() {
            hosts = self.config.get_hostaddrs().iter().map(ToString::to_string).collect();
        }
        let ports = self.config.get_ports();
        let port = |place: usize| ports.get(place).or(ports.first()).copied().unwrap_or(5432);
        let places = hosts.iter().enumerate().map(|(place, host)| format!("{host}:{}", port(place)));
        format!("{}/{}", places.collect::<Vec<_>>().join(","), self.config.get_dbname().unwrap_or(""))
    }

    /// What went wrong in connecting, and what to do.
    fn refusal(&self, error: &tokio_postgres::Error, by_token: bool) -> QueueError {
        if refused_to_write(error) {
            return QueueError::ReadOnly { at: self.at() };
        }
        let explained = tls::explain(error, &self.tls);
        let passing = match error.code() {
            None => explained.is_none() && is_io(error),
            // Connection exceptions, resources (too many connections), the operator's interventions (starting, stopping).
            Some(code) => ["08", "53", "57"].iter().any(|class| code.code().starts_with(class)),
        };
        let mut reason = explained.unwrap_or_else(|| describe(error));
        // "no pg_hba.conf entry for host …, no encryption" (in older versions: "SSL off").
        let plain = reason.contains("no encryption") || reason.contains("SSL off");
        if plain && error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION) {
            reason.push_str("; the server takes this role over TLS only, it seems: use sslmode=require or verify-full");
        }
        if reason.contains("requires a valid client certificate") {
            reason.push_str("; name the role's with sslcert and sslkey");
        }
        let refused = refused_login(error);
        if refused && by_token {
            reason.push_str("; for rds-iam: GRANT rds_iam TO the role, and allow rds-db:connect as it");
        }
        let host = self.config.get_hosts().iter().map(name).next().unwrap_or_default();
        let user = self.config.get_user().unwrap_or_default();
        let unreachable = error.code().is_none() && passing;
        if let Some(cure) = hosted::cure(&Attempt { host: &host, user, reason: &reason, refused, unreachable }) {
            reason = format!("{reason}; {cure}");
        }
        QueueError::Connect { at: self.at(), reason, passing, refused }
    }
}

fn name(host: &Host) -> String {
    match host {
        Host::Tcp(name) => name.clone(),
        #[cfg(unix)]
        Host::Unix(path) => path.display().to_string(),
    }
}

/// Whether the network, a name or the server's silence is the reason.
fn is_io(error: &tokio_postgres::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.is::<std::io::Error>() {
            return true;
        }
        cause = error.source();
    }
    error.is_closed()
}

/// Whether it is who we are that was refused. Poolers have other codes for it.
fn refused_login(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|said| {
        let words = ["authentication failed", "password", "Tenant or user not found"];
        said.code().code().starts_with("28")
            || said.parsed_severity().is_none_or(|severity| severity == Severity::Fatal)
                && words.iter().any(|word| said.message().contains(word))
    })
}

/// The driver asked the server whether it takes writes, and says so as an I/O error that no system call made.
fn refused_to_write(error: &tokio_postgres::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    source
        .is_some_and(|source| source.kind() == std::io::ErrorKind::PermissionDenied && source.raw_os_error().is_none())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_quoted_value_may_have_blanks_in_it() {
        let server = Server::parse(r"host=h dbname='my app' password='it\'s mine' schema='My app'", None).unwrap();
        assert_eq!((server.at().as_str(), server.config.get_password()), ("h:5432/my app", Some(&b"it's mine"[..])));
        assert_eq!(server.schema().unwrap().name(), "My app");
    }
}
