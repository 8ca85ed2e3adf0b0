//! What is wrong with the server's TLS, in words that say what to do.

use std::error::Error;
use std::io;

use rustls::{AlertDescription as Alert, CertificateError as Wrong};

use super::TlsSettings;
use super::stream::NoBinding;

/// The reason, where TLS is what failed.
pub fn explain(error: &tokio_postgres::Error, settings: &TlsSettings) -> Option<String> {
    let source = error.source()?;
    if source.to_string() == "server does not support TLS" {
        return Some(
            "the server speaks no TLS, which sslmode asks for; turn ssl on there, or use sslmode=disable on a network \
             that you trust"
                .to_owned(),
        );
    }
    // The driver's words where the server wants no password, an older hash of it, or speaks no TLS.
    if source.to_string() == "server did not use channel binding" {
        return Some(
            "channel_binding=require, but the server did not bind this login: it must speak TLS and ask this role for its \
             password by scram-sha-256 (in pg_hba.conf; a password that was set as md5 is to be set again)"
                .to_owned(),
        );
    }
    let source = source.downcast_ref::<io::Error>()?;
    // A server that refuses a certificate hangs up, which may be noticed before its reason is read.
    if let Some(client) = &settings.client
        && is_hang_up(source)
        && error.to_string().contains("TLS handshake")
    {
        return Some(format!(
            "the server broke the handshake off; does it take the certificate of sslcert {}? Is it signed by a CA in the \
             server's ssl_ca_file, and valid today?",
            client.certificate.display()
        ));
    }
    let wrapped = source.get_ref()?;
    if let Some(unbound) = wrapped.downcast_ref::<NoBinding>() {
        return Some(unbound.to_string());
    }
    let wrong = match wrapped.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(wrong) => wrong,
        rustls::Error::AlertReceived(alert) => return Some(refused(*alert, settings)),
        other => return Some(format!("TLS: {other}")),
    };
    Some(match wrong {
        Wrong::UnknownIssuer | Wrong::BadSignature => {
            let known = match &settings.root_certificate {
                Some(path) => format!("none of the CAs in {}", path.display()),
                None => "none of the CAs that this system knows".to_owned(),
            };
            format!("{known} has signed the server's certificate; name the right CA's file with sslrootcert")
        }
        Wrong::NotValidForName => other_name("another host"),
        Wrong::NotValidForNameContext { presented, .. } => other_name(&presented.join(", ")),
        Wrong::Expired | Wrong::ExpiredContext { .. } => "the server's certificate has expired; renew it".to_owned(),
        Wrong::NotValidYet | Wrong::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet; are the clocks right?".to_owned()
        }
        Wrong::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "the server's certificate is a CA's own; give the server one that the CA has signed".to_owned()
        }
        Wrong::UnsupportedSignatureAlgorithmContext { .. } | Wrong::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "the server's certificate is signed in a way that cannot be checked here; give the server one that is signed with \
             RSA or Ed25519, or with ECDSA and SHA-256 or SHA-384 (sslmode=require encrypts without a check)"
                .to_owned()
        }
        wrong => format!("the server's certificate is not good: {wrong}"),
    })
}

fn is_hang_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

fn other_name(presented: &str) -> String {
    format!(
        "the server's certificate is for {presented}; use that name for the host, or sslmode=verify-ca if any name will do"
    )
}

/// What the server says in ending the handshake.
fn refused(alert: Alert, settings: &TlsSettings) -> String {
    match (alert, &settings.client) {
        (Alert::ProtocolVersion, _) => {
            "the server speaks none of the versions from ssl_min_protocol_version to ssl_max_protocol_version"
                .to_owned()
        }
        (Alert::CertificateRequired, None) => {
            "the server asks for a certificate; name the role's with sslcert and sslkey".to_owned()
        }
        (
            Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::CertificateExpired
            | Alert::CertificateRevoked
            | Alert::CertificateUnknown
            | Alert::UnsupportedCertificate
            | Alert::AccessDenied
            | Alert::DecryptError,
            Some(client),
        ) => format!(
            "the server refuses the certificate of sslcert {} ({alert:?}); it must be signed by a CA of the server's \
             ssl_ca_file, and valid today",
            client.certificate.display()
        ),
        (alert, _) => format!("TLS: the server ended the handshake: {alert:?}"),
    }
}
