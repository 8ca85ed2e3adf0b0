//! A Postgres cluster of one test's own.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use host::dev::postgres::{LocalPostgres, Settings};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

/// Stopped with its test.
pub struct Server {
    pub postgres: LocalPostgres,
    dir: TempDir,
}

impl Server {
    pub async fn start() -> Self {
        Self::start_in(folder(), &[]).await
    }

    /// A copy that follows this one.
    pub async fn standby(&self) -> Self {
        let dir = folder();
        let (cluster, draft) = (dir.path().join("cluster"), dir.path().join("draft"));
        fs::create_dir(&draft).unwrap();
        self.give(&draft);
        let mut command = self.program("pg_basebackup");
        command.arg("--pgdata").arg(&draft).args(["--write-recovery-conf", "--checkpoint=fast", "--wal-method=stream"]);
        command.arg("--dbname").arg(self.postgres.url("postgres"));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::rename(&draft, &cluster).unwrap();
        fs::set_permissions(&cluster, fs::Permissions::from_mode(0o700)).unwrap();
        fs::copy(self.dir.path().join("password"), dir.path().join("password")).unwrap();
        Self::start_in(dir, &[]).await
    }

    pub async fn start_in(dir: TempDir, options: &[&str]) -> Self {
        let settings = Settings {
            fsync: false,
            max_connections: 50,
            options: options.iter().map(|&option| option.to_owned()).collect(),
            ..Settings::new(dir.path())
        };
        Self { postgres: LocalPostgres::start(settings).await.unwrap(), dir }
    }

    pub async fn connect(&self, database: &str) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.postgres.url(database), NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// Ends it as a crash does: nothing is said to anybody, and nothing sent to a standby any more.
    pub fn crash(&self) {
        let file = fs::read_to_string(self.cluster().join("postmaster.pid")).unwrap();
        let pid = Pid::from_raw(file.lines().next().unwrap().trim().parse().unwrap()).unwrap();
        kill_process(pid, Signal::QUIT).unwrap();
    }

    pub async fn stop(self) {
        self.postgres.stop().await;
    }

    pub fn cluster(&self) -> PathBuf {
        self.dir.path().join("cluster")
    }

    /// Writes a file into the cluster's folder as only the server may read it.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.cluster().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        self.give(&path);
    }

    /// A program beside the server's, to be run as the server's user: Postgres refuses root.
    pub fn program(&self, name: &str) -> Command {
        let options = fs::read_to_string(self.cluster().join("postmaster.opts")).unwrap();
        let postgres = Path::new(options.split(' ').next().unwrap());
        let mut command = Command::new(postgres.with_file_name(name));
        as_owner_of(&self.cluster(), &mut command);
        command.current_dir("/");
        command
    }

    fn give(&self, path: &Path) {
        let owner = fs::metadata(self.cluster()).unwrap();
        chown(path, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
}

/// A folder that other users may pass through: where root runs the tests, another user runs the servers.
pub fn folder() -> TempDir {
    let dir = tempfile::Builder::new().prefix("server-").tempdir_in(tests::scratch()).unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// Runs a program as the user that a file belongs to.
pub fn as_owner_of(path: &Path, command: &mut Command) {
    use std::os::unix::process::CommandExt as _;
    let owner = fs::metadata(path).unwrap();
    command.uid(owner.uid()).gid(owner.gid());
}
