//! A world for one test: a database of its own, S3, a Textract that answers from a recording, and the host in it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use host::aws::{self, AwsOverrides};
use host::breaker::{BreakerSettings, SharedBreaker};
use host::dev::postgres::LocalPostgres;
use host::dev::{postgres, s3};
use host::ocr::local::{LocalTextract, Reader, Settings};
use host::ocr::{OcrApi, OcrSource, Textract};
use host::queue::{Counts, Database, Pump, PumpSettings};
use host::sandbox::{Limits, Observer, Sandbox, Services};
use host::schedule::{self, AdmissionControl, Runs, ScheduleSettings, Stop};
use host::storage::{Artifacts, Images};
use host::trace::Recorder;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::{Notify, watch};
use tokio_postgres::{Client, NoTls};

/// A page with one line.
pub(crate) const RESPONSE: &str = r#"{"DocumentMetadata":{"Pages":1},"Blocks":[
    {"BlockType":"PAGE","Id":"p","Page":1,"Geometry":{"BoundingBox":{"Left":0,"Top":0,"Width":1,"Height":1}}},
    {"BlockType":"LINE","Id":"l","Page":1,"Confidence":99.5,"Text":"CORNER SHOP","Geometry":{"BoundingBox":{"Left":0.1,"Top":0.1,"Width":0.5,"Height":0.05}}}]}"#;
