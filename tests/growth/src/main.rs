//! `make growth`: what the queue's statements cost as its tables grow, and what a million jobs leave behind. A real
//! Postgres of its own, the statements as the host ships them, in the rhythm of its pump. Prints figures; asserts nothing
//! about them. docs/growth.md has what was measured last.

mod cluster;
mod figures;
mod fill;
mod size;
mod through;
mod work;

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::cluster::Cluster;
use crate::through::Storage;

/// Measures the queue's statements on tables of any size. Needs about 8 GB of disk with the default numbers.
#[derive(Debug, Parser)]
struct Growth {
    /// Where the databases are for as long as it runs; a temporary folder, if not given.
    #[arg(long, env = "GROWTH_FOLDER", value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Processed rows of the large table.
    #[arg(long, env = "GROWTH_PROCESSED", default_value_t = 10_000_000)]
    processed: i64,
    /// Waiting rows of the large table.
    #[arg(long, env = "GROWTH_WAITING", default_value_t = 1_000_000)]
    waiting: i64,
    /// Rounds of claim and settle that are timed.
    #[arg(long, env = "GROWTH_ROUNDS", default_value_t = 500)]
    rounds: usize,
    /// Jobs that go through.
    #[arg(long, env = "GROWTH_JOBS", default_value_t = 1_000_000)]
    jobs: i64,
    /// Storage parameters of receipt_queue to compare: NAME:a=1,b=2; `shipped` has those of the migrations, `postgres`
    /// none.
    #[arg(long, env = "GROWTH_STORAGE", default_values = ["postgres", "shipped"], value_name = "NAME[:PARAMETERS]")]
    storage: Vec<Storage>,
    /// Only these. All, if not given.
    #[arg(long, env = "GROWTH_ONLY", value_delimiter = ',')]
    only: Vec<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The statements on a small and on a large table.
    Size,
    /// Jobs that go through, and what is left of them.
    Through,
    /// The same beside a transaction that was open before them.
    Pinned,
}

impl Growth {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let growth = Growth::parse();
    let cluster = Cluster::start(growth.folder.as_deref()).await?;
    let result = tokio::select! {
        result = measure(&growth, &cluster) => result,
        interrupted = tokio::signal::ctrl_c() => Err(interrupted.map_or_else(Into::into, |()| anyhow::anyhow!("interrupted"))),
    };
    cluster.stop().await;
    result
}

async fn measure(growth: &Growth, cluster: &Cluster) -> anyhow::Result<()> {
    if growth.wants(Part::Size) {
        size::measure(cluster, 0, 1_000, growth.rounds).await?;
        size::measure(cluster, growth.processed, growth.waiting, growth.rounds).await?;
    }
    for (part, pinned) in [(Part::Through, false), (Part::Pinned, true)] {
        if !growth.wants(part) {
            continue;
        }
        for storage in &growth.storage {
            through::measure(cluster, storage, growth.jobs, pinned).await?;
        }
    }
    Ok(())
}
