//! `host dev`: the same worker as `host run`, against servers that this process starts itself.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::sync::watch;

use super::args::SchemaArgs;
use super::enqueue::{Photo, show, upload};
use super::folders::default_data_dir;
use super::worker::{Place, WorkerArgs};
use super::{output, signals};
use crate::aws::{self, Aws, AwsOverrides};
use crate::dev::DevState;
use crate::dev::postgres::{self, LocalPostgres};
use crate::dev::s3::{self, LocalS3};
use crate::ocr::local::{self, LocalTextract, Reader};
use crate::queue::migrate::migrate;
use crate::queue::place::{NewTable, check_place};
use crate::queue::receipts::{self, ReceiptRow};
use crate::queue::{Connection as _, Database};
use crate::schedule::Stop;
use crate::worker::{AwsSettings, Buckets, Orders, Worker, unless_stopped};

const SOURCE_BUCKET: &str = "receipts-source";
const ARTIFACT_BUCKET: &str = "receipts-artifacts";
const POSTGRES_PORT: u16 = 54329;
const REGION: &str = "us-east-1";
/// Tesseract takes about a second a photo.
const LONGEST_WAIT_A_PHOTO: Duration = Duration::from_secs(60);

/// Starts everything on this machine: Postgres, S3 and a Textract-compatible service that reads with Tesseract; then
/// works like `host run`.
///
/// Everything listens on loopback alone, and its state is in one folder: the next `host dev` goes on with it. Ctrl-C
/// stops it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  host dev
  host dev --receipts tests/receipts            work these photos first, and show the results
  host dev --receipts tests/receipts --once     … and stop then")]
pub(crate) struct Dev {
    /// Photos, or folders of them, to be worked first.
    #[arg(long, env = "WORKER_DEV_RECEIPTS", value_name = "FILE|DIR")]
    receipts: Vec<PathBuf>,
    /// Folder for all state; in the user's cache, if not given.
    #[arg(long, env = "WORKER_DATA_DIR", value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// A Postgres to use instead of starting one.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<String>,
    #[command(flatten)]
    schema: SchemaArgs,
    /// Stop when the photos are worked. Exit code 1 when one failed.
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    worker: WorkerArgs,
}

impl Dev {
    pub(super) async fn execute(self) -> anyhow::Result<ExitCode> {
        // Before anything is started: Ctrl-C must find somebody who stops it all.
        let orders = signals::orders()?;
        let photos = photos(&self.receipts)?;
        // Dropped halfway, whatever was started stops by itself.
        let Some(servers) = unless_stopped(&orders.stop, Servers::start(&self)).await.transpose()? else {
            return Ok(ExitCode::SUCCESS);
        };
        let result = self.work(&servers, &photos, orders).await;
        servers.stop().await;
        result
    }

    async fn work(&self, servers: &Servers, photos: &[PathBuf], orders: Orders) -> anyhow::Result<ExitCode> {
        let Some(clients) = unless_stopped(&orders.stop, servers.prepare()).await.transpose()? else {
            return Ok(ExitCode::SUCCESS);
        };
        let settings = self.worker.settings(Place {
            // One that stays, also where the verb does not: it is told when the photos are worked.
            once: false,
            database: clients.database.clone(),
            listen: Some(clients.database.clone()),
            aws: AwsSettings { overrides: servers.state.aws(), timeout: aws::READ_TIMEOUT },
            buckets: Buckets { source: SOURCE_BUCKET.to_owned(), artifact: ARTIFACT_BUCKET.to_owned() },
        })?;
        match Worker::prepare(settings, &orders).await? {
            None => Ok(ExitCode::SUCCESS),
            Some(worker) => self.work_and_stay(&servers.state, worker, &clients, photos, orders).await,
        }
    }

