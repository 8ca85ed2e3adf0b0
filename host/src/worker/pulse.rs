//! How the worker is, for whoever asks (`/readyz`, metrics).

use std::sync::Arc;
use std::time::Duration;

use crate::admin::Subject;
use crate::breaker::SharedBreaker;
use crate::cloudwatch::{self, CloudWatch};
use crate::health::{Depth, Health, Pulse};
use crate::queue::backlog::backlog;
use crate::queue::{Database, Pump, QueueError};
use crate::swap::{HostBreakers, Swapper};
use crate::telemetry::metrics::Metrics;
use crate::trace::Recorder;

/// Between two looks at how much waits. A connection of its own each time: nothing else waits for it, and none is held.
const COUNT_EVERY: Duration = Duration::from_secs(15);
/// The queue is polled at least every `--every`. So many of them may be missed, and so much time beside.
const POLLS_MISSED: u32 = 3;
const POLLS_LATE: Duration = Duration::from_secs(60);

/// What tells how the worker is.
pub(super) struct Vitals {
    pub(super) pump: Arc<Pump>,
    pub(super) swapper: Arc<Swapper>,
    pub(super) breakers: HostBreakers,
    pub(super) recorder: Option<Arc<Recorder>>,
    pub(super) every: Duration,
}

/// How long the end waits for it.
const LAST_WORD: Duration = Duration::from_secs(5);

impl Vitals {
    pub(super) fn pulse(&self) -> Pulse {
        let last_poll = self.pump.last_poll();
        let longest = self.every.saturating_mul(POLLS_MISSED).saturating_add(POLLS_LATE);
        let program = Arc::clone(&self.swapper.current().program);
        let breakers = [
            ("component", &program.tally.breaker),
            ("services", &self.breakers.services),
            ("settles", &self.breakers.settles),
        ];
        let paused: Vec<_> = breakers.into_iter().filter_map(|(which, breaker)| open(which, breaker)).collect();
        Pulse {
            component: program.digest().to_owned(),
            unreachable: self.pump.failing().map(|(since, why)| format!("for {} s: {why}", since.as_secs())),
            broken: self.pump.broken(),
            last_poll,
            // Who has all hands full, or is paused, does not poll.
            overdue: self.pump.held() == 0 && paused.is_empty() && last_poll.is_some_and(|since| since > longest),
            paused,
            recording_off: self.recorder.as_ref().and_then(|recorder| recorder.stats().off),
        }
    }
}

fn open(which: &'static str, breaker: &SharedBreaker) -> Option<(&'static str, String)> {
    breaker.report().why.map(|why| (which, why))
}

/// Counts what waits, for ever.
pub(super) async fn count(database: Database, health: Arc<Health>, metrics: Arc<Metrics>) {
    let mut told = false;
    loop {
        let depth = look(&database).await.inspect_err(|error| {
            // That the database is away, others say louder; and a right that is missing is missing every time.
            let is_news = !error.may_pass() && !told;
            told |= is_news;
            match is_news {
                true => tracing::warn!(name: "backlog.unknown", %error, "cannot count what waits"),
                false => tracing::debug!(name: "backlog.unknown", %error, "cannot count what waits"),
            }
        });
        let depth = depth.ok();
        metrics.depth(depth.as_ref());
        health.counted(depth);
        tokio::time::sleep(COUNT_EVERY).await;
    }
}

/// Tells CloudWatch, for ever.
pub(super) async fn tell_each_minute(cloudwatch: Arc<CloudWatch>, health: Arc<Health>) {
    loop {
        tokio::time::sleep(cloudwatch::EVERY).await;
        cloudwatch.tell(health.depth()).await;
    }
}

/// Tells what happened since, and what is left; the one time that a pass of many tells anything.
pub(super) async fn tell_the_last(cloudwatch: &CloudWatch, database: &Database, subject: &Subject) {
    let telling = async {
        let left = look(database).await.ok();
        cloudwatch.tell(left.or(subject.health.depth())).await;
    };
    if tokio::time::timeout(LAST_WORD, telling).await.is_err() {
        tracing::warn!(name: "cloudwatch.untold", error = "it took too long", "CloudWatch could not be told; the work goes on");
    }
}

async fn look(database: &Database) -> Result<Depth, QueueError> {
    backlog(&database.connect().await?).await
}
