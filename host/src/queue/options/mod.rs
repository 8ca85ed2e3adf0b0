//! What a connection string asks for. Strings that psql and the libraries of apps take are taken: what has no meaning here is
//! said once and ignored, and what would make the connection less safe when it is ignored is refused.

mod given;
mod known;
mod pairs;
mod servers;

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, LoadBalanceHosts};

pub(super) use self::given::Variables;
use self::given::{Given, unsupported};
use self::known::{Fate, fate};
use super::tls::TlsOptions;
use super::{QueueError, Schema, complaint};

/// A connection string, taken apart.
pub(super) struct Options {
    /// Servers, login, database and whatever else the driver does.
    pub(super) config: Config,
    pub(super) tls: TlsOptions,
    /// Prisma's word; no other client knows it.
    pub(super) schema: Option<Schema>,
    /// Names of options that have no meaning here.
    pub(super) ignored: BTreeSet<&'static str>,
}

impl Options {
    pub(super) fn read(text: &str, variables: Variables<'_>) -> Result<Self, QueueError> {
        let mut given = Given::default();
        let mut ignored = BTreeSet::new();
        for pair in pairs::pairs(text)? {
            match fate(&pair.name) {
                Some(Fate::Taken(name)) => given.set(name, pair.value),
                Some(Fate::Ignored(name)) => {
                    ignored.insert(name);
                }
                Some(Fate::Refused(_, _)) if pair.value.is_empty() => {}
                Some(Fate::Refused(name, instead)) => return Err(unsupported(name, instead)),
                None => return Err(complaint::unknown_option()),
            }
        }
        ignored.extend(given.harmless()?);
        let mut config = Config::new();
        servers::apply(&mut config, &given, variables)?;
        login(&mut config, &given, variables)?;
        session(&mut config, &given)?;
        network(&mut config, &given)?;
        let schema = given.text("schema")?.map(|name| name.parse().map_err(QueueError::Schema)).transpose()?;
        Ok(Self { config, tls: given.tls()?, schema, ignored })
    }

    /// Says once what has no meaning here; no value is repeated.
    pub(super) fn say_ignored(&self) {
        static SAID: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
        let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
        let new: Vec<&str> = self.ignored.iter().copied().filter(|name| said.insert(name)).collect();
        if !new.is_empty() {
            tracing::info!(
                name: "database.options_ignored",
                options = new.join(" "),
                "options of the connection string that mean nothing here"
            );
        }
    }
}

fn login(config: &mut Config, given: &Given, variables: Variables<'_>) -> Result<(), QueueError> {
    if let Some(user) = given.text("user")?.map(str::to_owned).or_else(|| variables("PGUSER")) {
        config.user(user);
    }
    match given.bytes("password") {
        Some(password) => {
            config.password(password);
        }
        None => {
            if let Some(password) = variables("PGPASSWORD") {
                config.password(password);
            }
        }
    }
    if let Some(database) = given.text("dbname")? {
        complaint::check_name("database", database)?;
        config.dbname(database);
    }
    Ok(())
}

fn session(config: &mut Config, given: &Given) -> Result<(), QueueError> {
    if let Some(name) = given.text("application_name")?.or(given.text("fallback_application_name")?) {
        config.application_name(name);
    }
    if let Some(options) = given.text("options")? {
        config.options(options);
    }
    match given.text("channel_binding")? {
        None | Some("prefer") => {}
        Some("disable") => {
            config.channel_binding(ChannelBinding::Disable);
        }
        Some("require") => {
            config.channel_binding(ChannelBinding::Require);
        }
        Some(_) => return Err(complaint::impossible("channel_binding")),
    }
    match given.text("target_session_attrs")? {
        // Whichever is asked for, the worker wants the primary.
        None | Some("any" | "read-write" | "primary" | "prefer-standby") => Ok(()),
        Some("read-only" | "standby") => {
            Err(QueueError::Url("it asks for a read-only server; the worker needs the primary".to_owned()))
        }
        Some(_) => Err(complaint::impossible("target_session_attrs")),
    }
}

fn network(config: &mut Config, given: &Given) -> Result<(), QueueError> {
    match given.text("load_balance_hosts")? {
        None | Some("disable") => {}
        Some("random") => {
            config.load_balance_hosts(LoadBalanceHosts::Random);
        }
        Some(_) => return Err(complaint::impossible("load_balance_hosts")),
    }
    config.connect_timeout(given.seconds("connect_timeout")?.unwrap_or(CONNECT_TIMEOUT));
    // libpq has milliseconds here.
    let silence = given.number::<i32>("tcp_user_timeout")?.and_then(|millis| u64::try_from(millis).ok());
    config.tcp_user_timeout(silence.filter(|millis| *millis > 0).map_or(SILENCE, Duration::from_millis));
    config.keepalives(given.number::<i32>("keepalives")? != Some(0));
    config.keepalives_idle(given.seconds("keepalives_idle")?.unwrap_or(SILENCE));
    if let Some(interval) = given.seconds("keepalives_interval")? {
        config.keepalives_interval(interval);
    }
    if let Some(count) = given.number::<u32>("keepalives_count")?.filter(|count| *count > 0) {
        config.keepalives_retries(count);
    }
    Ok(())
}

/// For one host.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the other end may be silent before the system asks, and what was sent may stay without an answer.
const SILENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
