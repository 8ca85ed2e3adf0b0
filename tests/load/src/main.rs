//! `make load`: the whole worker under load, on this machine. Real Postgres, S3 over HTTP, OCR answers from a recording
//! over HTTP, the `host` binary as a process of its own. Prints figures, and fails
//! only where memory grows with each swap.
//!
//! The raw line is what it is compared with: the same S3 and OCR calls at the same concurrency from plain tasks, with no
//! queue, no sandbox and no settling.

mod figures;
mod recording;
mod servers;
mod swapping;
mod waiting;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use futures_util::{StreamExt, stream};
use host::ocr::{OcrApi, OcrSource, Textract};
use host::storage::{Artifacts, Images};
use tokio_postgres::Client;

use crate::figures::{clear, insert, millis, peak_memory, percentile, rate, report, stop, wait_until_done};
use crate::servers::{ARTIFACTS, SOURCE, Servers};

/// Measures the worker on this machine.
#[derive(Debug, Parser)]
struct Load {
    /// The host to measure.
    #[arg(long, env = "LOAD_HOST", value_name = "FILE")]
    host: PathBuf,
    /// A photo.
    #[arg(long, env = "LOAD_PHOTO", value_name = "FILE")]
    photo: PathBuf,
    /// The OCR answer that every photo gets.
    #[arg(long, env = "LOAD_RESPONSE", value_name = "FILE")]
    response: PathBuf,
    /// Receipts of the throughput run.
    #[arg(long, env = "LOAD_RECEIPTS", default_value_t = 5_000)]
    receipts: i64,
    /// Receipts worked at the same time.
    #[arg(long, env = "LOAD_CONCURRENCY", default_value_t = 16)]
    concurrency: usize,
    /// Single inserts of the latency run.
    #[arg(long, env = "LOAD_INSERTS", default_value_t = 200)]
    inserts: usize,
    /// Swaps of the swap run.
    #[arg(long, env = "LOAD_SWAPS", default_value_t = 200)]
    swaps: u32,
    /// Receipts that wait in the memory run.
    #[arg(long, env = "LOAD_WAITING", default_value_t = 100_000)]
    waiting: i64,
    /// Only these: main, record, swap, memory. All, if not given.
    #[arg(long, env = "LOAD_ONLY", value_delimiter = ',')]
    only: Vec<String>,
}

impl Load {
    fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == part)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let load = Load::parse();
    let folder = tempfile::tempdir().context("no folder for the servers")?;
    // Postgres runs as another user when this is root: let it pass.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711))?;
    let servers = Servers::start(&load, folder.path().join("servers")).await?;
    let result = measure(&load, &servers).await;
    servers.stop().await;
    result
}

async fn measure(load: &Load, servers: &Servers) -> anyhow::Result<()> {
    let client = servers.database.connect().await?.into_driver();
    // Once to fill the compile cache, then for the figure.
    first_claim(servers, &client).await?;
    let mut starts = Vec::new();
    for _ in 0..5 {
        starts.push(first_claim(servers, &client).await?);
    }
    starts.sort();
    report(
        "start to first claim, warm cache",
        &[("median ms", millis(percentile(&starts, 50))), ("worst ms", millis(percentile(&starts, 100)))],
    )?;

    if load.wants("main") {
        latency(load, servers, &client).await?;
        throughput(load, servers, &client).await?;
        raw(load, servers).await?;
    }
    if load.wants("record") {
        recording::measure(load, servers, &client).await?;
    }
    if load.wants("swap") {
        swapping::measure(load, servers, &client).await?;
    }
    if load.wants("memory") {
        waiting::measure(load, servers, &client).await?;
    }
    Ok(())
}

/// From the start of the process to the claim, as the database saw it.
async fn first_claim(servers: &Servers, client: &Client) -> anyhow::Result<Duration> {
    insert(client, 1).await?;
    let before: std::time::SystemTime = client.query_one("SELECT clock_timestamp()", &[]).await?.try_get(0)?;
    let host = servers.host(1)?;
    wait_until_done(client).await?;
    let claimed = claim_times(client).await?;
    stop(host).await?;
    let first = claimed.first().context("nothing was claimed")?;
    clear(client).await?;
    Ok(first.duration_since(before).unwrap_or_default())
}

