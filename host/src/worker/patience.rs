//! The start of a worker: what is not there yet is waited for, as it would be later, and a stop ends the waiting at once.

use std::time::Duration;

use tokio::sync::watch;

use super::error::WorkerError;
use crate::failure::chain;
use crate::health::Health;
use crate::schedule::Stop;

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// A password that is being rotated is there within seconds.
const WHILE_ROTATED: Duration = Duration::from_secs(2);

/// Tries until it works. None where a stop came first. An error that waiting does not mend ends it, and every one does where
/// nobody wants to wait (one pass).
pub(super) async fn patiently<T>(
    waits: bool,
    stop: &watch::Receiver<Stop>,
    health: &Health,
    mut attempt: impl AsyncFnMut() -> Result<T, WorkerError>,
) -> Result<Option<T>, WorkerError> {
    let mut pause = FIRST_PAUSE;
    loop {
        let Some(result) = unless_stopped(stop, attempt()).await else { return Ok(None) };
        match result {
            Ok(done) => return Ok(Some(done)),
            Err(error) if waits && error.may_pass() => {
                if error.waits_for_a_secret() {
                    pause = pause.min(WHILE_ROTATED);
                }
                health.waits_for(error.part(), chain(&error).to_string());
                tracing::warn!(name: "worker.start_waits", again_in = ?pause, "cannot start yet: {}", chain(&error));
                if unless_stopped(stop, tokio::time::sleep(pause)).await.is_none() {
                    return Ok(None);
                }
                pause = LONGEST_PAUSE.min(pause * 2);
            }
            Err(error) => return Err(error),
        }
    }
}

/// What it comes to; none where a stop comes first.
pub async fn unless_stopped<T>(stop: &watch::Receiver<Stop>, work: impl Future<Output = T>) -> Option<T> {
    let mut stop = stop.clone();
    let stopped = async {
        if stop.wait_for(|stop| *stop != Stop::No).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        () = stopped => None,
        done = work => Some(done),
    }
}
