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
use crate::aws::{self, Aws};
use crate::dev::{DevDatabase, DevServers, DevState};
use crate::queue::Database;
use crate::queue::receipts::{self, ReceiptRow};
use crate::schedule::{Stop, Term};
use crate::worker::{AwsSettings, Buckets, Orders, Worker, unless_stopped};

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
        let folder = self.data_dir.clone().or_else(default_data_dir);
        let folder = folder.context("no folder for the state: HOME is not set; name one with --data-dir")?;
        let servers = DevServers::start(&folder, self.database()?);
        let Some(servers) = unless_stopped(&orders.stop, servers).await.transpose()? else {
            return Ok(ExitCode::SUCCESS);
        };
        let result = self.work(&servers, &photos, orders).await;
        servers.stop().await;
        result
    }

    fn database(&self) -> anyhow::Result<DevDatabase> {
        let Some(url) = self.database_url.as_deref().filter(|url| !url.is_empty()) else {
            return Ok(DevDatabase::Started { schema: self.schema.named()? });
        };
        let database = self.schema.within(Database::parse(url)?)?;
        // It would migrate a real one and give up its receipts, whose photos are not in the local bucket.
        anyhow::ensure!(
            database.is_local(),
            "DATABASE_URL names {}, which is not on this machine; `host dev` works on local databases only \
             (unset DATABASE_URL, or use `host run`)",
            database.at()
        );
        Ok(DevDatabase::Given { url: url.to_owned(), schema: database.schema().clone() })
    }

    async fn work(&self, servers: &DevServers, photos: &[PathBuf], orders: Orders) -> anyhow::Result<ExitCode> {
        let state = &servers.state;
        let clients = async {
            anyhow::Ok(Clients {
                database: servers.migrate().await?,
                aws: aws::load(&state.aws()).await?,
                bucket: state.source_bucket.clone(),
            })
        };
        let Some(clients) = unless_stopped(&orders.stop, clients).await.transpose()? else {
            return Ok(ExitCode::SUCCESS);
        };
        let settings = self.worker.settings(Place {
            // One that stays, also where the verb does not: it is told when the photos are worked.
            term: Term::UntilStopped,
            database: clients.database.clone(),
            listen: Some(clients.database.clone()),
            aws: AwsSettings { overrides: state.aws(), timeout: aws::READ_TIMEOUT },
            buckets: Buckets { source: state.source_bucket.clone(), artifact: state.artifact_bucket.clone() },
        })?;
        match Worker::prepare(settings, &orders).await? {
            None => Ok(ExitCode::SUCCESS),
            Some(worker) => self.work_and_stay(state, worker, &clients, photos, orders).await,
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
                upload(&clients.aws, &clients.bucket, &photo).await?;
                receipts::insert(&client, photo.key(), None).await?
            }
        };
        ids.push(id);
    }
    let bar = output::bar(ids.len() as u64);
    let count = u32::try_from(ids.len()).unwrap_or(u32::MAX);
    let deadline = tokio::time::Instant::now() + LONGEST_WAIT_A_PHOTO.saturating_mul(count.max(1));
    loop {
        let rows = receipts::query(&client, &ids).await?;
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
  photos      {folder}/s3/{source}        (S3 at {s3})
  artifacts   {folder}/s3/{artifact}     (what the OCR service answered)
  everything  {folder}                           (delete it to start afresh)

Ctrl-C stops it; the next start goes on with what is there.",
        database = state.database_url,
        s3 = state.s3_endpoint,
        source = state.source_bucket,
        artifact = state.artifact_bucket,
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
    /// Of the photos.
    bucket: String,
}
