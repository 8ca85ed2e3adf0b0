//! The host's own backoff, for attempts that the component did not live to decide on. The same formula as the built-in
//! policy's (exponential, full jitter: aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter).

use std::time::Duration;

const BASE: Duration = Duration::from_secs(5);
const CAP: Duration = Duration::from_secs(15 * 60);
/// Not at once, even by the luck of the draw.
const LEAST: Duration = Duration::from_millis(100);

/// The delay after the `attempt`-th charged attempt (from 1).
pub fn charged(attempt: u32, random: u64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(16);
    let window = BASE.saturating_mul(1 << doublings).min(CAP);
    let millis = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(random % millis.max(1)).max(LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_and_stays_within_its_window() {
        for attempt in [0, 1, 2, 8, 9, 40, u32::MAX] {
            for random in [0, 1, u64::MAX / 3, u64::MAX] {
                let delay = charged(attempt, random);
                assert!(delay >= LEAST && delay <= CAP, "{attempt} {random} {delay:?}");
            }
        }
        assert!(charged(1, 4_999) < BASE);
        assert_eq!(charged(9, 899_999), Duration::from_millis(899_999));
    }
}