/// From INSERT to claim, one receipt at a time on an idle worker.
async fn latency(load: &Load, servers: &Servers, client: &Client) -> anyhow::Result<()> {
    let host = servers.host(load.concurrency)?;
    insert(client, 1).await?;
    wait_until_done(client).await?;
    clear(client).await?;
    let (mut to_claim, mut to_done) = (Vec::new(), Vec::new());
    for _ in 0..load.inserts {
        insert(client, 1).await?;
        wait_until_done(client).await?;
        let row = client
            .query_one(
                "SELECT
                    extract(epoch FROM available_at - interval '30 seconds' - enqueued_at)::float8,
                    extract(epoch FROM processed_at - enqueued_at)::float8
                 FROM receipt_queue",
                &[],
            )
            .await?;
        to_claim.push(Duration::try_from_secs_f64(row.try_get(0)?).unwrap_or_default());
        to_done.push(Duration::try_from_secs_f64(row.try_get(1)?).unwrap_or_default());
        clear(client).await?;
    }
    stop(host).await?;
    for (name, mut times) in [("INSERT to claim", to_claim), ("INSERT to receipt done", to_done)] {
        times.sort();
        report(name, &[("p50 ms", millis(percentile(&times, 50))), ("p99 ms", millis(percentile(&times, 99)))])?;
    }
    Ok(())
}

/// The whole path: claim, photo from S3, OCR, artifact to S3, parse in the sandbox, settle.
async fn throughput(load: &Load, servers: &Servers, client: &Client) -> anyhow::Result<()> {
    insert(client, load.receipts).await?;
    let started = Instant::now();
    let host = servers.host(load.concurrency)?;
    wait_until_done(client).await?;
    let took = started.elapsed();
    let memory = peak_memory(host.id());
    stop(host).await?;
    let done: i64 =
        client.query_one("SELECT count(*) FROM receipts WHERE status = 'ocr_done'", &[]).await?.try_get(0)?;
    anyhow::ensure!(done == load.receipts, "{done} of {} receipts are done", load.receipts);
    report(
        "whole path",
        &[
            ("receipts", format!("{done}")),
            ("concurrency", format!("{}", load.concurrency)),
            ("receipts/s", rate(load.receipts, took)),
            ("peak MiB", memory),
        ],
    )
}

/// The raw limit: the same HTTP calls, and nothing else.
async fn raw(load: &Load, servers: &Servers) -> anyhow::Result<()> {
    let images = Images::new(servers.aws.s3.clone(), SOURCE.to_owned(), 1 << 30);
    let artifacts = Artifacts::new(servers.aws.s3.clone(), ARTIFACTS.to_owned());
    let ocr = Textract::new(servers.aws.textract.clone(), OcrSource::Bytes, None);
    let started = Instant::now();
    let calls = stream::iter(0..load.receipts).map(async |number| {
        let image = images.fetch(Some("photo.jpg")).await?;
        let body = ocr.read(&image, OcrApi::Detect).await?;
        let metadata = ["a", "b", "c", "d"].map(|name| (name, "x".repeat(16)));
        artifacts.store(&format!("raw/{number}.json"), body.into(), metadata).await.map(drop)
    });
    let outcomes: Vec<_> = calls.buffer_unordered(load.concurrency).collect().await;
    let took = started.elapsed();
    for outcome in outcomes {
        outcome?;
    }
    report("raw: the same S3 and OCR calls alone", &[("receipts/s", rate(load.receipts, took))])
}

/// When jobs were claimed: their leases ended 30 s (the default --lease) later.
async fn claim_times(client: &Client) -> anyhow::Result<Vec<std::time::SystemTime>> {
    let sql = "SELECT available_at - interval '30 seconds' FROM receipt_queue ORDER BY 1";
    let rows = client.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
}
