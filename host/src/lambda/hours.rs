//! How the time of an invocation is divided.

use std::time::{Duration, SystemTime};

/// What is kept at the very end to give back what was not done.
const GIVE_BACK: Duration = Duration::from_secs(2);

/// How the time of one invocation is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hours {
    /// How long receipts are begun; none where nobody knows of an end.
    pub(super) begin: Option<Duration>,
    /// How long those that were begun may then take to end; none where nobody knows.
    pub(super) end: Option<Duration>,
}

impl Hours {
    /// `deadline`: milliseconds since 1970, as Lambda says it. One that is over says nothing: the clock was set, or the function
    /// was stopped on the way. `spare` is kept of the time for ending, but never more than half of it.
    pub(super) fn of(deadline: u64, now: SystemTime, spare: Duration, linger: Option<Duration>) -> Self {
        let deadline = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(deadline));
        let left = deadline.and_then(|deadline| deadline.duration_since(now).ok()).filter(|left| !left.is_zero());
        let Some(left) = left else { return Self { begin: linger, end: None } };
        let latest = left.saturating_sub(spare.min(left / 2));
        let begin = linger.map_or(latest, |linger| linger.min(latest));
        let rest = left.saturating_sub(begin);
        Self { begin: Some(begin), end: Some(rest.saturating_sub(GIVE_BACK.min(rest / 2))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPARE: Duration = Duration::from_secs(10);

    fn hours(left: i64, linger: Option<u64>) -> (Option<u64>, Option<u64>) {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let deadline = 1_700_000_000_000_u64.saturating_add_signed(left * 1000);
        let hours = Hours::of(deadline, now, SPARE, linger.map(Duration::from_secs));
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs());
        (seconds(hours.begin), seconds(hours.end))
    }

    #[test]
    fn the_end_of_an_invocation_is_kept_for_ending() {
        assert_eq!(hours(300, None), (Some(290), Some(8)));
        assert_eq!(hours(60, Some(50)), (Some(50), Some(8)));
        assert_eq!(hours(300, Some(50)), (Some(50), Some(248)));
        // No more than half of it.
        assert_eq!(hours(10, None), (Some(5), Some(3)));
        assert_eq!(hours(2, Some(50)), (Some(1), Some(0)));
    }

    #[test]
    fn a_deadline_in_the_past_is_none() {
        assert_eq!(hours(0, None), (None, None));
        assert_eq!(hours(-3600, None), (None, None));
        assert_eq!(hours(-1, Some(50)), (Some(50), None));
        let now = SystemTime::now();
        assert_eq!(Hours::of(0, now, SPARE, None), Hours { begin: None, end: None });
        assert!(Hours::of(u64::MAX, now, SPARE, None).begin.is_some_and(|begin| begin > SPARE));
    }
}