/// Enough of a JPEG for the recorded Textract.
const IMAGE: &[u8] = b"\xFF\xD8\xFF\xE0 as good as a photo";
/// A test that hangs is a test that fails.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct World {
    pub(crate) db: Client,
    pub(crate) textract: LocalTextract,
    url: String,
    s3: s3::LocalS3,
    _root: TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let cluster = cluster();
        cluster.ensure_database(&name).await.unwrap();
        let url = cluster.url(&name);
        let (mut db, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        // Text, so that a receipt's id can say how it is to be worked.
        db.batch_execute("CREATE TABLE receipts (id text PRIMARY KEY)").await.unwrap();
        host::queue::migrate::migrate(&mut db).await.unwrap();

        let root = TempDir::new().unwrap();
        let mut settings = s3::Settings::new(root.path());
        settings.buckets = vec!["receipts".to_owned(), "artifacts".to_owned()];
        let s3 = s3::LocalS3::start(settings).await.unwrap();
        std::fs::write(root.path().join("receipts/a.jpg"), IMAGE).unwrap();
        let textract = LocalTextract::start(Settings::new(Reader::recorded(RESPONSE))).await.unwrap();
        Self { db, textract, url, s3, _root: root }
    }

    /// Inserts receipts, in this order.
    pub(crate) async fn insert(&self, ids: &[&str]) {
        for id in ids {
            self.db.execute("INSERT INTO receipts (id, s3_key) VALUES ($1, 'a.jpg')", &[id]).await.unwrap();
        }
    }

    /// Runs the real `host` in this world.
    pub(crate) async fn host(&self, args: &[&str]) -> Ran {
        let output = tokio::time::timeout(PATIENCE, self.command(args).output());
        Ran::from(output.await.expect("the host hangs").unwrap())
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = host_command(args);
        command
            .env("DATABASE_URL", &self.url)
            .env("SOURCE_BUCKET", "receipts")
            .env("ARTIFACT_BUCKET", "artifacts")
            .env("AWS_REGION", "eu-central-1")
            .env("AWS_ACCESS_KEY_ID", self.s3.access_key())
            .env("AWS_SECRET_ACCESS_KEY", self.s3.secret_key())
            .env("AWS_ENDPOINT_URL_S3", self.s3.endpoint())
            .env("AWS_ENDPOINT_URL_TEXTRACT", self.textract.endpoint());
        command
    }

    /// One pass of the schedule in this process: one instance at a time, and all jobs in one batch.
    pub(crate) async fn pass(&self, component: &Path, limits: Limits, max_attempts: u32) -> (Counts, Runs) {
        self.pass_with(component, limits, max_attempts, |services| services).await
    }

    /// The same on record, with one attempt for each receipt; somebody may look on.
    pub(crate) async fn pass_on_record(
        &self,
        component: &Path,
        limits: Limits,
        recorder: &Arc<Recorder>,
        observer: Option<Arc<dyn Observer>>,
    ) -> (Counts, Runs) {
        let recorder = Some(Arc::clone(recorder));
        self.pass_with(component, limits, 1, |services| Services { recorder, observer, ..services }).await
    }

    async fn pass_with(
        &self,
        component: &Path,
        limits: Limits,
        max_attempts: u32,
        and: impl FnOnce(Services) -> Services,
    ) -> (Counts, Runs) {
        let sandbox = Arc::new(Sandbox::new(limits, 1, Some(&cache())).unwrap());
        let program = Arc::new(sandbox.load(Some(component)).unwrap());
        let (pump, services) = self.pump_with(max_attempts, Arc::new(Notify::new()), and).await;
        let settings =
            ScheduleSettings { concurrency: 1, batch: 100, once: true, drain_timeout: Duration::from_secs(5) };
        let (_stop, stop) = watch::channel(Stop::No);
        let source = Arc::clone(&pump);
        let (breaker, outage) = (Arc::clone(&program.tally.breaker), services.outage.breaker());
        let settles = Arc::new(SharedBreaker::new(BreakerSettings::SETTLES));
        let control = AdmissionControl::new(move || Arc::clone(&breaker), outage, settles, |_, _, _| {});
        let work = move |jobs| {
            let (sandbox, program, services) = (Arc::clone(&sandbox), Arc::clone(&program), Arc::clone(&services));
            async move { sandbox.run(&program, &services, jobs).await }
        };
        let run = schedule::run(work, source, settings, control, stop);
        let runs = tokio::time::timeout(PATIENCE, run).await.expect("the schedule hangs");
        assert!(runs.drained);
        (pump.counts(), runs)
    }

    /// A pump, what a run reaches through it, and what wakes it.
    pub(crate) async fn pump(&self, max_attempts: u32) -> (Arc<Pump>, Arc<Services>, Arc<Notify>) {
        let wake = Arc::new(Notify::new());
        let (pump, services) = self.pump_with(max_attempts, Arc::clone(&wake), |services| services).await;
        (pump, services, wake)
    }

    async fn pump_with(
        &self,
        max_attempts: u32,
        wake: Arc<Notify>,
        and: impl FnOnce(Services) -> Services,
    ) -> (Arc<Pump>, Arc<Services>) {
        let settings = PumpSettings {
            capacity: 100,
            max_attempts,
            lease: Duration::from_secs(30),
            every: Duration::from_secs(30),
        };
        let database = Database::parse(&self.url).unwrap();
        let pump = Arc::new(Pump::start(database, settings, wake).await.unwrap());
        let services = Arc::new(and(self.services(Arc::clone(&pump)).await));
        (pump, services)
    }

    async fn services(&self, pump: Arc<Pump>) -> Services {
        let overrides = AwsOverrides {
            region: Some("eu-central-1".to_owned()),
            credentials: Some((self.s3.access_key().to_owned(), self.s3.secret_key().to_owned())),
            s3_endpoint: Some(self.s3.endpoint()),
            textract_endpoint: Some(self.textract.endpoint()),
        };
        let aws = aws::load(&overrides).await.unwrap();
        Services {
            pump,
            images: Images::new(aws.s3.clone(), "receipts".to_owned(), 64 << 20),
            artifacts: Artifacts::new(aws.s3, "artifacts".to_owned()),
            ocr: Textract::new(aws.textract, OcrSource::Bytes, None),
            outage: Arc::default(),
            api: OcrApi::Detect,
            photo_grace: Duration::ZERO,
            recorder: None,
            observer: None,
        }
    }

    /// A receipt that was completed: on which attempt, with which vendor.
    pub(crate) async fn done(&self, id: &str) -> Option<(i32, Option<String>)> {
        let row = self
            .db
            .query_opt(
                "SELECT q.attempts, r.vendor_text FROM receipts r JOIN receipt_queue q ON q.receipt_id = r.id
                 WHERE r.id = $1 AND r.status = 'ocr_done' AND q.processed
                   AND NOT EXISTS (SELECT FROM receipt_queue_dlq d WHERE d.receipt_id = r.id)",
                &[&id],
            )
            .await
            .unwrap();
        row.map(|row| (row.get(0), row.get(1)))
    }

    /// A receipt that waits in the queue, leased by nobody: its attempts, and its last error's kind and message.
    pub(crate) async fn waits(&self, id: &str) -> Option<(i32, Option<(String, String)>)> {
        let row = self
            .db
            .query_opt(
                "SELECT q.attempts, q.last_error_kind, q.last_error
                 FROM receipts r JOIN receipt_queue q ON q.receipt_id = r.id
                 WHERE r.id = $1 AND r.status = 'pending' AND NOT q.processed AND q.lease_token IS NULL
                   AND NOT EXISTS (SELECT FROM receipt_queue_dlq d WHERE d.receipt_id = r.id)",
                &[&id],
            )
            .await
            .unwrap();
        row.map(|row| (row.get(0), row.get::<_, Option<String>>(1).zip(row.get::<_, Option<String>>(2))))
    }

    /// A receipt that was given up.
    pub(crate) async fn dead(&self, id: &str) -> Option<Dead> {
        let row = self
            .db
            .query_opt(
                "SELECT d.error_kind, d.error_code, d.error_message, d.attempts, d.notes
                 FROM receipts r JOIN receipt_queue_dlq d ON d.receipt_id = r.id
                 WHERE r.id = $1 AND r.status = 'ocr_failed'
                   AND NOT EXISTS (SELECT FROM receipt_queue q WHERE q.receipt_id = r.id)",
                &[&id],
            )
            .await
            .unwrap();
        row.map(|row| Dead {
            kind: row.get(0),
            code: row.get(1),
            message: row.get(2),
            attempts: row.get(3),
            notes: row.get(4),
        })
    }

    /// Waits until a query that answers with one boolean says true.
    pub(crate) async fn until(&self, what: &str, query: &str) {
        let wait = async {
            while !self.db.query_one(query, &[]).await.unwrap().get::<_, bool>(0) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("not in time: {what}"));
    }
}

