//! The statements on a table of some size.

use std::time::Instant;

use crate::cluster::Cluster;
use crate::figures::{line, sizes, vacuums};
use crate::fill::fill;
use crate::work::Worker;

pub async fn measure(cluster: &Cluster, processed: i64, waiting: i64, rounds: usize) -> anyhow::Result<()> {
    let database = cluster.database().await?;
    let started = Instant::now();
    fill(&database, processed, waiting).await?;
    line(format!(
        "{processed} processed and {waiting} waiting rows (filled in {} s){:>26}",
        started.elapsed().as_secs(),
        "p50 ms    p99 ms  count"
    ))?;
    let client = database.connect().await?.into_driver();
    line(format!("    MB: {}", sizes(&client).await?))?;
    let mut worker = Worker::connect(&database).await?;
    for _ in 0..rounds {
        if worker.round().await? == 0 {
            break;
        }
    }
    worker.times.report()?;
    line(format!("    {}", vacuums(&client).await?))
}
