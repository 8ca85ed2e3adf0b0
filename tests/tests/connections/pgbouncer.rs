//! Debian's PgBouncer in transaction mode, as a child process.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tests::{TestDatabase, eventually};
use tokio_postgres::NoTls;

use crate::forwarder::at_port;
use crate::server::{as_owner_of, folder};

/// Killed when dropped.
pub struct PgBouncer {
    dir: TempDir,
    child: Child,
    url: String,
}

impl PgBouncer {
    /// In front of a database, with so many connections to it. None where PgBouncer cannot be had: Debian has a package,
    /// which scripts/setup installs.
    pub async fn start(db: &TestDatabase, pool_size: u32) -> Option<Self> {
        let Some(program) = program() else {
            assert!(!Path::new("/etc/debian_version").exists(), "pgbouncer is missing; run scripts/setup test");
            eprintln!("SKIPPED: there is no pgbouncer on this machine");
            return None;
        };
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (_, rest) = db.url().split_once("://").unwrap();
        let (user, rest) = rest.split_once(':').unwrap();
        let (password, rest) = rest.split_once("@127.0.0.1:").unwrap();
        let (server_port, _) = rest.split_once('/').unwrap();
        let dir = folder();
        // Nothing is ignored: a startup parameter that PgBouncer does not know is refused.
        let config = format!(
            "[databases]\n\
             * = host=127.0.0.1 port={server_port}\n\
             [pgbouncer]\n\
             listen_addr = 127.0.0.1\n\
             listen_port = {port}\n\
             unix_socket_dir =\n\
             auth_type = scram-sha-256\n\
             auth_file = {dir}/users\n\
             pool_mode = transaction\n\
             default_pool_size = {pool_size}\n\
             max_client_conn = 100\n",
            dir = dir.path().display(),
        );
        fs::write(dir.path().join("pgbouncer.ini"), config).unwrap();
        fs::write(dir.path().join("users"), format!("\"{user}\" \"{password}\"\n")).unwrap();
        let mut bouncer = Self { child: spawn(&program, dir.path()), dir, url: at_port(db.url(), port) };
        bouncer.wait().await;
        Some(bouncer)
    }

    /// For DATABASE_URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Ends at once, whatever was on its way, and begins again.
    pub async fn restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(&program().unwrap(), self.dir.path());
        self.wait().await;
    }

    async fn wait(&mut self) {
        eventually("PgBouncer answers", async || {
            assert!(self.child.try_wait().unwrap().is_none(), "PgBouncer has ended: see above");
            tokio_postgres::connect(&self.url, NoTls).await.ok().map(drop)
        })
        .await;
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(program: &Path, dir: &Path) -> Child {
    let mut command = Command::new(program);
    command.arg("--quiet").arg(dir.join("pgbouncer.ini")).stdin(Stdio::null());
    if rustix::process::geteuid().is_root() {
        // It refuses root. Nobody else may write here, and it need not.
        command.args(["--user", "nobody"]);
    } else {
        as_owner_of(dir, &mut command);
    }
    command.current_dir("/").spawn().unwrap()
}

fn program() -> Option<std::path::PathBuf> {
    let places = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&places).chain(["/usr/sbin".into(), "/opt/homebrew/bin".into()]);
    places.map(|place| place.join("pgbouncer")).find(|program| program.exists())
}
