//! What the measurements share: receipts in, receipts done, and how figures are printed.

use std::io::Write;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};
use tokio_postgres::Client;

pub async fn insert(client: &Client, count: i64) -> anyhow::Result<()> {
    let sql = "INSERT INTO receipts (image_url) SELECT 'photo.jpg' FROM generate_series(1, $1::bigint)";
    client.execute(sql, &[&count]).await?;
    Ok(())
}

/// Inserts receipts with photos, and OCR answers, of their own.
pub async fn insert_distinct(client: &Client, count: i64) -> anyhow::Result<()> {
    let sql = "INSERT INTO receipts (image_url)
               SELECT 'photo-' || n || '.jpg' FROM generate_series(0, $1::bigint - 1) AS n";
    client.execute(sql, &[&count]).await?;
    Ok(())
}

pub async fn wait_until_done(client: &Client) -> anyhow::Result<()> {
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

pub async fn clear(client: &Client) -> anyhow::Result<()> {
    Ok(client.batch_execute("DELETE FROM receipts").await?)
}

pub async fn stop(mut host: Child) -> anyhow::Result<()> {
    if let Some(pid) = host.id() {
        Command::new("kill").arg(pid.to_string()).status().await?;
    }
    host.wait().await?;
    Ok(())
}

/// The process's peak resident memory (Linux).
pub fn peak_memory(pid: Option<u32>) -> String {
    mib(kib(pid, "VmHWM:"))
}

/// The process's resident memory now (Linux).
pub fn resident_kib(pid: Option<u32>) -> Option<u64> {
    kib(pid, "VmRSS:")
}

pub fn mib(kib: Option<u64>) -> String {
    kib.map_or_else(|| "unknown".to_owned(), |kib| format!("{:.0}", kib as f64 / 1024.0))
}

fn kib(pid: Option<u32>, which: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid?)).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(which))?;
    line.split_whitespace().next()?.parse().ok()
}

pub fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(index).copied().unwrap_or_default()
}

pub fn millis(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64() * 1000.0)
}

pub fn rate(count: i64, took: Duration) -> String {
    format!("{:.0}", count as f64 / took.as_secs_f64())
}

pub fn report(what: &str, figures: &[(&str, String)]) -> anyhow::Result<()> {
    let figures: Vec<String> = figures.iter().map(|(name, value)| format!("{name} {value}")).collect();
    writeln!(std::io::stdout(), "{what:<40} {}", figures.join("   "))?;
    Ok(())
}
