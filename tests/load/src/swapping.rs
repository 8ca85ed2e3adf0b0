//! What a swap costs the work: the same load with and without swaps, one after another. Fails where a component that was
//! replaced is not let go.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use host::sandbox::EMBEDDED;
use host::storage::digest_of;
use tokio_postgres::Client;

use crate::Load;
use crate::figures::{clear, mib, millis, percentile, report, resident_kib, stop, wait_until_done};
use crate::servers::Servers;

/// Receipts a second that arrive meanwhile: well under what the machine can do, so that a wait is a swap's.
const ARRIVALS: u32 = 50;
/// Swaps after which memory is looked at first: caches are warm by then.
const WARM: u32 = 20;
/// What resident memory may have grown by since: the allocator's, the pages of files, a compilation's leftovers. One component
/// that is not let go costs some 4 MiB, so a leak shows after fifteen swaps more.
const ALLOWANCE_KIB: u64 = 48 << 10;

/// The built-in component by another digest: a custom section is nobody's business.
pub fn component(number: u32) -> Vec<u8> {
    let number = number.to_be_bytes();
    // Id, size, length of the name, name, contents.
    [EMBEDDED, &[0, 6, 1, b'n'], &number].concat()
}

pub async fn measure(load: &Load, servers: &Servers, client: &Client) -> anyhow::Result<()> {
    let path = servers.scratch.join("worker.wasm");
    put(&path, 0)?;
    let name = path.to_string_lossy().into_owned();
    let host = servers.host_with(4, &["--component", &name, "--probation", "0"])?;
    let pid = host.id();
    when(client, STARTED, &digest_of(&component(0))).await?;
    let arrivals = tokio::spawn(arrive(servers.database.connect().await?.into_driver()));

    let started = Instant::now();
    let (mut switches, mut firsts) = (Vec::new(), Vec::new());
    let mut warm = None;
    let from: SystemTime = client.query_one("SELECT clock_timestamp()", &[]).await?.try_get(0)?;
    for number in 1..=load.swaps {
        let written: SystemTime = client.query_one("SELECT clock_timestamp()", &[]).await?.try_get(0)?;
        put(&path, number)?;
        let digest = digest_of(&component(number));
        let switched = when(client, SWITCHED, &digest).await?;
        let first = when(client, FIRST_JOB, &digest).await?;
        switches.push(switched.duration_since(written).unwrap_or_default());
        firsts.push(first.duration_since(written).unwrap_or_default());
        if number == WARM {
            warm = resident_kib(pid);
        }
    }
    let swapping = started.elapsed();
    let to: SystemTime = client.query_one("SELECT clock_timestamp()", &[]).await?.try_get(0)?;
    let memory = resident_kib(pid);
    // As long again, in peace.
    tokio::time::sleep(swapping.min(Duration::from_secs(60))).await;
    arrivals.abort();
    wait_until_done(client).await?;
    let during = job_times(client, "enqueued_at BETWEEN $1 AND $2", from, to).await?;
    let in_peace = job_times(client, "enqueued_at > $2 AND enqueued_at > $1", from, to).await?;
    let undone: i64 =
        client.query_one("SELECT count(*) FROM receipts WHERE status <> 'ocr_done'", &[]).await?.try_get(0)?;
    let again: i64 = client.query_one("SELECT count(*) FROM receipt_queue WHERE claims > 1", &[]).await?.try_get(0)?;
    stop(host).await?;
    clear(client).await?;

    switches.sort();
    firsts.sort();
    for (name, times) in
        [("swap: file written to switched", switches), ("swap: file written to first job done", firsts)]
    {
        let figures = [("p50 ms", millis(percentile(&times, 50))), ("p99 ms", millis(percentile(&times, 99)))];
        report(name, &figures)?;
    }
    for (name, times) in [("INSERT to done, during the swaps", during), ("INSERT to done, without swaps", in_peace)] {
        let figures = [
            ("receipts", times.len().to_string()),
            ("p50 ms", millis(percentile(&times, 50))),
            ("p99 ms", millis(percentile(&times, 99))),
        ];
        report(name, &figures)?;
    }
    report(
        "after the swaps",
        &[
            ("swaps", load.swaps.to_string()),
            ("not done", undone.to_string()),
            ("worked twice", again.to_string()),
            ("MiB after 20 swaps", mib(warm)),
            ("after all", mib(memory)),
        ],
    )?;
    if let (Some(warm), Some(memory)) = (warm, memory) {
        let most = warm + ALLOWANCE_KIB;
        anyhow::ensure!(
            memory <= most,
            "components are not let go: {warm} KiB after {WARM} swaps, {memory} KiB after all"
        );
    }
    Ok(())
}

const STARTED: &str = "SELECT min(at) FROM receipt_component_changes WHERE change = 'started' AND digest = $1";
const SWITCHED: &str = "SELECT min(at) FROM receipt_component_changes WHERE change = 'switched' AND digest = $1";
const FIRST_JOB: &str = "SELECT min(processed_at) FROM receipt_queue WHERE component = $1";

/// Waits until this query has a time.
async fn when(client: &Client, query: &str, digest: &str) -> anyhow::Result<SystemTime> {
    let patience = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(at) = client.query_one(query, &[&digest]).await?.try_get(0)? {
            return Ok(at);
        }
        anyhow::ensure!(Instant::now() < patience, "component {digest} did not come to work within a minute");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn arrive(client: Client) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / ARRIVALS);
    loop {
        ticks.tick().await;
        client.execute("INSERT INTO receipts (image_url) VALUES ('photo.jpg')", &[]).await?;
    }
}

async fn job_times(client: &Client, which: &str, from: SystemTime, to: SystemTime) -> anyhow::Result<Vec<Duration>> {
    let sql = format!(
        "SELECT extract(epoch FROM processed_at - enqueued_at)::float8 FROM receipt_queue WHERE {which} ORDER BY 1"
    );
    let rows = client.query(&sql, &[&from, &to]).await?;
    rows.iter().map(|row| Ok(Duration::try_from_secs_f64(row.try_get(0)?).unwrap_or_default())).collect()
}

fn put(path: &Path, number: u32) -> anyhow::Result<()> {
    let new = path.with_extension("new");
    std::fs::write(&new, component(number)).context("cannot write the component")?;
    Ok(std::fs::rename(new, path)?)
}
