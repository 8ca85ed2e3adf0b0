//! What a connection string asks for. Strings that psql and the libraries of apps take are taken: what has no meaning here is
//! said once and ignored, and what would make the connection less safe when it is ignored is refused.

mod known;
mod pairs;
mod servers;

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, LoadBalanceHosts};

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

/// libpq's variables, or a test's.
pub(super) type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

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
            tracing::info!(options = new.join(" "), "options of the connection string that mean nothing here");
        }
    }
}

fn unsupported(option: &str, instead: &str) -> QueueError {
    QueueError::Url(format!("its option {option} is not supported: {instead}"))
}

/// The options that are taken. As in libpq the last of a name counts, and an empty value is none.
#[derive(Default)]
struct Given(BTreeMap<&'static str, Vec<u8>>);

impl Given {
    fn set(&mut self, name: &'static str, value: Vec<u8>) {
        match value.is_empty() {
            true => self.0.remove(name),
            false => self.0.insert(name, value),
        };
    }

    fn bytes(&self, name: &'static str) -> Option<&[u8]> {
        self.0.get(name).map(Vec::as_slice)
    }

    /// Postgres takes no text with a zero byte in it.
    fn text(&self, name: &'static str) -> Result<Option<&str>, QueueError> {
        let text = |value| std::str::from_utf8(value).ok().filter(|text: &&str| !text.contains('\0'));
        self.bytes(name).map(|value| text(value).ok_or_else(|| complaint::impossible(name))).transpose()
    }

    fn number<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, QueueError> {
        let number = |text: &str| text.trim().parse().map_err(|_| complaint::impossible(name));
        self.text(name)?.map(number).transpose()
    }

    /// Zero and less mean "as usual".
    fn seconds(&self, name: &'static str) -> Result<Option<Duration>, QueueError> {
        let seconds = self.number::<i32>(name)?.and_then(|seconds| u64::try_from(seconds).ok());
        Ok(seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs))
    }

    fn is_off(&self, name: &'static str) -> Result<bool, QueueError> {
        Ok(matches!(self.text(name)?, None | Some("0" | "no" | "off" | "false")))
    }

    /// Options that are ignored with some values and refused with others.
    fn harmless(&self) -> Result<Vec<&'static str>, QueueError> {
        let mut harmless = Vec::new();
        let mut look = |name, is_harmless: bool, instead| match self.0.contains_key(name) {
            true if is_harmless => {
                harmless.push(name);
                Ok(())
            }
            true => Err(unsupported(name, instead)),
            false => Ok(()),
        };
        let gss = self.text("gssencmode")?;
        look("gssencmode", gss != Some("require"), "Kerberos is not spoken here; ask for sslmode=require instead")?;
        look("replication", self.is_off("replication")?, "the worker needs an ordinary session")?;
        // Prisma's: whether the server's certificate is checked.
        let checked = self.text("sslmode")? == Some("verify-full");
        let lax = self.text("sslaccept")? == Some("accept_invalid_certs");
        look("sslaccept", lax || checked, "use sslmode=verify-full instead")?;
        let mode = self.text("sslcertmode")?;
        let optional = matches!(mode, Some("allow" | "disable"));
        look("sslcertmode", optional, "let the server ask for the certificate, by clientcert in its pg_hba.conf")?;
        // That one is heeded.
        harmless.retain(|name| *name != "sslcertmode");
        Ok(harmless)
    }

    fn tls(&self) -> Result<TlsOptions, QueueError> {
        let text = |name| Ok::<_, QueueError>(self.text(name)?.map(str::to_owned));
        let certificates = self.text("sslcertmode")? != Some("disable");
        Ok(TlsOptions {
            mode: self.ssl_mode()?.map(str::to_owned),
            root: text("sslrootcert")?,
            certificate: text("sslcert")?.filter(|_| certificates),
            key: text("sslkey")?.filter(|_| certificates),
            oldest: text("ssl_min_protocol_version")?,
            newest: text("ssl_max_protocol_version")?,
            negotiation: text("sslnegotiation")?,
            nameless: self.0.contains_key("sslsni") && self.is_off("sslsni")?,
        })
    }

    /// Where there is no sslmode, the word that older versions and other libraries have for it.
    fn ssl_mode(&self) -> Result<Option<&str>, QueueError> {
        if let Some(mode) = self.text("sslmode")? {
            return Ok(Some(mode));
        }
        Ok(match (self.text("ssl")?, self.text("requiressl")?) {
            (Some("true" | "1" | "on" | "yes" | "no-verify"), _) | (None, Some("1")) => Some("require"),
            (Some("false" | "0" | "off" | "no"), _) | (None, _) => None,
            (mode, _) => mode,
        })
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
