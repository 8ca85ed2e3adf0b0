//! `make load`: the whole worker under load, on this machine. Real Postgres, S3 over HTTP, OCR answers from a recording
//! over HTTP, the `host` binary as a process of its own. Prints figures; asserts nothing about them.
//!
//! The raw line is what it is compared with: the same S3 and OCR calls at the same concurrency from plain tasks, with no
//! queue, no sandbox and no settling.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use futures_util::{StreamExt, stream};
use host::aws::{self, Aws, AwsOverrides};
use host::dev::postgres::{self, LocalPostgres};
use host::dev::s3::{self, LocalS3};
use host::ocr::local::{self, LocalTextract, Reader};
use host::ocr::{OcrApi, OcrSource, Textract};
use host::queue::{Database, migrate};
use host::storage::{Artifacts, Images};
use tokio::process::{Child, Command};
use tokio_postgres::Client;

const SOURCE: &str = "load-source";
const ARTIFACTS: &str = "load-artifacts";

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
    let client = servers.database.connect().await?;
    let photo = std::fs::read(&load.photo).with_context(|| format!("cannot read {}", load.photo.display()))?;
    let put = servers.aws.s3.put_object().bucket(SOURCE).key("photo.jpg").body(photo.into());
    put.send().await.context("cannot upload the photo")?;

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

    latency(load, servers, &client).await?;
    throughput(load, servers, &client).await?;
    raw(load, servers).await
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
            ("peak MiB", memory.map_or_else(|| "unknown".to_owned(), |kib| format!("{:.0}", kib / 1024.0))),
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
        artifacts.store(&format!("raw/{number}.json"), body, metadata).await.map(drop)
    });
    let outcomes: Vec<_> = calls.buffer_unordered(load.concurrency).collect().await;
    let took = started.elapsed();
    for outcome in outcomes {
        outcome?;
    }
    report("raw: the same S3 and OCR calls alone", &[("receipts/s", rate(load.receipts, took))])
}

async fn insert(client: &Client, count: i64) -> anyhow::Result<()> {
    let sql = "INSERT INTO receipts (image_url) SELECT 'photo.jpg' FROM generate_series(1, $1::bigint)";
    client.execute(sql, &[&count]).await?;
    Ok(())
}

async fn wait_until_done(client: &Client) -> anyhow::Result<()> {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(600) {
        let open = client.query_opt("SELECT FROM receipt_queue WHERE NOT processed LIMIT 1", &[]).await?;
        if open.is_none() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    anyhow::bail!("the worker did not finish within 10 minutes")
}

/// When jobs were claimed: their leases ended 30 s (the default --lease) later.
async fn claim_times(client: &Client) -> anyhow::Result<Vec<std::time::SystemTime>> {
    let sql = "SELECT available_at - interval '30 seconds' FROM receipt_queue ORDER BY 1";
    let rows = client.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
}

async fn clear(client: &Client) -> anyhow::Result<()> {
    Ok(client.batch_execute("DELETE FROM receipts").await?)
}

async fn stop(mut host: Child) -> anyhow::Result<()> {
    if let Some(pid) = host.id() {
        Command::new("kill").arg(pid.to_string()).status().await?;
    }
    host.wait().await?;
    Ok(())
}

/// The process's peak resident memory in KiB (Linux).
fn peak_memory(pid: Option<u32>) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid?)).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(index).copied().unwrap_or_default()
}

fn millis(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64() * 1000.0)
}

fn rate(count: i64, took: Duration) -> String {
    format!("{:.0}", count as f64 / took.as_secs_f64())
}

fn report(what: &str, figures: &[(&str, String)]) -> anyhow::Result<()> {
    let figures: Vec<String> = figures.iter().map(|(name, value)| format!("{name} {value}")).collect();
    writeln!(std::io::stdout(), "{what:<40} {}", figures.join("   "))?;
    Ok(())
}

struct Servers {
    host: PathBuf,
    cache: PathBuf,
    postgres: LocalPostgres,
    url: String,
    database: Database,
    s3: LocalS3,
    textract: LocalTextract,
    aws: Aws,
}

impl Servers {
    async fn start(load: &Load, folder: PathBuf) -> anyhow::Result<Self> {
        let postgres = LocalPostgres::start(postgres::Settings::new(folder.join("postgres"))).await?;
        postgres.ensure_database("load").await?;
        let url = postgres.url("load");
        let database = Database::parse(&url)?;
        migrate::migrate(&mut database.connect().await?).await?;
        let mut settings = s3::Settings::new(folder.join("s3"));
        settings.buckets = vec![SOURCE.to_owned(), ARTIFACTS.to_owned()];
        let s3 = LocalS3::start(settings).await?;
        let response =
            std::fs::read(&load.response).with_context(|| format!("cannot read {}", load.response.display()))?;
        let textract = LocalTextract::start(local::Settings::new(Reader::recorded(response))).await?;
        let aws = aws::load(&AwsOverrides {
            region: Some("us-east-1".to_owned()),
            credentials: Some((s3.access_key().to_owned(), s3.secret_key().to_owned())),
            s3_endpoint: Some(s3.endpoint()),
            textract_endpoint: Some(textract.endpoint()),
        })
        .await?;
        let (host, cache) = (load.host.clone(), folder.join("cache"));
        Ok(Self { host, cache, postgres, url, database, s3, textract, aws })
    }

    fn host(&self, concurrency: usize) -> anyhow::Result<Child> {
        Command::new(&self.host)
            .args(["run", "--log", "warn", "--concurrency", &concurrency.to_string()])
            .env("DATABASE_URL", &self.url)
            .env("SOURCE_BUCKET", SOURCE)
            .env("ARTIFACT_BUCKET", ARTIFACTS)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", self.s3.access_key())
            .env("AWS_SECRET_ACCESS_KEY", self.s3.secret_key())
            .env("AWS_ENDPOINT_URL_S3", self.s3.endpoint())
            .env("AWS_ENDPOINT_URL_TEXTRACT", self.textract.endpoint())
            .env("WORKER_CACHE_DIR", &self.cache)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", self.host.display()))
    }

    async fn stop(self) {
        self.textract.stop().await;
        self.s3.stop().await;
        self.postgres.stop().await;
    }
}
