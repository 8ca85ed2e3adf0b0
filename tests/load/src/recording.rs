//! What recording costs, and how fast recorded runs are replayed. Every receipt has an OCR answer of its own, so that each
//! is written.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio_postgres::Client;

use crate::Load;
use crate::figures::{clear, insert_distinct, rate, report, stop, wait_until_done};
use crate::servers::{DISTINCT, Servers};

/// Rounds, each with and without, in turns: the machine is not the same all the time.
const ROUNDS: usize = 3;

pub async fn measure(load: &Load, servers: &Servers, client: &Client) -> anyhow::Result<()> {
    let (mut with, mut without) = (Duration::ZERO, Duration::ZERO);
    let mut folder = servers.scratch.join("traces");
    for round in 0..ROUNDS {
        let recording = servers.scratch.join(format!("traces-{round}"));
        let turns = if round % 2 == 0 { [false, true] } else { [true, false] };
        for recorded in turns {
            let took = work(load, servers, client, recorded.then_some(recording.as_path())).await?;
            *if recorded { &mut with } else { &mut without } += took;
        }
        folder = recording;
    }
    let total = DISTINCT * i64::try_from(ROUNDS)?;
    report(
        "recording, each answer another one",
        &[
            ("receipts/s without", rate(total, without)),
            ("with", rate(total, with)),
            ("cost %", format!("{:.1}", (with.as_secs_f64() / without.as_secs_f64() - 1.0) * 100.0)),
        ],
    )?;
    replay(servers, &folder, with / u32::try_from(ROUNDS)?).await
}

async fn work(load: &Load, servers: &Servers, client: &Client, record: Option<&Path>) -> anyhow::Result<Duration> {
    insert_distinct(client, DISTINCT).await?;
    let folder = record.map(|path| path.to_string_lossy().into_owned());
    let flags: Vec<&str> = folder.iter().flat_map(|folder| ["--record", folder, "--record-max-size", "4GiB"]).collect();
    let started = Instant::now();
    let host = servers.host_with(load.concurrency, &flags)?;
    wait_until_done(client).await?;
    let took = started.elapsed();
    stop(host).await?;
    clear(client).await?;
    Ok(took)
}

async fn replay(servers: &Servers, folder: &Path, original: Duration) -> anyhow::Result<()> {
    let folder = folder.to_string_lossy();
    let runs = std::fs::read_dir(&*folder)?.count().saturating_sub(2);
    let started = Instant::now();
    let output = servers.command(&["replay", &folder, "--log", "warn"]).output().await.context("cannot replay")?;
    let took = started.elapsed();
    anyhow::ensure!(output.status.success(), "the replay failed: {}", String::from_utf8_lossy(&output.stdout));
    report(
        "replay on one core, of what was recorded",
        &[
            ("runs", runs.to_string()),
            ("receipts/s", rate(DISTINCT, took)),
            ("times the original", format!("{:.1}", original.as_secs_f64() / took.as_secs_f64())),
        ],
    )?;
    gate(servers, &folder).await
}

/// The whole comparison of two components on these runs, as `host swap` sees it.
async fn gate(servers: &Servers, folder: &str) -> anyhow::Result<()> {
    const ADMIN: &str = "127.0.0.1:9471";
    let host = servers.host_with(4, &["--admin", ADMIN, "--gate", folder, "--gate-timeout", "10m"])?;
    let component = servers.scratch.join("gate.wasm");
    std::fs::write(&component, crate::swapping::component(0))?;
    let component = component.to_string_lossy();
    let verdict = loop {
        let output = servers.command(&["swap", &component, "--admin", ADMIN, "--json"]).output().await?;
        if !output.stdout.is_empty() {
            break serde_json::from_slice::<serde_json::Value>(&output.stdout)?;
        }
        // It has yet to listen.
        anyhow::ensure!(host.id().is_some(), "{}", String::from_utf8_lossy(&output.stderr));
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    stop(host).await?;
    let number = |pointer: &str| verdict.pointer(pointer).and_then(serde_json::Value::as_i64).unwrap_or_default();
    let took = Duration::from_millis(u64::try_from(number("/milliseconds"))?);
    report(
        "gate: old and new on what was recorded",
        &[
            ("runs", number("/gate/traces").to_string()),
            ("responses", number("/gate/responses").to_string()),
            ("s", format!("{:.2}", took.as_secs_f64())),
            ("runs and responses/s", rate(number("/gate/traces") + number("/gate/responses"), took)),
        ],
    )
}
