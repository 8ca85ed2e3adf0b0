//! The servers of a run, the photos, and the command line of its hosts.

use std::fs::Permissions;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use host::aws::{self, Aws, AwsOverrides};
use host::dev::postgres::{self, LocalPostgres};
use host::dev::s3::{self, LocalS3};
use host::ocr::local::{self, LocalTextract, Reader, sha256};
use host::queue::Database;
use host::queue::migrate::migrate;
use tokio_postgres::{Client, NoTls};

use super::bill::Bill;
use super::plan::Plan;
use super::proxy::{self, Weather};
use super::wire::Service;
use super::{LEASE, MAX_ATTEMPTS, Settings};
use crate::{ARTIFACTS, HostCommand, SOURCE, answer, candidates, oracle};

const DATABASE: &str = "chaos";

/// S3, Textract and the photos of a run. Postgres is not in it: it comes and goes.
pub struct Stage {
    settings: Settings,
    folder: PathBuf,
    url: String,
    pub s3: LocalS3,
    pub textract: LocalTextract,
    /// Clients of the two, past the proxies.
    pub aws: Aws,
    /// For each host, where it finds S3 and Textract.
    doors: Vec<[String; 2]>,
    /// For each host, where its admin endpoint is while it runs.
    admins: Mutex<Vec<Option<String>>>,
}

/// What is in a receipt's photo; decided by its number.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Photo,
    /// The object is not there.
    Missing,
    /// The object is no image.
    Text,
    /// The object has no bytes.
    Empty,
}

impl Kind {
    fn of(number: u32) -> Self {
        match number % 50 {
            3 => Self::Missing,
            13 => Self::Text,
            23 => Self::Empty,
            _ => Self::Photo,
        }
    }
}

/// A receipt's id.
pub fn id(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012x}")
}

/// The key of its photo.
pub fn key(number: u32) -> String {
    format!("photos/{number}.jpg")
}

/// The key of the photo that takes its place when a person replaces it.
pub fn replacement(number: u32) -> String {
    format!("photos/{number}-again.jpg")
}

/// Whether there is a photo to take its place.
pub fn has_replacement(number: u32) -> bool {
    number % 10 == 7
}

impl Stage {
    pub async fn build(settings: &Settings) -> (Self, Running) {
        let folder = tempfile::Builder::new().prefix("chaos-").tempdir_in(crate::cluster::scratch()).unwrap().keep();
        open_to_all(&folder);
        let running = Running::start(folder.join("postgres")).await;
        running.postgres.ensure_database(DATABASE).await.unwrap();
        let url = running.postgres.url(DATABASE);
        let mut client = Database::parse(&url).unwrap().connect().await.unwrap().into_driver();
        migrate(&mut client).await.unwrap();
        oracle::witness(&client).await.unwrap();

        let mut s3_settings = s3::Settings::new(folder.join("s3"));
        s3_settings.buckets = vec![SOURCE.to_owned(), ARTIFACTS.to_owned()];
        let s3 = LocalS3::start(s3_settings).await.unwrap();
        let reader = Reader::recorded(answer("Blue Bottle Cafe", "4.50", "2024-03-15"));
        let textract = LocalTextract::start(local::Settings::new(reader)).await.unwrap();
        let overrides = AwsOverrides {
            region: Some("us-east-1".to_owned()),
            credentials: Some((s3.access_key().to_owned(), s3.secret_key().to_owned())),
            s3_endpoint: Some(s3.endpoint()),
            textract_endpoint: Some(textract.endpoint()),
        };
        let aws = aws::load(&overrides).await.unwrap();
        let settings = settings.clone();
        let admins = Mutex::new(vec![None; settings.hosts]);
        let stage = Self { settings, folder, url, s3, textract, aws, doors: Vec::new(), admins };
        stage.place(&candidates::honest(0));
        (stage, running)
    }

    /// The photos of all receipts, each another one.
    pub async fn upload(&self, bill: &Bill) {
        let photos = (0..self.settings.receipts).flat_map(|number| {
            let again = has_replacement(number).then(|| (replacement(number), Kind::Photo));
            std::iter::once((key(number), Kind::of(number))).chain(again)
        });
        let uploads = stream::iter(photos).map(async |(key, kind)| {
            let bytes = match kind {
                Kind::Missing => return,
                Kind::Text => format!("this is no image: {key}").into_bytes(),
                Kind::Empty => Vec::new(),
                Kind::Photo => [b"\xff\xd8\xff\xe0 photo ", key.as_bytes()].concat(),
            };
            bill.photo(sha256(&bytes), key.clone());
            self.aws.s3.put_object().bucket(SOURCE).key(key).body(bytes.into()).send().await.unwrap();
        });
        uploads.buffer_unordered(16).collect::<Vec<()>>().await;
    }

    /// Puts the proxies in front of the services.
    pub async fn open_doors(&mut self, plan: &Plan, weather: &Arc<Weather>) {
        for (host, [for_s3, for_textract]) in plan.requests.iter().enumerate() {
            let door = async |service, endpoint: String, rng: &fastrand::Rng| {
                let upstream: SocketAddr = endpoint.trim_start_matches("http://").parse().unwrap();
                proxy::start(host, service, upstream, rng.clone(), Arc::clone(weather)).await.unwrap()
            };
            let s3 = door(Service::S3, self.s3.endpoint(), for_s3).await;
            let textract = door(Service::Textract, self.textract.endpoint(), for_textract).await;
            self.doors.push([s3, textract]);
        }
    }

