//! One Postgres cluster for the whole process, one database for each test.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use host::dev::postgres::{LocalPostgres, Settings};
use host::queue::Database;
use host::queue::migrate::migrate;
use rustix::fs::Access;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;
use tokio_postgres::{Client, NoTls};

const TEMPLATE: &str = "migrated";
/// Bytes that must be free in memory before a cluster is put there: several suites run at once, each with its own.
const ROOM: u64 = 4 << 30;

struct Cluster {
    postgres: LocalPostgres,
}

/// Outlives the runtimes of the single tests.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap())
}

async fn cluster() -> &'static Cluster {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    CLUSTER.get_or_init(|| async { runtime().spawn(start()).await.unwrap() }).await
}

/// Waits for this process to end, and then for its Postgres, and cleans up.
const JANITOR: &str = r#"
read -r _
while [ -e "$1/postgres/cluster/postmaster.pid" ]; do sleep 0.2; done
rm -rf "$1"
"#;

/// This process's folder, in memory where there is room; gone with the process.
pub fn scratch() -> &'static Path {
    static SCRATCH: OnceLock<(PathBuf, Child)> = OnceLock::new();
    let (folder, _) = SCRATCH.get_or_init(|| {
        let folder = tempfile::Builder::new().prefix("receipt-worker-tests-").tempdir_in(fast_folder()).unwrap().keep();
        // Where root runs the tests, another user runs Postgres.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        let mut janitor = Command::new("/bin/sh");
        janitor.args(["-c", JANITOR, "janitor"]).arg(&folder);
        // A group of its own: Ctrl-C is for the tests, and the cleaning goes on.
        janitor.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        (folder, janitor.spawn().unwrap())
    });
    folder
}

/// Where files are in memory, if this machine has such a folder with room: each test's database is some 300 files, and to make
/// and delete them costs a disk's file system more than all that Postgres computes. A TMPDIR that somebody set is obeyed.
fn fast_folder() -> PathBuf {
    const SHARED_MEMORY: &str = "/dev/shm";
    let room = rustix::fs::statvfs(SHARED_MEMORY).map_or(0, |of| of.f_bavail.saturating_mul(of.f_frsize));
    if std::env::var_os("TMPDIR").is_none()
        && room >= ROOM
        && rustix::fs::access(SHARED_MEMORY, Access::WRITE_OK).is_ok()
    {
        return SHARED_MEMORY.into();
    }
    std::env::temp_dir()
}

async fn start() -> Cluster {
    let options = [
        "synchronous_commit=off",
        "autovacuum_naptime=3600",
        "deadlock_timeout=200ms",
        "jit=off",
        // It may be memory: see `fast_folder`.
        "max_wal_size=128MB",
    ];
    let settings = Settings {
        fsync: false,
        max_connections: 400,
        options: options.map(str::to_owned).to_vec(),
        ..Settings::new(scratch().join("postgres"))
    };
    let postgres = LocalPostgres::start(settings).await.unwrap();
    postgres.ensure_database(TEMPLATE).await.unwrap();
    let database = Database::parse(&postgres.url(TEMPLATE)).unwrap();
    migrate(&mut database.connect().await.unwrap()).await.unwrap();
    Cluster { postgres }
}

/// A database of one test's own; dropped with it.
pub struct TestDatabase {
    name: String,
    url: String,
    /// In a cluster of the test's own, with which it goes.
    elsewhere: bool,
}

impl TestDatabase {
    /// As it comes from `CREATE DATABASE`.
    pub async fn empty() -> Self {
        Self::from_template("template0").await
    }

    /// With the schema of the newest migration.
    pub async fn migrated() -> Self {
        Self::from_template(TEMPLATE).await
    }

    /// As it comes from `CREATE DATABASE`, with this encoding.
    pub async fn encoded(encoding: &str) -> Self {
        Self::from_template(&format!("template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'")).await
    }

    async fn from_template(template: &str) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let cluster = cluster().await;
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let client = connect(&cluster.postgres.url("postgres")).await;
        // One at a time: a template must have no other visitor.
        static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        let _turn = ONE_AT_A_TIME.lock().await;
        client.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {template}")).await.unwrap();
        Self { url: cluster.postgres.url(&name), name, elsewhere: false }
    }

    /// A migrated one in a cluster of the test's own.
    pub async fn within(postgres: &LocalPostgres) -> Self {
        let name = "app".to_owned();
        postgres.ensure_database(&name).await.unwrap();
        let database = Self { url: postgres.url(&name), name, elsewhere: true };
        migrate(&mut database.database().connect().await.unwrap()).await.unwrap();
        database
    }

    /// For DATABASE_URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// As `role`, which has the password "secret".
    pub fn url_as(&self, role: &str) -> String {
        let (_, rest) = self.url.split_once('@').unwrap();
        format!("postgresql://{role}:secret@{rest}")
    }

    /// As the host takes it.
    pub fn database(&self) -> Database {
        Database::parse(&self.url).unwrap()
    }

    /// A plain connection.
    pub async fn connect(&self) -> Client {
        connect(&self.url).await
    }

    /// A plain connection as another role.
    pub async fn connect_as(&self, role: &str) -> Client {
        connect(&self.url_as(role)).await
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if self.elsewhere {
            return;
        }
        let name = self.name.clone();
        runtime().spawn(async move {
            let client = connect(&cluster().await.postgres.url("postgres")).await;
            let _ = client.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
        });
    }
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}
