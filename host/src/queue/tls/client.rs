//! Who we are: the certificate that a server with `clientcert` in its pg_hba.conf asks for.

use std::path::{Path, PathBuf};

use rustls::client::WantsClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, Error, InconsistentKeys};

use super::{QueueError, file};

/// Files (PEM).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// With the intermediate ones behind it, if there are any.
    pub certificate: PathBuf,
    /// PKCS#8, PKCS#1 or SEC1; without a password.
    pub key: PathBuf,
}

impl ClientCertificate {
    pub(super) fn of(certificate: Option<&str>, key: Option<&str>) -> Result<Option<Self>, QueueError> {
        let Some(certificate) = certificate else {
            return match key {
                Some(_) => Err(QueueError::Tls("sslkey is of no use without sslcert".to_owned())),
                None => Ok(None),
            };
        };
        let certificate = file("sslcert", certificate)?;
        // One file may hold both.
        let key = key.map(|key| file("sslkey", key)).transpose()?.unwrap_or_else(|| certificate.clone());
        Ok(Some(Self { certificate, key }))
    }

    pub(super) fn present(
        &self,
        builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    ) -> Result<ClientConfig, QueueError> {
        builder.with_client_auth_cert(self.certificates()?, self.private_key()?).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                let certificate = self.certificate.display();
                wrong("sslkey", &self.key, &format!("it is the key of another certificate than sslcert {certificate}"))
            }
            error => wrong("sslkey", &self.key, &format!("it cannot be used: {error}")),
        })
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, QueueError> {
        let certificates = CertificateDer::pem_slice_iter(&read("sslcert", &self.certificate)?)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| wrong("sslcert", &self.certificate, "it cannot be read; it must be PEM"))?;
        match certificates.is_empty() {
            true => Err(wrong("sslcert", &self.certificate, "there is no certificate in it; it must be PEM")),
            false => Ok(certificates),
        }
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, QueueError> {
        let pem = read("sslkey", &self.key)?;
        PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
            // What the file holds is in no message.
            let what = if String::from_utf8_lossy(&pem).contains("ENCRYPTED") {
                "it is encrypted, and sslpassword is not used here; write it without: openssl pkey -in KEY -out PLAIN"
            } else if self.key == self.certificate {
                "there is no private key in it; name the key's file with sslkey (and a CA's file with sslrootcert)"
            } else {
                "there is no private key in it; it must be PEM"
            };
            wrong("sslkey", &self.key, what)
        })
    }
}

fn read(option: &str, path: &Path) -> Result<Vec<u8>, QueueError> {
    std::fs::read(path).map_err(|error| wrong(option, path, &error.to_string()))
}

fn wrong(option: &str, path: &Path, what: &str) -> QueueError {
    QueueError::Tls(format!("{option} {}: {what}", path.display()))
}
