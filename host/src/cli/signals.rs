//! The signals that a verb hears.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};

use crate::schedule::Stop;
use crate::telemetry::stderr;
use crate::worker::Orders;

/// Signals that come within this time of the first one are the same.
const ONE_SIGNAL: Duration = Duration::from_millis(500);
/// How long a stop at once waits to be seen.
const LAST_WORD: Duration = Duration::from_millis(200);

/// What a worker is told by signals. From here on none of them ends the process by itself.
pub(super) fn orders() -> anyhow::Result<Orders> {
    let stop = stop()?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let recheck = Arc::new(Notify::new());
    let ring = Arc::clone(&recheck);
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            ring.notify_one();
        }
    });
    Ok(Orders { stop, recheck })
}

/// The first SIGTERM or SIGINT drains, the second one stops the process where it is: leases run out by themselves.
pub(super) fn stop() -> anyhow::Result<watch::Receiver<Stop>> {
    let mut term = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut int = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let (stop, receiver) = watch::channel(Stop::No);
    tokio::spawn(async move {
        let mut signalled = async || {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
        };
        signalled().await;
        stop.send_replace(Stop::Drain);
        // A process group and its parent often send the same one: all of this moment are one.
        let moment = tokio::time::sleep(ONE_SIGNAL);
        tokio::pin!(moment);
        loop {
            tokio::select! {
                () = &mut moment => break,
                () = signalled() => {}
            }
        }
        signalled().await;
        // Nobody else is told: whoever ended for it would be quicker, with another exit code.
        tracing::warn!(
            name: "host.stopped_at_once",
            "stopping at once; what was being worked comes back when its lease ends"
        );
        stderr::flush(LAST_WORD);
        std::process::exit(143);
    });
    Ok(receiver)
}
