//! A rate limit shared by all instances of a host: Textract's quotas are per account and second.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

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
        let turn = self.reserve(Instant::now());
        tokio::time::sleep_until(turn.into()).await;
    }

    /// Takes the next free turn at or after `now`.
    fn reserve(&self, now: Instant) -> Instant {
        let Some(interval) = self.interval else { return now };
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = (*next).max(now);
        *next = turn + interval;
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_spread_evenly_and_idle_time_is_not_saved_up() {
        let limit = RateLimit::new(Some(10.0));
        let start = Instant::now() + Duration::from_secs(1);
        let turns: Vec<u128> = (0..4).map(|_| (limit.reserve(start) - start).as_millis()).collect();
        assert_eq!(turns, [0, 100, 200, 300]);
        let later = start + Duration::from_secs(60);
        assert_eq!(limit.reserve(later), later);
        assert_eq!(limit.reserve(later), later + Duration::from_millis(100));
    }

    #[test]
    fn no_limit_waits_for_nothing() {
        let (limit, now) = (RateLimit::new(None), Instant::now());
        assert!((0..1000).all(|_| limit.reserve(now) == now));
    }
}
