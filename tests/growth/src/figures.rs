//! Samples, sizes, and how they are printed.

use std::io::Write;
use std::time::{Duration, Instant};

use tokio_postgres::Client;

/// Durations of one kind of statement.
#[derive(Debug, Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    /// Times a piece of work.
    pub async fn time<T>(&mut self, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        let started = Instant::now();
        let result = work.await;
        self.0.push(started.elapsed());
        result
    }

    /// p50 and p99 in milliseconds, and how many there were.
    pub fn take(&mut self) -> String {
        let mut sorted = std::mem::take(&mut self.0);
        sorted.sort();
        let percentile = |percent: usize| {
            let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
            sorted.get(index).copied().unwrap_or_default().as_secs_f64() * 1000.0
        };
        format!("{:>9.2} {:>9.2} {:>6}", percentile(50), percentile(99), sorted.len())
    }
}

/// Writes a line.
pub fn line(text: impl AsRef<str>) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{}", text.as_ref())?)
}

/// Sizes of the queue table and of each of its indexes, in MB.
pub async fn sizes(client: &Client) -> anyhow::Result<String> {
    let sql = "SELECT c.relname::text, pg_relation_size(c.oid) / 1e6::float8
        FROM pg_class c
        WHERE c.oid = 'receipt_queue'::regclass
           OR c.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = 'receipt_queue'::regclass)
        ORDER BY c.relkind DESC, c.relname";
    let mut sizes = Vec::new();
    for row in client.query(sql, &[]).await? {
        let (name, megabytes): (String, f64) = (row.try_get(0)?, row.try_get(1)?);
        sizes.push(format!("{} {megabytes:.0}", name.trim_start_matches("receipt_queue_")));
    }
    Ok(sizes.join("  "))
}

/// What the statistics say of the queue table.
pub async fn vacuums(client: &Client) -> anyhow::Result<String> {
    let sql = "SELECT n_dead_tup, autovacuum_count, n_tup_hot_upd, n_tup_upd
        FROM pg_stat_user_tables WHERE relid = 'receipt_queue'::regclass";
    let row = client.query_one(sql, &[]).await?;
    let (dead, vacuums): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let (hot, updates): (i64, i64) = (row.try_get(2)?, row.try_get(3)?);
    Ok(format!("dead rows {dead}, vacuumed {vacuums} times, {hot} of {updates} updates HOT"))
}
