//! An outage is told once, not at every try: what is wrong when it begins or changes, and that it is over.

use std::time::{Duration, Instant};

use super::QueueError;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// A password that is being rotated is there within seconds.
const WHILE_ROTATED: Duration = Duration::from_secs(2);

/// How one of the pump's connections fares.
pub(super) struct Outage {
    /// What cannot be done, for the log.
    what: &'static str,
    /// Between two tries, at most.
    longest_pause: Duration,
    pause: Duration,
    /// Since when, and what was told last.
    told: Option<(Instant, String)>,
}

impl Outage {
    pub(super) fn new(what: &'static str, longest_pause: Duration) -> Self {
        Self { what, longest_pause, pause: FIRST_PAUSE, told: None }
    }

    /// Tells it where it is news; returns how long to wait before the next try.
    pub(super) fn failed(&mut self, error: &QueueError) -> Duration {
        let longest = if error.waits_for_a_secret() { WHILE_ROTATED } else { self.longest_pause };
        let pause = self.pause.min(longest);
        self.pause = (pause * 2).min(longest);
        let text = error.to_string();
        match &self.told {
            Some((_, told)) if *told == text => {
                tracing::debug!(
                    name: "queue.still_unreachable",
                    what = self.what,
                    %error,
                    retry_in = ?pause,
                    "still cannot {}",
                    self.what
                )
            }
            told => {
                let since = told.as_ref().map_or_else(Instant::now, |(since, _)| *since);
                tracing::warn!(
                    name: "queue.unreachable",
                    what = self.what,
                    %error,
                    "cannot {}; trying again, at least every {longest:?}",
                    self.what
                );
                self.told = Some((since, text));
            }
        }
        pause
    }

    /// It works; tells so where it did not before.
    pub(super) fn over(&mut self) {
        self.pause = FIRST_PAUSE;
        if let Some((since, _)) = self.told.take() {
            let what = self.what;
            tracing::info!(name: "queue.reachable", what, after = ?since.elapsed(), "can {what} again");
        }
    }
}
