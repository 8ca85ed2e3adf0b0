//! What is wrong with the server's TLS, in words that say what to do.

use std::error::Error;
use std::io;

use rustls::CertificateError as Wrong;

use super::TlsSettings;

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
    let tls = source.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::InvalidCertificate(wrong) = tls else { return Some(format!("TLS: {tls}")) };
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
        wrong => format!("the server's certificate is not good: {wrong}"),
    })
}

fn other_name(presented: &str) -> String {
    format!(
        "the server's certificate is for {presented}; use that name for the host, or sslmode=verify-ca if any name will do"
    )
}
