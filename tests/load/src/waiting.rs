//! `load --only memory`: a hundred thousand receipts wait, each with a photo of 10 MB, and many are worked at a time.

use std::time::{Duration, Instant};

use anyhow::Context;
use tokio_postgres::Client;

use crate::Load;
use crate::figures::{clear, peak_memory, rate, report, stop};
use crate::servers::{SOURCE, Servers};

const KEY: &str = "large.jpg";
/// Textract's limit.
const SIZE: usize = 10_000_000;
/// Receipts that are worked before the memory is read.
const WORKED: i64 = 400;
const CONCURRENCY: usize = 64;

/// The peak with a backlog beside the peak without one: the same number of the same photos is worked.
pub async fn measure(load: &Load, servers: &Servers, client: &Client) -> anyhow::Result<()> {
    let mut photo = std::fs::read(&load.photo)?;
    photo.resize(SIZE, 0);
    let put = servers.aws.s3.put_object().bucket(SOURCE).key(KEY).body(photo.into());
    put.send().await.context("cannot upload a photo")?;
    for waiting in [WORKED, load.waiting.max(WORKED)] {
        let sql = "INSERT INTO receipts (image_url) SELECT $1 FROM generate_series(1, $2::bigint)";
        client.execute(sql, &[&KEY, &waiting]).await?;
        let started = Instant::now();
        let host = servers.host(CONCURRENCY)?;
        wait_until_worked(client).await?;
        let (took, memory) = (started.elapsed(), peak_memory(host.id()));
        stop(host).await?;
        clear(client).await?;
        report(
            "photos of 10 MB",
            &[
                ("waiting", waiting.to_string()),
                ("concurrency", CONCURRENCY.to_string()),
                ("worked", WORKED.to_string()),
                ("receipts/s", rate(WORKED, took)),
                ("peak MiB", memory),
            ],
        )?;
    }
    Ok(())
}

async fn wait_until_worked(client: &Client) -> anyhow::Result<()> {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(600) {
        let row = client.query_one("SELECT count(*) FROM receipt_queue WHERE processed", &[]).await?;
        if row.try_get::<_, i64>(0)? >= WORKED {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("the worker did not finish {WORKED} receipts within 10 minutes")
}
