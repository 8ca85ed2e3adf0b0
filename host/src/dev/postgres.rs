//! A Postgres of our own, from the binaries on the machine: loopback only, and gone when the host is gone.
//!
//! One folder holds everything: `cluster/` (the data), `password`, `postgres.log` and `lock`, which keeps a second host
//! out. Postgres runs under a shell that waits for the host's end of a pipe to close, and then asks it to stop: that
//! happens also when the host is killed with no chance to say goodbye. Should the shell have been killed as well, the
//! next start finds the server by its pid file and stops it.

mod binaries;
mod error;
mod leftover;
mod owner;

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, ChildStdin, Command};
use tokio::time::Instant;
use tokio_postgres::NoTls;
use tokio_postgres::error::SqlState;

use self::binaries::Binaries;
pub use self::error::Error;
use self::leftover::STOP;
use self::owner::Owner;

/// How a cluster is called until it is complete.
const DRAFT: &str = "cluster.new";
/// The superuser of a cluster that we made.
const USER: &str = "postgres";
/// After a crash the server first replays its log.
const START: Duration = Duration::from_secs(60);
/// Ports that are tried when none is asked for: between finding a free one and listening, another may take it.
const PORTS: usize = 5;

/// Runs `"$@"`, and interrupts it (a fast shutdown, for Postgres) when standard input ends. More than once: a server that
/// has just begun to start does not listen yet.
const KEEPER: &str = r#"
exec 3<&0
"$@" </dev/null 3<&- & server=$!
{ read -r _ <&3; while kill -INT $server; do sleep 1; done; } & watch=$!
exec 3<&-
wait $server; code=$?
kill $watch
exit $code
"#;

/// How to start a [`LocalPostgres`].
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder for the cluster and what belongs to it; made when it is not there.
    pub dir: PathBuf,
    /// `None` takes a free one.
    pub port: Option<u16>,
    /// Off only where the data may be lost with the machine's power: in tests.
    pub fsync: bool,
    pub max_connections: u16,
    /// More `name=value` settings for the server.
    pub options: Vec<String>,
    /// The folder with `initdb` and `postgres`, in place of a search for it.
    pub bin_dir: Option<PathBuf>,
}

impl Settings {
    /// A free port, nothing lost in a crash, 200 connections.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), port: None, fsync: true, max_connections: 200, options: Vec::new(), bin_dir: None }
    }
}

/// A running server. Dropping it stops the server too, without anybody waiting for it.
pub struct LocalPostgres {
    port: u16,
    password: String,
    paths: Paths,
    keeper: Child,
    /// While this is open, the keeper keeps.
    lifeline: Option<ChildStdin>,
    _lock: File,
}

