//! TLS to Postgres with libpq's meaning of `sslmode` and `sslrootcert`, so that a connection string that works with psql
//! works here.

mod explain;
mod verify;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

pub(super) use self::explain::explain;
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

/// Takes `sslmode` and `sslrootcert` out of a connection string: the driver does not know all their values.
/// `root_certificate` counts where the string names none.
pub fn split(url: &str, root_certificate: Option<&str>) -> Result<(String, TlsSettings), QueueError> {
    // As a URL the parameters follow a "?", joined by "&"; libpq's other form is words of key=value.
    let is_url = url.contains("://");
    let (base, pairs, joint) = match url.split_once('?') {
        Some((base, query)) if is_url => (base, query.split('&').collect::<Vec<_>>(), "&"),
        _ if is_url => (url, Vec::new(), "&"),
        _ => ("", url.split_whitespace().collect(), " "),
    };
    let value = |text: &str| match is_url {
        true => percent_decoded(text),
        false => text.trim_matches('\'').to_owned(),
    };
    let (mut mode, mut root) = (None, root_certificate.map(str::to_owned));
    let mut rest = Vec::new();
    for pair in pairs.into_iter().filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sslmode", text)) => mode = Some(value(text)),
            Some(("sslrootcert", text)) => root = Some(value(text)),
            _ => rest.push(pair),
        }
    }
    let settings = settings(mode.as_deref(), root.filter(|root| !root.is_empty()))?;
    let rest = rest.join(joint);
    let url = match (base, rest.as_str()) {
        ("", rest) => rest.to_owned(),
        (base, "") => base.to_owned(),
        (base, rest) => format!("{base}?{rest}"),
    };
    Ok((url, settings))
}

fn settings(mode: Option<&str>, root: Option<String>) -> Result<TlsSettings, QueueError> {
    // The system knows many CAs, and each of them any host: without the host's name it would say nothing.
    let system = root.as_deref() == Some("system");
    let (ssl, mut verify) = match mode {
        None if system => (SslMode::Require, Verify::Full),
        None | Some("allow" | "prefer") => (SslMode::Prefer, Verify::Nothing),
        Some("disable") => (SslMode::Disable, Verify::Nothing),
        Some("require") => (SslMode::Require, Verify::Nothing),
        Some("verify-ca") => (SslMode::Require, Verify::Chain),
        Some("verify-full") => (SslMode::Require, Verify::Full),
        Some(_) => return Err(QueueError::SslMode),
    };
    if let (true, Some(mode)) = (system && !matches!(verify, Verify::Full) && ssl != SslMode::Disable, mode) {
        return Err(QueueError::Tls(format!(
            "sslmode={mode} is too weak for sslrootcert=system; use sslmode=verify-full"
        )));
    }
    let root_certificate = root.filter(|_| !system).map(PathBuf::from);
    // As libpq: a CA file with "require" means that the certificate is to be checked against it.
    if ssl == SslMode::Require && verify == Verify::Nothing && root_certificate.is_some() {
        verify = Verify::Chain;
    }
    Ok(TlsSettings { mode: ssl, verify, root_certificate })
}

/// The TLS side of a connection.
pub fn connector(settings: &TlsSettings) -> Result<MakeRustlsConnect, QueueError> {
    let provider = Arc::new(ring::default_provider());
    let problem = |error: &dyn std::error::Error| QueueError::Tls(error.to_string());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| problem(&error))?;
    let builder = match settings.verify {
        Verify::Nothing => builder.dangerous().with_custom_certificate_verifier(Arc::new(EncryptOnly::new(provider))),
        Verify::Chain => {
            let verifier = AnyName::new(roots(settings)?, provider).map_err(|error| problem(&error))?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        }
        Verify::Full => builder.with_root_certificates(roots(settings)?),
    };
    Ok(MakeRustlsConnect::new(builder.with_no_client_auth()))
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
        tracing::warn!(file = %path.display(), ignored, "some certificates of sslrootcert cannot be read");
    }
    Ok(store)
}

/// `%2F` is `/`, as everywhere in URLs; what is no such code stays.
pub(super) fn percent_decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn tls(url: &str) -> TlsSettings {
        split(url, None).unwrap().1
    }

    #[test]
    fn takes_the_tls_parameters_out_and_leaves_the_rest() {
        let (url, tls) =
            split("postgres://u@h/d?sslmode=verify-full&application_name=x&sslrootcert=%2Fa%20b.pem", None).unwrap();
        assert_eq!(url, "postgres://u@h/d?application_name=x");
        let root_certificate = Some(PathBuf::from("/a b.pem"));
        assert_eq!(tls, TlsSettings { mode: SslMode::Require, verify: Verify::Full, root_certificate });
        let (words, tls) = split("host=h dbname=d sslmode='require'", None).unwrap();
        assert_eq!((words.as_str(), tls.mode), ("host=h dbname=d", SslMode::Require));
    }

    #[test]
    fn means_what_libpq_means() {
        assert_eq!((tls("postgres://h/d").mode, tls("postgres://h/d").verify), (SslMode::Prefer, Verify::Nothing));
        assert_eq!(tls("postgres://h/d?sslmode=require").verify, Verify::Nothing);
        assert_eq!(tls("postgres://h/d?sslmode=require&sslrootcert=/ca.pem").verify, Verify::Chain);
        assert_eq!(tls("postgres://h/d?sslmode=verify-ca").verify, Verify::Chain);
        assert_eq!(tls("postgres://h/d?sslmode=prefer&sslrootcert=/ca.pem").verify, Verify::Nothing);
        assert!(split("postgres://h/d?sslmode=sometimes", None).is_err());
    }

    #[test]
    fn the_systems_certificates_are_for_whole_checks_only() {
        let system = tls("postgres://h/d?sslrootcert=system");
        assert_eq!((system.mode, system.verify, system.root_certificate), (SslMode::Require, Verify::Full, None));
        let error = split("postgres://h/d?sslmode=require&sslrootcert=system", None).unwrap_err().to_string();
        assert!(error.contains("sslmode=verify-full"), "{error}");
    }

    #[test]
    fn a_certificate_named_beside_the_url_counts_where_it_names_none() {
        let of = |url: &str| split(url, Some("/env.pem")).unwrap().1.root_certificate.unwrap();
        assert_eq!(of("postgres://h/d?sslmode=verify-full"), PathBuf::from("/env.pem"));
        assert_eq!(of("postgres://h/d?sslmode=verify-full&sslrootcert=/own.pem"), PathBuf::from("/own.pem"));
    }
}
