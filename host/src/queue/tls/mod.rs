//! TLS to Postgres with libpq's meaning of `sslmode` and the options beside it, so that a connection string that works with psql
//! works here.

mod client;
mod end_point;
mod explain;
mod stream;
mod verify;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::config::{SslMode, SslNegotiation};

pub use self::client::ClientCertificate;
pub(super) use self::explain::explain;
pub use self::stream::{MakeTls, Stream};
use self::verify::{AnyName, EncryptOnly};
use super::QueueError;

/// What the connection string asks of TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// Whether to encrypt at all.
    pub mode: SslMode,
    pub verify: Verify,
    /// CA file of `sslrootcert`; the system's CAs otherwise.
    pub root_certificate: Option<PathBuf>,
    /// Who we are, by `sslcert` and `sslkey`.
    pub client: Option<ClientCertificate>,
    /// The oldest version that is spoken, and the newest.
    pub versions: (Version, Version),
    /// Whether the server is asked first (`postgres`).
    pub negotiation: SslNegotiation,
    /// Whether the host's name is kept from who listens (`sslsni=0`).
    pub nameless: bool,
    /// Whether the login must prove that nobody stands in the middle (`channel_binding=require`).
    pub binding: bool,
}

/// A version of TLS; older ones are not spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    Tls12,
    Tls13,
}

/// The options as they stand in a connection string.
#[derive(Debug, Default)]
pub(super) struct TlsOptions {
    pub(super) mode: Option<String>,
    pub(super) root: Option<String>,
    pub(super) certificate: Option<String>,
    pub(super) key: Option<String>,
    pub(super) oldest: Option<String>,
    pub(super) newest: Option<String>,
    pub(super) negotiation: Option<String>,
    pub(super) nameless: bool,
}

/// What is asked of the server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// Nothing: the connection is encrypted, to whom ever (`prefer`, `require`).
    Nothing,
    /// That a CA that we know has signed it (`verify-ca`).
    Chain,
    /// And that it is for the host that we called (`verify-full`).
    Full,
}

impl TlsSettings {
    pub(super) const NONE: Self = Self {
        mode: SslMode::Disable,
        verify: Verify::Nothing,
        root_certificate: None,
        client: None,
        versions: (Version::Tls12, Version::Tls13),
        negotiation: SslNegotiation::Postgres,
        nameless: false,
        binding: false,
    };

    /// What the options mean; `root_certificate` counts where they name none.
    pub(super) fn read(options: &TlsOptions, root_certificate: Option<&str>) -> Result<Self, QueueError> {
        let root = options.root.as_deref().or(root_certificate).filter(|root| !root.is_empty());
        // The system knows many CAs, and each of them any host: without the host's name it would say nothing.
        let system = root == Some("system");
        let (mode, mut verify) = match options.mode.as_deref() {
            None if system => (SslMode::Require, Verify::Full),
            None | Some("allow" | "prefer") => (SslMode::Prefer, Verify::Nothing),
            Some("disable") => (SslMode::Disable, Verify::Nothing),
            Some("require") => (SslMode::Require, Verify::Nothing),
            Some("verify-ca") => (SslMode::Require, Verify::Chain),
            Some("verify-full") => (SslMode::Require, Verify::Full),
            Some(_) => return Err(QueueError::SslMode),
        };
        if let (true, Some(named)) = (system && verify != Verify::Full && mode != SslMode::Disable, &options.mode) {
            return Err(QueueError::Tls(format!(
                "sslmode={named} is too weak for sslrootcert=system; use sslmode=verify-full"
            )));
        }
        let root_certificate = root.filter(|_| !system).map(|root| file("sslrootcert", root)).transpose()?;
        // As libpq: a CA file with "require" means that the certificate is to be checked against it.
        if mode == SslMode::Require && verify == Verify::Nothing && root_certificate.is_some() {
            verify = Verify::Chain;
        }
        let negotiation = match options.negotiation.as_deref() {
            None | Some("postgres") => SslNegotiation::Postgres,
            Some("direct") if mode == SslMode::Require => SslNegotiation::Direct,
            Some("direct") => {
                return Err(QueueError::Tls("sslnegotiation=direct goes with sslmode=require or stronger".to_owned()));
            }
            Some(_) => return Err(QueueError::Tls("sslnegotiation may be postgres or direct".to_owned())),
        };
        let oldest = version("ssl_min_protocol_version", options.oldest.as_deref(), Version::Tls12)?;
        let newest = version("ssl_max_protocol_version", options.newest.as_deref(), Version::Tls13)?;
        if oldest > newest {
            return Err(QueueError::Tls("ssl_min_protocol_version is newer than ssl_max_protocol_version".to_owned()));
        }
        let client = ClientCertificate::of(options.certificate.as_deref(), options.key.as_deref())?;
        let versions = (oldest, newest);
        let nameless = options.nameless;
        Ok(Self { mode, verify, root_certificate, client, versions, negotiation, nameless, binding: false })
    }