impl LocalPostgres {
    /// Returns when the server takes connections.
    pub async fn start(settings: Settings) -> Result<Self, Error> {
        let owner = Owner::choose()?;
        let paths = Paths::prepare(&settings.dir, &owner)?;
        let lock = lock(&paths)?;
        owner.check_way_to(&paths.dir)?;
        let binaries = Binaries::find(settings.bin_dir.as_deref(), &paths.cluster)?;
        leftover::stop(&paths.cluster).await?;
        let password = initialise(&binaries, &owner, &paths).await?;

        let mut tries = if settings.port.is_some() { 1 } else { PORTS };
        loop {
            tries -= 1;
            let port = match settings.port {
                Some(port) => port,
                None => free_port().map_err(|source| Error::Folder { path: paths.dir.clone(), source })?,
            };
            let (keeper, lifeline) = spawn(&binaries, &owner, &paths, &settings, port)?;
            let mut server = Self {
                port,
                password: password.clone(),
                paths: paths.clone(),
                keeper,
                lifeline,
                _lock: try_clone(&lock, &paths)?,
            };
            match server.wait_until_ready().await {
                Ok(()) => return Ok(server),
                Err(Error::PortTaken { .. }) if tries > 0 => {}
                Err(error) => {
                    server.stop().await;
                    return Err(error);
                }
            }
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address of a database of this server, with user and password.
    pub fn url(&self, database: &str) -> String {
        format!("postgresql://{USER}:{}@127.0.0.1:{}/{database}?sslmode=disable", self.password, self.port)
    }

    /// Makes the database unless it is there.
    pub async fn ensure_database(&self, name: &str) -> Result<(), Error> {
        let failed = |source| Error::Database { name: name.to_owned(), source };
        let client = self.connect().await.map_err(failed)?;
        let quoted = name.replace('"', "\"\"");
        match client.batch_execute(&format!("CREATE DATABASE \"{quoted}\"")).await {
            Err(error) if error.code() == Some(&SqlState::DUPLICATE_DATABASE) => Ok(()),
            other => other.map_err(failed),
        }
    }

    /// A fast shutdown: breaks connections off, writes everything out, and returns when the server has ended.
    pub async fn stop(mut self) {
        self.lifeline = None;
        if let Ok(ended) = tokio::time::timeout(STOP, self.keeper.wait()).await {
            if let Err(error) = ended {
                tracing::warn!(name: "dev.postgres_wait_failed", %error, "cannot wait for the local Postgres");
            }
            return;
        }
        tracing::warn!(
            name: "dev.postgres_killed",
            "the local Postgres does not stop within {} s; it is ended at once",
            STOP.as_secs()
        );
        leftover::end_at_once(&self.paths.cluster);
        let _ = tokio::time::timeout(STOP, self.keeper.wait()).await;
    }

    /// An immediate shutdown, as of a crash: nothing is written out, and the next start recovers from the log. Returns when
    /// the server has ended.
    pub async fn crash(mut self) {
        leftover::end_at_once(&self.paths.cluster);
        let _ = tokio::time::timeout(STOP, self.keeper.wait()).await;
    }

    async fn wait_until_ready(&mut self) -> Result<(), Error> {
        let deadline = Instant::now() + START;
        loop {
            if !matches!(self.keeper.try_wait(), Ok(None)) {
                return Err(self.start_error());
            }
            // The port may be another's: only a server that knows our password is ours.
            if self.connect().await.is_ok() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(self.start_error());
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    // To make a database; there is no schema of ours in it yet.
    #[allow(clippy::disallowed_types)]
    async fn connect(&self) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
        let (client, connection) = tokio_postgres::connect(&self.url("postgres"), NoTls).await?;
        // Ends with the client.
        tokio::spawn(connection);
        Ok(client)
    }

    fn start_error(&self) -> Error {
        let log = self.paths.log.clone();
        let text = tail(&log).unwrap_or_default();
        if text.contains("could not bind IPv4 address") {
            return Error::PortTaken { port: self.port };
        }
        let fatal = text.lines().rfind(|line| line.contains("FATAL") || line.contains("PANIC"));
        let message = fatal.or(text.lines().last()).unwrap_or("it says nothing").to_owned();
        Error::Start { message, log }
    }
}

/// What is where in the folder.
#[derive(Clone)]
struct Paths {
    dir: PathBuf,
    cluster: PathBuf,
    password: PathBuf,
    log: PathBuf,
    lock: PathBuf,
}

impl Paths {
    fn prepare(dir: &Path, owner: &Owner) -> Result<Self, Error> {
        let failed = |source| Error::Folder { path: dir.to_owned(), source };
        fs::create_dir_all(dir).map_err(failed)?;
        let dir = dir.canonicalize().map_err(failed)?;
        owner.let_pass(&dir)?;
        Ok(Self {
            cluster: dir.join("cluster"),
            password: dir.join("password"),
            log: dir.join("postgres.log"),
            lock: dir.join("lock"),
            dir,
        })
    }
}

/// Two servers on one cluster would be refused by Postgres, but the second start would first stop the first server.
fn lock(paths: &Paths) -> Result<File, Error> {
    let failed = |source| Error::Folder { path: paths.lock.clone(), source };
    let file = File::options().create(true).write(true).truncate(false).open(&paths.lock).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(Error::InUse { path: paths.dir.clone() }),
        Err(fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}

fn try_clone(lock: &File, paths: &Paths) -> Result<File, Error> {
    lock.try_clone().map_err(|source| Error::Folder { path: paths.lock.clone(), source })
}

/// Makes the cluster unless there is one, and returns its password.
///
/// Other users of the machine reach loopback too: so there is a password, and only its owner can read it.
async fn initialise(binaries: &Binaries, owner: &Owner, paths: &Paths) -> Result<String, Error> {
    if paths.cluster.join("PG_VERSION").exists() {
        return match fs::read_to_string(&paths.password) {
            Ok(password) => Ok(password.trim().to_owned()),
            Err(_) => Err(Error::PasswordLost { dir: paths.dir.clone(), path: paths.password.clone() }),
        };
    }
    let password = new_password()?;
    write_secret(&paths.password, &password)
        .map_err(|source| Error::Folder { path: paths.password.clone(), source })?;
    owner.give(&paths.password)?;

    // Made aside and moved into place: what a kill leaves behind halfway is never taken for a cluster. It has a name of its own
    // each time: the children of an initdb that was killed write into theirs for another moment.
    for entry in fs::read_dir(&paths.dir).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(DRAFT) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let draft = tempfile::Builder::new().prefix(DRAFT).tempdir_in(&paths.dir);
    let draft = draft.map_err(|source| Error::Folder { path: paths.dir.clone(), source })?.keep();
    owner.give(&draft)?;
    let mut command = Command::new(&binaries.initdb);
    command.arg("--pgdata").arg(&draft).arg("--pwfile").arg(&paths.password);
    command.args(["--username", USER, "--encoding", "UTF8", "--no-locale"]);
    command.args(["--auth-host", "scram-sha-256", "--auth-local", "scram-sha-256"]);
    owner.run_as(&mut command);
    command.current_dir(&paths.dir).stdin(Stdio::null()).kill_on_drop(true);
    let output = command
        .output()
        .await
        .map_err(|source| Error::Spawn { program: binaries.initdb.display().to_string(), source })?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let message = text.lines().find(|line| line.contains("error:")).unwrap_or(&text).to_owned();
        return Err(Error::Init { message });
    }
    fs::rename(&draft, &paths.cluster).map_err(|source| Error::Folder { path: paths.cluster.clone(), source })?;
    Ok(password)
}

fn spawn(
    binaries: &Binaries,
    owner: &Owner,
    paths: &Paths,
    settings: &Settings,
    port: u16,
) -> Result<(Child, Option<ChildStdin>), Error> {
    let log = File::create(&paths.log).map_err(|source| Error::Folder { path: paths.log.clone(), source })?;
    let errors = try_clone(&log, paths)?;
    let mut command = Command::new("/bin/sh");
    command.args(["-c", KEEPER, "local-postgres"]).arg(&binaries.postgres).arg("-D").arg(&paths.cluster);
    let mut set = |option: &str| {
        command.args(["-c", option]);
    };
    set("listen_addresses=127.0.0.1");
    set(&format!("port={port}"));
    set("unix_socket_directories=");
    set(&format!("max_connections={}", settings.max_connections));
    set("logging_collector=off");
    if !settings.fsync {
        // Commits still reach the kernel before they are told, so that a killed server loses none.
        set("fsync=off");
        set("full_page_writes=off");
    }
    settings.options.iter().for_each(|option| set(option));
    owner.run_as(&mut command);
    // A group of its own: Ctrl-C in the terminal is for the host, which stops the server when it no longer needs it.
    command.process_group(0).current_dir(&paths.dir);
    command.stdin(Stdio::piped()).stdout(log).stderr(errors);
    let mut keeper = command.spawn().map_err(|source| Error::Spawn { program: "/bin/sh".to_owned(), source })?;
    let lifeline = keeper.stdin.take();
    Ok((keeper, lifeline))
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn new_password() -> Result<String, Error> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).map_err(Error::Random)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn write_secret(path: &Path, secret: &str) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::options().create_new(true).write(true).mode(0o600).open(path)?;
    io::Write::write_all(&mut file, secret.as_bytes())
}

/// The end of a log.
fn tail(path: &Path) -> io::Result<String> {
    const BYTES: u64 = 16 * 1024;
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}
