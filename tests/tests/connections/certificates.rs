//! A certificate authority of the test's own: the openssl command, which Debian has wherever it has CA certificates.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

const CONFIG: &str = "
[ca]
default_ca = ours
[ours]
database = index
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[req]
distinguished_name = empty
[empty]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = keyCertSign
[server]
basicConstraints = CA:FALSE
subjectAltName = DNS:$ENV::HOST
[client]
basicConstraints = CA:FALSE
extendedKeyUsage = clientAuth
";

pub struct Authority {
    dir: TempDir,
}

/// PEM.
pub struct Certificate {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str, key: Key) -> Self {
        let authority = Self { dir: tempfile::tempdir().unwrap() };
        fs::write(authority.dir.path().join("openssl.cnf"), CONFIG).unwrap();
        fs::write(authority.dir.path().join("index"), "").unwrap();
        let subject = format!("/CN={name}");
        authority.openssl(
            &[
                &["req", "-x509", "-subj", &subject, "-extensions", "authority"][..],
                &key.request("ca.key"),
                &["-out", "ca.crt"],
            ]
            .concat(),
        );
        authority
    }

    /// Its own certificate, PEM.
    pub fn certificate(&self) -> String {
        self.read("ca.crt")
    }

    /// A server's, for this host and these years.
    pub fn issue(&self, host: &str, years: (u32, u32)) -> Certificate {
        self.issue_signed(host, years, &[])
    }

    /// The same, signed so: openssl's options.
    pub fn issue_signed(&self, host: &str, years: (u32, u32), signed: &[&str]) -> Certificate {
        self.sign(host, "server", "server", years, signed)
    }

    /// A role's.
    pub fn issue_to_role(&self, role: &str, years: (u32, u32)) -> Certificate {
        self.sign("none", "client", role, years, &[])
    }

    fn sign(&self, host: &str, kind: &str, name: &str, (from, to): (u32, u32), signed: &[&str]) -> Certificate {
        let (from, to) = (format!("{from}0101000000Z"), format!("{to}0101000000Z"));
        let subject = format!("/CN={name}");
        self.openssl(
            &[&["req", "-subj", &subject][..], &Key::Ec.request("server.key"), &["-out", "server.csr"]].concat(),
        );
        self.openssl_for(
            host,
            &[
                &["ca"],
                signed,
                &[
                    "-batch",
                    "-notext",
                    "-extensions",
                    kind,
                    "-in",
                    "server.csr",
                    "-out",
                    "server.crt",
                    "-cert",
                    "ca.crt",
                    "-keyfile",
                    "ca.key",
                    "-startdate",
                    &from,
                    "-enddate",
                    &to,
                ],
            ]
            .concat(),
        );
        Certificate { certificate: self.read("server.crt"), key: self.read("server.key") }
    }

    /// The key with a password before it: nobody reads it by itself.
    pub fn encrypted(&self, key: &str) -> String {
        fs::write(self.dir.path().join("plain.key"), key).unwrap();
        let mut command = Command::new("openssl");
        command.args(["pkcs8", "-topk8", "-in", "plain.key", "-out", "secret.key", "-passout", "pass:secret"]);
        assert!(command.current_dir(self.dir.path()).status().unwrap().success());
        self.read("secret.key")
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).unwrap()
    }

    fn openssl(&self, args: &[&str]) {
        self.openssl_for("none", args);
    }

    fn openssl_for(&self, host: &str, args: &[&str]) {
        let mut command = Command::new("openssl");
        command.args(&args[..1]).args(["-config", "openssl.cnf"]).args(&args[1..]);
        let output =
            command.env("HOST", host).current_dir(self.dir.path()).output().expect("openssl; see scripts/setup");
        assert!(output.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// What kind of key; a certificate is signed by its CA's.
#[derive(Clone, Copy)]
pub enum Key {
    Ec,
    Rsa,
    Ed25519,
}

impl Key {
    /// A new one beside the request.
    fn request(self, file: &str) -> Vec<&str> {
        let kind: &[&str] = match self {
            Self::Ec => &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
            Self::Rsa => &["-newkey", "rsa:2048"],
            Self::Ed25519 => &["-newkey", "ed25519"],
        };
        [kind, &["-nodes", "-keyout", file]].concat()
    }
}
