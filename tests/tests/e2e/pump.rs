//! What the tests of the queue share: pumps of their own, side by side on one database.

use std::sync::Arc;
use std::time::Duration;

use host::failure::{Failure, FailureKind};
use host::queue::{Completion, Database, Job, JobOutcome, Pump, PumpSettings};
use tests::{World, eventually};
use tokio::sync::Notify;

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// Nothing in it happens by the clock.
pub(crate) fn settings() -> PumpSettings {
    PumpSettings { capacity: 10, max_attempts: 5, lease: HOUR, every: HOUR }
}

pub(crate) async fn start(world: &World) -> Pump {
    start_with(world.db.database(), settings()).await
}

pub(crate) async fn start_with(database: Database, settings: PumpSettings) -> Pump {
    Pump::start(database, settings, Arc::new(Notify::new())).await.unwrap()
}

/// The next job, when there is one.
pub(crate) async fn take(pump: &Pump) -> Job {
    eventually("a claimed job", async || pump.take(1).pop()).await
}

/// A pump and the one job that it has claimed; it claims no other.
pub(crate) async fn claimed(world: &World) -> (Pump, Job) {
    let pump = start(world).await;
    let job = take(&pump).await;
    pump.stop_claiming();
    (pump, job)
}

pub(crate) fn complete(vendor: &str, total: &str) -> JobOutcome {
    JobOutcome::Complete(Completion {
        vendor: Some(vendor.to_owned()),
        total: Some(total.to_owned()),
        currency: Some("EUR".to_owned()),
        date: Some("2024-02-29".to_owned()),
        confidence: 87.5,
        artifact_key: "ocr/artifact.json".to_owned(),
    })
}

pub(crate) fn retry(delay: Duration, charge: bool) -> JobOutcome {
    let failure = Failure::new(FailureKind::Unavailable, "test.Retry", "as a test ordered");
    JobOutcome::Retry { delay, charge, failure: Some(failure) }
}

pub(crate) fn give_back() -> JobOutcome {
    JobOutcome::Retry { delay: Duration::ZERO, charge: false, failure: None }
}

pub(crate) fn dead_letter() -> JobOutcome {
    let failure = Failure::new(FailureKind::BadDocument, "test.Dead", "as a test ordered");
    JobOutcome::DeadLetter { failure, notes: "permanent failure" }
}

/// As if the lease had run out.
pub(crate) async fn expire(world: &World) {
    world.execute("UPDATE receipt_queue SET available_at = now() - interval '1 second' WHERE NOT processed").await;
}
