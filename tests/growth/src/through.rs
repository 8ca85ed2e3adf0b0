//! Jobs that go through, a thousand waiting at a time, and what they leave behind.

use std::str::FromStr;
use std::time::Instant;

use crate::cluster::{Cluster, pin};
use crate::figures::{line, sizes, vacuums};
use crate::work::{BATCH, Worker};

/// Receipts of one INSERT of the app's.
const INSERT: i64 = 1_000;
const REPORTS: i64 = 4;

/// Storage parameters of the queue table.
#[derive(Debug, Clone)]
pub struct Storage {
    name: String,
    parameters: Option<String>,
}

impl FromStr for Storage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, parameters) = match text.split_once(':') {
            Some((name, parameters)) => (name, Some(parameters.to_owned())),
            None if text == "shipped" => (text, None),
            None if text == "postgres" => (text, Some(String::new())),
            None => return Err(format!("{text:?}: write shipped, postgres or NAME:a=1,b=2")),
        };
        Ok(Self { name: name.to_owned(), parameters })
    }
}

pub async fn measure(cluster: &Cluster, storage: &Storage, jobs: i64, pinned: bool) -> anyhow::Result<()> {
    let database = cluster.database().await?;
    let client = database.connect().await?.into_driver();
    if let Some(parameters) = &storage.parameters {
        let sql = "SELECT coalesce(string_agg(split_part(option, '=', 1), ','), '')
            FROM pg_class, unnest(reloptions) AS option WHERE oid = 'receipt_queue'::regclass";
        let shipped: String = client.query_one(sql, &[]).await?.try_get(0)?;
        client.batch_execute(&format!("ALTER TABLE receipt_queue RESET ({shipped})")).await?;
        if !parameters.is_empty() {
            client.batch_execute(&format!("ALTER TABLE receipt_queue SET ({parameters})")).await?;
        }
    }
    let pin = if pinned { Some(pin(&database).await?) } else { None };
    let beside = if pinned { "an old transaction beside it" } else { "nothing beside it" };
    line(format!("{jobs} jobs, storage {}, {beside}", storage.name))?;
    let insert = client.prepare("INSERT INTO receipts (image_url) SELECT 'receipts/' || n || '.jpg' FROM generate_series(1, $1::bigint) AS n").await?;
    let mut worker = Worker::connect(&database).await?;
    let (mut done, mut reported, mut started) = (0, 0, Instant::now());
    while done < jobs {
        client.execute(&insert, &[&INSERT]).await?;
        let mut left = INSERT;
        while left > 0 {
            let worked = i64::try_from(worker.round().await?)?;
            anyhow::ensure!(worked > 0, "{left} of {INSERT} jobs are not found (claims of {BATCH})");
            left -= worked;
            done += worked;
        }
        if done >= (reported + 1) * jobs / REPORTS {
            reported += 1;
            let rate = (jobs / REPORTS) as f64 / started.elapsed().as_secs_f64();
            line(format!("  after {done} jobs: {rate:.0} jobs/s{:>41}", "p50 ms    p99 ms  count"))?;
            worker.times.report()?;
            line(format!("    {}", vacuums(&client).await?))?;
            line(format!("    MB: {}", sizes(&client).await?))?;
            started = Instant::now();
        }
    }
    drop(pin);
    Ok(())
}