    /// The same, where a host of the list is a socket. The driver has one mode for all of them.
    pub(super) fn beside_a_socket(self) -> Result<Self, QueueError> {
        match self.mode {
            SslMode::Require => Err(QueueError::Tls(
                "a socket has none, and sslmode asks for it; name the socket alone, or the hosts alone".to_owned(),
            )),
            _ => Ok(self),
        }
    }

    pub(super) fn with_binding(self, binding: bool) -> Result<Self, QueueError> {
        match self.mode {
            SslMode::Disable if binding => Err(QueueError::Tls(
                "channel_binding=require needs it; use sslmode=require (a socket has no TLS: leave channel_binding out)"
                    .to_owned(),
            )),
            _ => Ok(Self { binding, ..self }),
        }
    }
}

fn version(option: &str, name: Option<&str>, usual: Version) -> Result<Version, QueueError> {
    match name.map(str::to_ascii_lowercase).as_deref() {
        None => Ok(usual),
        Some("tlsv1.3") => Ok(Version::Tls13),
        Some("tlsv1.2") => Ok(Version::Tls12),
        // What is older is not spoken anyway.
        Some("tlsv1" | "tlsv1.1") if usual == Version::Tls12 => Ok(Version::Tls12),
        Some(_) => Err(QueueError::Tls(format!("{option} may be TLSv1.2 or TLSv1.3"))),
    }
}

/// The file that an option names. Some libraries take the certificate or the key itself, which is in no message.
fn file(option: &str, path: &str) -> Result<PathBuf, QueueError> {
    if path.contains("-----") || path.contains(char::is_control) || path.len() > 1024 {
        return Err(QueueError::Tls(format!("{option} is to name a file (PEM), not to hold what is in it")));
    }
    Ok(path.into())
}

