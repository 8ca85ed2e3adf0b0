//! The start of a worker: what is not there yet is waited for, as it would be later, and a signal ends the waiting at once.

use std::time::Duration;

use tokio::sync::watch;

use crate::failure::{Failure, FailureKind, chain};
use crate::queue::QueueError;
use crate::schedule::Stop;

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Tries until it works. None where a stop came first. An error that waiting does not mend ends it, and every one does where
/// nobody wants to wait (`--once`).
pub(super) async fn patiently<T>(
    waits: bool,
    stop: &watch::Receiver<Stop>,
    mut attempt: impl AsyncFnMut() -> anyhow::Result<T>,
) -> anyhow::Result<Option<T>> {
    let mut pause = FIRST_PAUSE;
    loop {
        let Some(result) = unless_stopped(stop, attempt()).await else { return Ok(None) };
        match result {
            Ok(done) => return Ok(Some(done)),
            Err(error) if waits && is_passing(&error) => {
                tracing::warn!(again_in = ?pause, "cannot start yet: {}", chain(error.as_ref()));
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
pub(super) async fn unless_stopped<T>(stop: &watch::Receiver<Stop>, work: impl Future<Output = T>) -> Option<T> {
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

fn is_passing(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        if let Some(error) = cause.downcast_ref::<QueueError>() {
            return error.may_pass();
        }
        cause.downcast_ref::<Failure>().is_some_and(|failure| {
            matches!(failure.kind, FailureKind::Unavailable | FailureKind::TimedOut | FailureKind::Throttled)
        })
    })
}
