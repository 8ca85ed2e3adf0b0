//! A rate limit shared by all instances of a host: Textract's quotas are per account and second.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// Lets calls through at an even rate, in the order in which they came.
#[derive(Debug)]
pub struct RateLimit {
    interval: Option<Duration>,
    next: Mutex<Instant>,
}

impl RateLimit {
    /// At most `per_second` calls a second; none is no limit.
    pub fn new(per_second: Option<f64>) -> Self {
        let interval =
            per_second.filter(|rate| *rate > 0.0).and_then(|rate| Duration::try_from_secs_f64(1.0 / rate).ok());
        Self { interval, next: Mutex::new(Instant::now()) }
    }

    /// Waits for this call's turn.
    pub async fn turn(&self) {
        let Some(interval) = self.interval else { return };
        let turn = {
            let mut next = self.next.lock().await;
            let turn = (*next).max(Instant::now());
            *next = turn + interval;
            turn
        };
        tokio::time::sleep_until(turn).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn calls_are_spread_evenly() {
        let limit = RateLimit::new(Some(10.0));
        let start = Instant::now();
        for _ in 0..21 {
            limit.turn().await;
        }
        assert_eq!(start.elapsed().as_millis(), 2000);
    }

    #[tokio::test(start_paused = true)]
    async fn no_limit_waits_for_nothing() {
        let limit = RateLimit::new(None);
        let start = Instant::now();
        for _ in 0..1000 {
            limit.turn().await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