    /// `host run`, as this host does it.
    pub fn host(&self, number: usize) -> HostCommand {
        self.admin_is(number, None);
        let lease = format!("{}ms", LEASE.as_millis());
        self.command(number)
            .env("WORKER_ADMIN", "127.0.0.1:0")
            .args(["run", "--every", "1s", "--batch-size", "4", "--lease", &lease])
            .args(["--max-attempts", &MAX_ATTEMPTS.to_string()])
            .args(["--concurrency", &self.settings.concurrency.to_string()])
            // The gate tells and refuses nothing, so that bad components come to work and have to be rolled back.
            .args(["--gate-policy", "report", "--probation", "20"])
            .arg("--component")
            .arg(self.component())
    }

    /// A host that ends takes back the dead letters of a component that is still on probation. So the next one has work,
    /// and does it with a component that is on none. Returns how many there were.
    pub async fn work_what_is_left(&self) -> i64 {
        let client = self.connect().await.expect("Postgres is left in peace by now");
        let left = super::open(&client).await.unwrap();
        if left > 0 {
            let max_attempts = MAX_ATTEMPTS.to_string();
            self.command(0).args(["run", "--once", "--admin", "off", "--max-attempts", &max_attempts]).run().await.ok();
        }
        left
    }

    /// A host has an admin endpoint now, or none any more.
    pub fn admin_is(&self, host: usize, address: Option<String>) {
        self.admins.lock().unwrap()[host] = address;
    }

    /// `host swap` to all hosts that run; whatever they say.
    pub async fn swap(&self, component: &[u8]) {
        let file = self.folder.join("candidate.wasm");
        std::fs::write(&file, component).unwrap();
        let admins = self.admins.lock().unwrap().clone();
        let asked =
            admins.into_iter().enumerate().filter_map(|(host, admin)| Some((host, admin?))).map(|(host, admin)| {
                let command = self.command(host).env("WORKER_ADMIN", admin).arg("swap").arg(&file);
                async move { command.into_inner().output().await }
            });
        join_all(asked).await;
    }

    fn command(&self, number: usize) -> HostCommand {
        let command = match &self.settings.host {
            Some(binary) => HostCommand::of(binary),
            None => HostCommand::bare(),
        };
        let [s3, textract] = &self.doors[number];
        command
            .env("HOME", &self.folder)
            .env("DATABASE_URL", &self.url)
            .env("SOURCE_BUCKET", SOURCE)
            .env("ARTIFACT_BUCKET", ARTIFACTS)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", self.s3.access_key())
            .env("AWS_SECRET_ACCESS_KEY", self.s3.secret_key())
            .env("AWS_ENDPOINT_URL_S3", s3)
            .env("AWS_ENDPOINT_URL_TEXTRACT", textract)
            // Some photos never come, and the run is to end.
            .env("WORKER_PHOTO_GRACE", "5s")
            .env("WORKER_CACHE_DIR", self.folder.join("compiled"))
            .env("NO_COLOR", "1")
    }

    /// Keeps what a host has logged, where that is wished.
    pub fn keep_log(&self, host: usize, log: &str) {
        let Some(folder) = &self.settings.logs else { return };
        let file = std::fs::File::options().create(true).append(true).open(folder.join(format!("host-{host}.log")));
        file.unwrap().write_all(log.as_bytes()).unwrap();
    }

    /// Puts a component in place, as careful people do: atomically.
    pub fn place(&self, component: &[u8]) {
        let new = self.component().with_extension("new");
        std::fs::write(&new, component).unwrap();
        std::fs::rename(new, self.component()).unwrap();
    }

    /// A connection of our own; none while the database is away.
    pub async fn connect(&self) -> Option<Client> {
        let connecting = tokio_postgres::connect(&self.url, NoTls);
        let (client, connection) = tokio::time::timeout(Duration::from_secs(5), connecting).await.ok()?.ok()?;
        tokio::spawn(connection);
        Some(client)
    }

    fn component(&self) -> PathBuf {
        self.folder.join("worker.wasm")
    }
}

/// The Postgres that runs.
pub struct Running {
    settings: postgres::Settings,
    postgres: LocalPostgres,
}

impl Running {
    async fn start(folder: PathBuf) -> Self {
        // Commits reach the kernel before they are told: a server that is killed has lost none of them.
        let settings = postgres::Settings { fsync: false, ..postgres::Settings::new(folder) };
        let postgres = LocalPostgres::start(settings.clone()).await.unwrap();
        Self { settings: postgres::Settings { port: Some(postgres.port()), ..settings }, postgres }
    }

    /// Ends it, by a fast shutdown or at once, and starts it where it was.
    pub async fn restart(self, fast: bool, down: Duration) -> Self {
        let Self { settings, postgres } = self;
        if fast {
            postgres.stop().await;
        } else {
            postgres.crash().await;
        }
        tokio::time::sleep(down).await;
        let mut tries = 10;
        loop {
            match LocalPostgres::start(settings.clone()).await {
                Ok(postgres) => return Self { settings, postgres },
                // Somebody else may have the port for a moment: a client's own end of a connection.
                Err(error) => {
                    tries -= 1;
                    assert!(tries > 0, "{error}");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
        }
    }

    pub async fn stop(self) {
        self.postgres.stop().await;
    }
}

/// Where root runs this, another user runs Postgres.
fn open_to_all(folder: &Path) {
    std::fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
}
