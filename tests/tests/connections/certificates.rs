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
    pub fn new(name: &str) -> Self {
        let authority = Self { dir: tempfile::tempdir().unwrap() };
        fs::write(authority.dir.path().join("openssl.cnf"), CONFIG).unwrap();
        fs::write(authority.dir.path().join("index"), "").unwrap();
        let subject = format!("/CN={name}");
        authority.openssl(
            &[
                &["req", "-x509", "-subj", &subject, "-extensions", "authority"][..],
                &key("ca.key"),
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
    pub fn issue(&self, host: &str, (from, to): (u32, u32)) -> Certificate {
        let (from, to) = (format!("{from}0101000000Z"), format!("{to}0101000000Z"));
        self.openssl(&[&["req", "-subj", "/CN=server"][..], &key("server.key"), &["-out", "server.csr"]].concat());
        self.openssl_for(
            host,
            &[
                "ca",
                "-batch",
                "-notext",
                "-extensions",
                "server",
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
        );
        Certificate { certificate: self.read("server.crt"), key: self.read("server.key") }
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

/// A new key beside the request.
fn key(file: &str) -> [&str; 7] {
    ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", file]
}
