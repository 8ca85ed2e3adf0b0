//! What a worker is made of, and the order in which it starts and stops. Every verb that works the queue starts this one.

mod error;
mod parts;
mod patience;
mod pulse;
mod reached;
mod settings;
mod summary;

use std::sync::Arc;

use tokio::sync::{Notify, watch};

pub use error::WorkerError;
pub use patience::unless_stopped;
pub use settings::{AwsSettings, Buckets, WorkSettings, WorkerSettings};
pub use summary::Summary;

use self::parts::{Endpoint, Loaded, Parts};
use self::patience::patiently;
use self::reached::Reached;
use crate::queue::Counts;
use crate::schedule::{Runs, Stop};

/// A worker that is configured, has loaded its component, and has not looked at the queue yet.
pub struct Worker {
    settings: WorkerSettings,
    endpoint: Endpoint,
    loaded: Loaded,
}

/// How a worker is told what to do while it works.
#[derive(Debug, Clone)]
pub struct Orders {
    /// When to stop.
    pub stop: watch::Receiver<Stop>,
    /// Rung when the component is to be looked at again, whether or not it seems to have changed.
    pub recheck: Arc<Notify>,
}

/// What a worker did.
#[derive(Debug, Default)]
pub struct Report {
    /// What became of jobs.
    pub counts: Counts,
    /// What became of runs.
    pub runs: Runs,
    /// The digest of the component that worked first.
    pub component: String,
    /// Whether it came to look at the queue before it was told to stop.
    pub began: bool,
}

impl Worker {
    /// Loads the component and checks whatever can be wrong with the settings. None where a stop came first.
    pub async fn prepare(settings: WorkerSettings, orders: &Orders) -> Result<Option<Self>, WorkerError> {
        // Whoever runs it can see it start.
        let endpoint = Endpoint::open(&settings);
        let loaded = Loaded::load(&settings, &endpoint.subject, &orders.stop).await?;
        Ok(loaded.map(|loaded| Self { settings, endpoint, loaded }))
    }

    /// Works until told to stop, or for one pass until nothing is due.
    ///
    /// Whatever can fail at a start comes before the first claim, and nothing after it: a job that was claimed and not
    /// worked would cost an attempt.
    pub async fn run(self, Orders { stop, recheck }: Orders) -> Result<Report, WorkerError> {
        let Self { settings, endpoint, loaded } = self;
        let component = loaded.swap.first.digest().to_owned();
        // Buckets, storage and the database are there.
        let reach = async || Reached::reach(&settings, &loaded.aws).await;
        let Some(reached) = patiently(!settings.term.is_passing(), &stop, &endpoint.subject.health, reach).await?
        else {
            return Ok(Report { component, ..Report::default() });
        };
        // Swapping starts, then the first claim is made.
        let parts = Parts::start(settings, endpoint, loaded, reached, recheck).await;
        // Runs go side by side until the stop; then what was begun ends, and the rest goes back.
        let runs = parts.work(stop).await;
        // What was paid for is stored, what happened is in the ledger, and the tasks end.
        let counts = parts.stop().await;
        Ok(Report { counts, runs, component, began: true })
    }
}
