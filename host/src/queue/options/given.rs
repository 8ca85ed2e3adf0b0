//! The options that a connection string gives, by name, and how their values are read.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use super::super::tls::TlsOptions;
use super::super::{QueueError, complaint};

/// libpq's variables, or a test's.
pub(in crate::queue) type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The options that are taken. As in libpq the last of a name counts, and an empty value is none.
#[derive(Default)]
pub(super) struct Given(BTreeMap<&'static str, Vec<u8>>);

impl Given {
    pub(super) fn set(&mut self, name: &'static str, value: Vec<u8>) {
        match value.is_empty() {
            true => self.0.remove(name),
            false => self.0.insert(name, value),
        };
    }

    pub(super) fn bytes(&self, name: &'static str) -> Option<&[u8]> {
        self.0.get(name).map(Vec::as_slice)
    }

    /// Postgres takes no text with a zero byte in it.
    pub(super) fn text(&self, name: &'static str) -> Result<Option<&str>, QueueError> {
        let text = |value| std::str::from_utf8(value).ok().filter(|text: &&str| !text.contains('\0'));
        self.bytes(name).map(|value| text(value).ok_or_else(|| complaint::impossible(name))).transpose()
    }

    pub(super) fn number<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, QueueError> {
        let number = |text: &str| text.trim().parse().map_err(|_| complaint::impossible(name));
        self.text(name)?.map(number).transpose()
    }

    /// Zero and less mean "as usual".
    pub(super) fn seconds(&self, name: &'static str) -> Result<Option<Duration>, QueueError> {
        let seconds = self.number::<i32>(name)?.and_then(|seconds| u64::try_from(seconds).ok());
        Ok(seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs))
    }

    fn is_off(&self, name: &'static str) -> Result<bool, QueueError> {
        Ok(matches!(self.text(name)?, None | Some("0" | "no" | "off" | "false")))
    }

    /// Options that are ignored with some values and refused with others.
    pub(super) fn harmless(&self) -> Result<Vec<&'static str>, QueueError> {
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

    pub(super) fn tls(&self) -> Result<TlsOptions, QueueError> {
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

pub(super) fn unsupported(option: &str, instead: &str) -> QueueError {
    QueueError::Url(format!("its option {option} is not supported: {instead}"))
}