#[derive(Debug)]
pub(crate) struct Dead {
    pub(crate) kind: String,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) attempts: i32,
    pub(crate) notes: Option<String>,
}

/// How a run of the host ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) log: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            log: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    /// Exit code 0, and no panic anywhere in it.
    pub(crate) fn unharmed(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.log);
        // A component's own panic is a line of its output, and that is marked as such.
        let panicked = self.log.lines().any(|line| line.contains("panicked") && !line.contains("component="));
        assert!(!panicked, "{}", self.log);
        self
    }

    /// One of the numbers of `--once`'s summary.
    pub(crate) fn count(&self, name: &str) -> u64 {
        let summary: serde_json::Value = serde_json::from_str(self.stdout.trim()).unwrap();
        summary[name].as_u64().unwrap()
    }
}

/// The real `host` with nothing of this machine's configuration.
pub(crate) fn host_command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_host"));
    command
        .args(args)
        .env_clear()
        .envs(std::env::vars().filter(|(name, _)| ["PATH", "HOME", "TMPDIR", "LLVM_PROFILE_FILE"].contains(&&**name)))
        .env("WORKER_CACHE_DIR", cache())
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Runs the real `host` where it needs no world.
pub(crate) async fn host(args: &[&str]) -> Ran {
    let output = tokio::time::timeout(PATIENCE, host_command(args).output());
    Ran::from(output.await.expect("the host hangs").unwrap())
}

/// A sandbox with these limits in this process.
pub(crate) fn sandbox(limits: Limits) -> Sandbox {
    Sandbox::new(limits, 2, Some(&cache())).unwrap()
}

/// The tests' compile cache: kept from one run of the tests to the next.
pub(crate) fn cache() -> std::path::PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled")
}

/// One Postgres for all tests of this process, gone with it.
fn cluster() -> &'static LocalPostgres {
    struct Cluster {
        postgres: LocalPostgres,
        _runtime: tokio::runtime::Runtime,
        _janitor: std::process::Child,
    }
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    let start = || {
        // Also the user who runs the server for root must be able to pass through.
        let dir = TempDir::new().unwrap().keep();
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).unwrap();
        // Its standard input ends with this process; statics are never dropped.
        let janitor = std::process::Command::new("sh")
            .args(["-c", r#"read -r _; for i in 1 2 3 4 5 6 7 8 9 10; do [ -e "$1/cluster/postmaster.pid" ] && sleep 1; done; rm -rf "$1""#, "sh"])
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let settings = postgres::Settings { fsync: false, ..postgres::Settings::new(&dir) };
        let postgres = runtime.block_on(LocalPostgres::start(settings)).unwrap();
        Cluster { postgres, _runtime: runtime, _janitor: janitor }
    };
    // A thread of its own: a runtime may not be made to wait inside of another one.
    let cluster = CLUSTER.get_or_init(|| std::thread::spawn(start).join().unwrap());
    &cluster.postgres
}
