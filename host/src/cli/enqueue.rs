//! `host enqueue`: does what an app does, upload a photo and insert a receipt.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;

use super::output::{self, plain};
use super::quantity::duration;
use super::target::TargetArgs;
use crate::aws::{self, Aws};
use crate::queue::Connection;
use crate::queue::receipts::{self, ReceiptRow};
use crate::storage::{self, digest_of, sniff, unsupported};

/// Uploads photos of receipts and queues them, as an app does; with --wait, shows what was read.
///
/// A file that Textract does not read (HEIC, WebP, …) is refused before anything is uploaded.
///
/// Without DATABASE_URL it talks to the `host dev` that runs on this machine.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  host enqueue photo.jpg --wait
  host enqueue *.jpg --wait --json | jq .total")]
pub(crate) struct Enqueue {
    /// Photos: JPEG, PNG, TIFF or one-page PDF.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Wait for the results. Exit code 1 when one failed or did not come in time.
    #[arg(long)]
    wait: bool,
    /// How long to wait.
    #[arg(long, env = "WORKER_WAIT_TIMEOUT", default_value = "2m", value_parser = duration, value_name = "TIME", requires = "wait")]
    timeout: Duration,
    /// The receipts' user_id.
    #[arg(long, env = "WORKER_USER_ID", value_name = "ID")]
    user_id: Option<String>,
    /// One line of JSON a receipt.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

impl Enqueue {
    pub(super) async fn execute(self) -> anyhow::Result<ExitCode> {
        // Every file is looked at before the first one is sent.
        let photos = self.files.iter().map(|file| Photo::read(file)).collect::<anyhow::Result<Vec<_>>>()?;
        let target = self.target.resolve().await?;
        let client = target.database.connect_checked().await?;
        let aws = aws::load(&target.aws).await?;
        let bucket = target.source_bucket()?;
        let mut ids = Vec::new();
        for photo in &photos {
            upload(&aws, &bucket, photo).await?;
            ids.push(receipts::insert(&client, photo.key(), self.user_id.as_deref()).await?);
        }
        let rows =
            if self.wait { wait(&client, &ids, self.timeout).await? } else { receipts::query(&client, &ids).await? };
        show(&self.files, &rows, self.json)?;
        let done = rows.len() == ids.len() && rows.iter().all(|row| row.status == "ocr_done");
        Ok(if done || !self.wait { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// A photo, and the key that it gets in the source bucket: the same photo gets the same key.
pub(super) struct Photo {
    key: String,
    bytes: Vec<u8>,
}

impl Photo {
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        anyhow::ensure!(!bytes.is_empty(), "{} is empty", file.display());
        if let Some(why) = unsupported(&bytes) {
            anyhow::bail!("{}: {why}", file.display());
        }
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let name: String = name.chars().map(|c| if plain(c) { c } else { '_' }).collect();
        let digest = digest_of(&bytes);
        let key = format!("receipts/{}/{name}", digest.get(..16).unwrap_or(&digest));
        Ok(Self { key, bytes })
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }
}

pub(super) async fn upload(aws: &Aws, bucket: &str, photo: &Photo) -> anyhow::Result<()> {
    let put = aws.s3.put_object().bucket(bucket).key(&photo.key).content_type(sniff(&photo.bytes));
    put.body(photo.bytes.clone().into())
        .send()
        .await
        .map_err(|error| storage::classify(&error, &format!("upload to s3://{bucket}/{}", photo.key)))?;
    Ok(())
}

async fn wait(client: &impl Connection, ids: &[String], timeout: Duration) -> anyhow::Result<Vec<ReceiptRow>> {
    let deadline = Instant::now() + timeout;
    loop {
        let rows = receipts::query(client, ids).await?;
        if rows.iter().all(ReceiptRow::is_final) || Instant::now() >= deadline {
            let open = rows.iter().filter(|row| !row.is_final()).count();
            if open > 0 {
                tracing::warn!(
                    name: "enqueue.timed_out",
                    open,
                    ?timeout,
                    "not all results came in time; is a worker running? see `host status`"
                );
            }
            return Ok(rows);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(super) fn show(files: &[PathBuf], rows: &[ReceiptRow], json: bool) -> anyhow::Result<()> {
    if json {
        return rows.iter().try_for_each(output::json);
    }
    let mut table = output::table(&["receipt", "vendor", "total", "confidence", "ms", "status"]);
    for (file, row) in files.iter().zip(rows) {
        let total = match (&row.total, &row.currency) {
            (Some(total), Some(currency)) => format!("{total} {currency}"),
            (Some(total), None) => total.clone(),
            (None, _) => "-".to_owned(),
        };
        let status = match &row.error {
            Some(error) => format!("{}: {error}", row.status),
            None => row.status.clone(),
        };
        table.add_row([
            plain(&file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()),
            plain(row.vendor.as_deref().unwrap_or("-")),
            plain(&total),
            row.confidence.map_or_else(|| "-".to_owned(), |confidence| format!("{confidence:.0}")),
            row.milliseconds.map_or_else(|| "-".to_owned(), |milliseconds| format!("{milliseconds:.0}")),
            plain(&status),
        ]);
    }
    Ok(output::show(&table, "no receipts")?)
}