/// The TLS side of a connection.
pub fn connector(settings: &TlsSettings) -> Result<MakeTls, QueueError> {
    let provider = Arc::new(ring::default_provider());
    let problem = |error: &dyn std::error::Error| QueueError::Tls(error.to_string());
    let (oldest, newest) = settings.versions;
    let all = [(Version::Tls13, &TLS13), (Version::Tls12, &TLS12)];
    let spoken = all.into_iter().filter(|(version, _)| (oldest..=newest).contains(version));
    let versions: Vec<_> = spoken.map(|(_, version)| version).collect();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .map_err(|error| problem(&error))?;
    let builder = match settings.verify {
        Verify::Nothing => builder.dangerous().with_custom_certificate_verifier(Arc::new(EncryptOnly::new(provider))),
        Verify::Chain => {
            let verifier = AnyName::new(roots(settings)?, provider).map_err(|error| problem(&error))?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        }
        Verify::Full => builder.with_root_certificates(roots(settings)?),
    };
    let mut config = match &settings.client {
        Some(client) if settings.mode != SslMode::Disable => client.present(builder)?,
        _ => builder.with_no_client_auth(),
    };
    config.enable_sni = !settings.nameless;
    if settings.negotiation == SslNegotiation::Direct {
        config.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    Ok(MakeTls::new(config, settings.binding))
}

/// A bundle may hold many (Amazon's for RDS holds those of every region); one that cannot be read is no reason to refuse
/// the others.
fn roots(settings: &TlsSettings) -> Result<RootCertStore, QueueError> {
    let mut store = RootCertStore::empty();
    let Some(path) = &settings.root_certificate else {
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return match store.is_empty() {
            true => Err(QueueError::Tls(
                "this system has no CA certificates to check the server's against; install ca-certificates, or name the \
                 CA's file with sslrootcert"
                    .to_owned(),
            )),
            false => Ok(store),
        };
    };
    let problem = |error: String| QueueError::Tls(format!("sslrootcert {}: {error}", path.display()));
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| problem(error.to_string()))?;
    let (_, ignored) = store.add_parsable_certificates(certificates);
    if store.is_empty() {
        return Err(problem("there is no CA certificate in it; it must be PEM".to_owned()));
    }
    if ignored > 0 {
        tracing::warn!(
            name: "database.certificates_unreadable",
            file = %path.display(),
            ignored,
            "some certificates of sslrootcert cannot be read"
        );
    }
    Ok(store)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::queue::options::Options;

    fn read(url: &str) -> Result<TlsSettings, QueueError> {
        TlsSettings::read(&Options::read(url, &|_| None)?.tls, None)
    }

    fn tls(url: &str) -> TlsSettings {
        read(url).unwrap()
    }

    #[test]
    fn both_forms_are_read() {
        let found = tls("postgres://u@h/d?sslmode=verify-full&application_name=x&sslrootcert=%2Fa%20b.pem");
        let root_certificate = Some(PathBuf::from("/a b.pem"));
        assert_eq!(
            found,
            TlsSettings { mode: SslMode::Require, verify: Verify::Full, root_certificate, ..TlsSettings::NONE }
        );
        assert_eq!(tls("host=h dbname=d sslmode='require'").mode, SslMode::Require);
    }

    #[test]
    fn certificates_and_versions_are_as_in_libpq() {
        let found = tls("postgres://h/d?sslcert=c.pem&sslkey=k.pem&ssl_min_protocol_version=TLSv1.3");
        let client = ClientCertificate { certificate: "c.pem".into(), key: "k.pem".into() };
        assert_eq!((found.client, found.versions), (Some(client), (Version::Tls13, Version::Tls13)));
        assert_eq!(tls("postgres://h/d?ssl_min_protocol_version=TLSv1").versions, (Version::Tls12, Version::Tls13));
        assert_eq!(tls("host=h sslcert=both.pem").client.unwrap().key, PathBuf::from("both.pem"));
        assert_eq!(tls("host=h sslcert=c.pem sslkey=k.pem sslcertmode=disable").client, None);
        for wrong in [
            "postgres://h/d?sslkey=k.pem",
            "postgres://h/d?ssl_max_protocol_version=TLSv1.1",
            "postgres://h/d?ssl_min_protocol_version=TLSv1.3&ssl_max_protocol_version=TLSv1.2",
            "postgres://h/d?sslnegotiation=direct",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_the_handshake_says_is_as_asked_for() {
        let config = |url: &str| connector(&tls(url)).unwrap();
        let usual = config("postgres://h/d?sslmode=require");
        assert!(usual.config().enable_sni && usual.config().alpn_protocols.is_empty());
        let direct = config("postgres://h/d?sslmode=require&sslnegotiation=direct&sslsni=0");
        assert!(!direct.config().enable_sni && direct.config().alpn_protocols == [b"postgresql"]);
    }

    #[test]
    fn means_what_libpq_means() {
        assert_eq!((tls("postgres://h/d").mode, tls("postgres://h/d").verify), (SslMode::Prefer, Verify::Nothing));
        assert_eq!(tls("postgres://h/d?sslmode=require").verify, Verify::Nothing);
        assert_eq!(tls("postgres://h/d?sslmode=require&sslrootcert=/ca.pem").verify, Verify::Chain);
        assert_eq!(tls("postgres://h/d?sslmode=verify-ca").verify, Verify::Chain);
        assert_eq!(tls("postgres://h/d?sslmode=prefer&sslrootcert=/ca.pem").verify, Verify::Nothing);
        assert!(read("postgres://h/d?sslmode=sometimes").is_err());
    }

    #[test]
    fn the_systems_certificates_are_for_whole_checks_only() {
        let system = tls("postgres://h/d?sslrootcert=system");
        assert_eq!((system.mode, system.verify, system.root_certificate), (SslMode::Require, Verify::Full, None));
        let error = read("postgres://h/d?sslmode=require&sslrootcert=system").unwrap_err().to_string();
        assert!(error.contains("sslmode=verify-full"), "{error}");
    }

    #[test]
    fn a_certificate_named_beside_the_url_counts_where_it_names_none() {
        let of = |url: &str| {
            let options = Options::read(url, &|_| None).unwrap().tls;
            TlsSettings::read(&options, Some("/env.pem")).unwrap().root_certificate.unwrap()
        };
        assert_eq!(of("postgres://h/d?sslmode=verify-full"), PathBuf::from("/env.pem"));
        assert_eq!(of("postgres://h/d?sslmode=verify-full&sslrootcert=/own.pem"), PathBuf::from("/own.pem"));
    }
}
