//! TLS to Postgres with libpq's meaning of `sslmode`, so that a connection string that works with psql works here.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::QueueError;

/// What the connection string asks of TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// Whether to encrypt at all.
    pub mode: SslMode,
    /// Whether the server's certificate and name are checked (`verify-ca` is served by the stricter `verify-full`).
    pub verify: bool,
    /// CA file of `sslrootcert`; the system's CAs otherwise.
    pub root_certificate: Option<PathBuf>,
}

/// Takes `sslmode` and `sslrootcert` out of a connection string: the driver does not know all their values.
pub fn split(url: &str) -> Result<(String, TlsSettings), QueueError> {
    let mut settings = TlsSettings { mode: SslMode::Prefer, verify: false, root_certificate: None };
    // As a URL the parameters follow a "?", joined by "&"; libpq's other form is words of key=value.
    let is_url = url.contains("://");
    let (base, pairs, joint) = match url.split_once('?') {
        Some((base, query)) if is_url => (base, query.split('&').collect::<Vec<_>>(), "&"),
        _ if is_url => return Ok((url.to_owned(), settings)),
        _ => ("", url.split_whitespace().collect(), " "),
    };
    let mut rest = Vec::new();
    for pair in pairs.into_iter().filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sslmode", mode)) => {
                (settings.mode, settings.verify) = match mode {
                    "disable" => (SslMode::Disable, false),
                    "allow" | "prefer" => (SslMode::Prefer, false),
                    "require" => (SslMode::Require, false),
                    "verify-ca" | "verify-full" => (SslMode::Require, true),
                    other => return Err(QueueError::SslMode(other.to_owned())),
                };
            }
            Some(("sslrootcert", path)) if path != "system" => settings.root_certificate = Some(PathBuf::from(path)),
            Some(("sslrootcert", _)) => settings.verify = true,
            _ => rest.push(pair),
        }
    }
    // As libpq: a CA file with "require" means that the certificate is to be checked against it.
    settings.verify |= settings.root_certificate.is_some() && settings.mode == SslMode::Require;
    let rest = rest.join(joint);
    let url = match (base, rest.as_str()) {
        ("", rest) => rest.to_owned(),
        (base, "") => base.to_owned(),
        (base, rest) => format!("{base}?{rest}"),
    };
    Ok((url, settings))
}

/// The TLS side of a connection.
pub fn connector(settings: &TlsSettings) -> Result<MakeRustlsConnect, QueueError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| QueueError::Tls(error.to_string()))?;
    let config = if settings.verify {
        builder.with_root_certificates(roots(settings)?).with_no_client_auth()
    } else {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(EncryptOnly(provider))).with_no_client_auth()
    };
    Ok(MakeRustlsConnect::new(config))
}

fn roots(settings: &TlsSettings) -> Result<RootCertStore, QueueError> {
    let mut store = RootCertStore::empty();
    match &settings.root_certificate {
        Some(path) => {
            let problem = |error: String| QueueError::Tls(format!("sslrootcert {}: {error}", path.display()));
            let certificates = CertificateDer::pem_file_iter(path).map_err(|error| problem(error.to_string()))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| problem(error.to_string()))?;
                store.add(certificate).map_err(|error| problem(error.to_string()))?;
            }
        }
        None => {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if store.is_empty() {
        return Err(QueueError::Tls("no CA certificate to check the server's against; set sslrootcert".to_owned()));
    }
    Ok(store)
}

/// `sslmode=prefer` and `require` encrypt without asking who answers; this is what libpq documents for them.
#[derive(Debug)]
struct EncryptOnly(Arc<CryptoProvider>);

impl ServerCertVerifier for EncryptOnly {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn takes_the_tls_parameters_out_and_leaves_the_rest() {
        let (url, tls) = split("postgres://u@h/d?sslmode=verify-full&application_name=x&sslrootcert=/ca.pem").unwrap();
        assert_eq!(url, "postgres://u@h/d?application_name=x");
        assert_eq!(
            tls,
            TlsSettings { mode: SslMode::Require, verify: true, root_certificate: Some(PathBuf::from("/ca.pem")) }
        );
        assert!(split("postgres://h/d?sslmode=sometimes").is_err());
        assert_eq!(split("postgres://h/d").unwrap().1.mode, SslMode::Prefer);
        assert!(!split("postgres://h/d?sslmode=require").unwrap().1.verify);
        let (words, tls) = split("host=h dbname=d sslmode=require").unwrap();
        assert_eq!((words.as_str(), tls.mode), ("host=h dbname=d", SslMode::Require));
    }
}