    async fn work_and_stay(
        &self,
        state: &DevState,
        worker: Worker,
        clients: &Clients,
        photos: &[PathBuf],
        Orders { stop, recheck }: Orders,
    ) -> anyhow::Result<ExitCode> {
        let _held = state.write().with_context(|| format!("cannot write to {}", state.folder.display()))?;
        // The worker stops when the process is told to, or when the photos are worked and that was all.
        let (end, ended) = watch::channel(Stop::No);
        let mut forward = stop.clone();
        let relay = end.clone();
        let relay = tokio::spawn(async move {
            while forward.changed().await.is_ok() {
                let phase = *forward.borrow_and_update();
                relay.send_replace(phase);
            }
        });
        let work = async {
            let report = worker.run(Orders { stop: ended, recheck }).await?;
            report.runs.gave_up.map_or(Ok(()), |why| Err(anyhow::anyhow!(why)))
        };
        let mut stopped = stop;
        let show = async {
            let rows = tokio::select! {
                rows = work_photos(clients, photos) => rows?,
                _ = stopped.changed() => return Ok(ExitCode::SUCCESS),
            };
            let done = rows.iter().all(|row| row.status == "ocr_done");
            let (photos, next) = (photos.to_owned(), (!self.once).then(|| state.clone()));
            // Whoever reads may have stopped reading: neither the work nor a signal waits for that.
            let shown = tokio::task::spawn_blocking(move || {
                if !photos.is_empty() {
                    show(&photos, &rows, false)?;
                }
                next.as_ref().map_or(Ok(()), tell_what_next)
            });
            tokio::select! {
                shown = shown => shown??,
                _ = stopped.changed() => return Ok(ExitCode::SUCCESS),
            }
            if self.once {
                end.send_replace(Stop::Drain);
            }
            anyhow::Ok(if done || !self.once { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        };
        // While nothing fails, the worker is the one that stays. Where something else fails it gives back what it holds.
        let shown = async {
            let shown = show.await;
            if shown.is_err() {
                end.send_replace(Stop::Drain);
            }
            Ok(shown)
        };
        let ended = tokio::try_join!(work, shown);
        relay.abort();
        ended?.1
    }
}

/// Queues the photos that are not in the database yet, and waits for all of them.
async fn work_photos(clients: &Clients, files: &[PathBuf]) -> anyhow::Result<Vec<ReceiptRow>> {
    let client = clients.database.connect_checked().await?;
    let mut ids = Vec::new();
    for file in files {
        let photo = Photo::read(file)?;
        let id = match receipts::find(&client, photo.key()).await? {
            Some(id) => id,
            None => {
                upload(&clients.aws, SOURCE_BUCKET, &photo).await?;
                receipts::insert(&client, photo.key(), None).await?
            }
        };
        ids.push(id);
    }
    let bar = output::bar(ids.len() as u64);
    let count = u32::try_from(ids.len()).unwrap_or(u32::MAX);
    let deadline = tokio::time::Instant::now() + LONGEST_WAIT_A_PHOTO.saturating_mul(count.max(1));
    loop {
        let rows = receipts::look(&client, &ids).await?;
        let done = rows.iter().filter(|row| row.is_final()).count();
        bar.set_position(done as u64);
        if done == rows.len() || tokio::time::Instant::now() > deadline {
            bar.finish_and_clear();
            return Ok(rows);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn tell_what_next(state: &DevState) -> anyhow::Result<()> {
    let host = std::env::args().next().unwrap_or_else(|| "host".to_owned());
    let folder = state.folder.display();
    output::line(format!(
        "
It goes on working. In another terminal:

  {host} enqueue photo.jpg --wait        send your own photo
  {host} status --watch                  watch the queue
  {host} dlq list                        what was given up, and why

  database    psql '{database}'
  photos      {folder}/s3/{SOURCE_BUCKET}        (S3 at {s3})
  artifacts   {folder}/s3/{ARTIFACT_BUCKET}     (what the OCR service answered)
  everything  {folder}                           (delete it to start afresh)

Ctrl-C stops it; the next start goes on with what is there.",
        database = state.database_url,
        s3 = state.s3_endpoint,
    ))?;
    Ok(())
}

/// The photos in these files and folders, in a stable order.
fn photos(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in paths {
        if !path.is_dir() {
            found.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).with_context(|| format!("cannot read the folder {}", path.display()))?;
        let mut files: Vec<PathBuf> =
            entries.flatten().map(|entry| entry.path()).filter(|file| is_photo(file)).collect();
        files.sort();
        anyhow::ensure!(!files.is_empty(), "there is no photo in {}", path.display());
        found.extend(files);
    }
    Ok(found)
}

fn is_photo(file: &Path) -> bool {
    let extension = file.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    matches!(extension.as_deref(), Some("jpg" | "jpeg" | "png" | "tif" | "tiff" | "pdf"))
}

/// How this verb itself reaches what it started.
struct Clients {
    database: Database,
    aws: Aws,
}

/// What `host dev` starts. Postgres first, stopped last: it holds the lock on the folder.
struct Servers {
    state: DevState,
    postgres: Option<LocalPostgres>,
    s3: LocalS3,
    textract: LocalTextract,
}

impl Servers {
    async fn start(dev: &Dev) -> anyhow::Result<Self> {
        let folder = dev.data_dir.clone().or_else(default_data_dir);
        let folder = folder.context("no folder for the state: HOME is not set; name one with --data-dir")?;
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let folder = folder.canonicalize().with_context(|| format!("cannot use the folder {}", folder.display()))?;
        if let Some(other) = DevState::read(&folder) {
            anyhow::bail!("another `host dev` (process {}) works in {}", other.pid, folder.display());
        }
        let (postgres, database_url, schema) = match dev.database_url.as_deref().filter(|url| !url.is_empty()) {
            Some(url) => {
                let database = dev.schema.within(Database::parse(url)?)?;
                // It would migrate a real one and give up its receipts, whose photos are not in the local bucket.
                anyhow::ensure!(
                    database.is_local(),
                    "DATABASE_URL names {}, which is not on this machine; `host dev` works on local databases only \
                     (unset DATABASE_URL, or use `host run`)",
                    database.at()
                );
                (None, url.to_owned(), Some(database.schema().to_string()))
            }
            None => {
                let postgres = start_postgres(&folder.join("postgres")).await?;
                postgres.ensure_database("receipts").await?;
                let url = postgres.url("receipts");
                (Some(postgres), url, dev.schema.named()?.map(|schema| schema.to_string()))
            }
        };
        let mut settings = s3::Settings::new(folder.join("s3"));
        settings.secret_key = random_secret()?;
        settings.buckets = vec![SOURCE_BUCKET.to_owned(), ARTIFACT_BUCKET.to_owned()];
        let s3 = LocalS3::start(settings).await?;
        let overrides = AwsOverrides {
            region: Some(REGION.to_owned()),
            credentials: Some((s3.access_key().to_owned(), s3.secret_key().to_owned())),
            s3_endpoint: Some(s3.endpoint()),
            textract_endpoint: None,
        };
        let mut settings = local::Settings::new(Reader::tesseract());
        settings.s3 = Some(aws::load(&overrides).await?.s3);
        let textract = LocalTextract::start(settings).await?;
        let state = DevState {
            folder,
            pid: std::process::id(),
            database_url,
            schema,
            s3_endpoint: s3.endpoint(),
            textract_endpoint: textract.endpoint(),
            access_key: s3.access_key().to_owned(),
            secret_key: s3.secret_key().to_owned(),
            region: REGION.to_owned(),
            source_bucket: SOURCE_BUCKET.to_owned(),
            artifact_bucket: ARTIFACT_BUCKET.to_owned(),
        };
        Ok(Self { state, postgres, s3, textract })
    }

    /// Makes the schema and migrates it.
    async fn prepare(&self) -> anyhow::Result<Clients> {
        let database = self.state.database()?;
        let mut client = database.connect().await?;
        if self.postgres.is_some() {
            let make = format!("CREATE SCHEMA IF NOT EXISTS {}", database.schema().quoted());
            client.batch_execute(&make).await.context("cannot make the schema")?;
        }
        check_place(&client, NewTable::of(database.names_schema())).await?;
        migrate(&mut client).await?;
        let aws = aws::load(&self.state.aws()).await?;
        Ok(Clients { database, aws })
    }

    async fn stop(self) {
        self.state.remove();
        self.textract.stop().await;
        self.s3.stop().await;
        if let Some(postgres) = self.postgres {
            postgres.stop().await;
        }
    }
}

/// On the same port each time where that is free, so that a psql or a GUI finds it again.
async fn start_postgres(folder: &Path) -> Result<LocalPostgres, postgres::Error> {
    let settings = postgres::Settings { port: Some(POSTGRES_PORT), ..postgres::Settings::new(folder) };
    match LocalPostgres::start(settings).await {
        Err(postgres::Error::PortTaken { .. }) => LocalPostgres::start(postgres::Settings::new(folder)).await,
        started => started,
    }
}

/// Loopback is open to every user of the machine; the secret is not.
fn random_secret() -> anyhow::Result<String> {
    let mut bytes = [0_u8; 20];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
