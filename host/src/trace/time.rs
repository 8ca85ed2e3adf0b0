//! Times as traces write them.

use std::time::{SystemTime, UNIX_EPOCH};

/// A time in UTC to the microsecond, as RFC 3339. Text that sorts by time.
pub fn utc(time: SystemTime) -> String {
    // A clock before 1970 is set wrongly; the name of a trace is no place to complain about it.
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, rest) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:06}Z", since.subsec_micros())
}

/// The same as part of a file's name.
pub(super) fn stamp(time: SystemTime) -> String {
    file_stamp(&utc(time))
}

/// What `utc` gave, without what file names do not take everywhere.
pub(super) fn file_stamp(utc: &str) -> String {
    utc.chars().filter(|c| !matches!(c, '-' | ':')).collect()
}

/// Year, month and day of a day since 1970-01-01. Years are counted from March, so that the leap day is the last of one.
fn civil(days: u64) -> (u64, u64, u64) {
    // 719,468 days from 0000-03-01 to 1970-01-01; 146,097 days in 400 years.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next_year, month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn days_are_what_the_calendar_says() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.000007Z"),
            (951_782_399, "2000-02-28T23:59:59.000007Z"),
            (951_782_400, "2000-02-29T00:00:00.000007Z"),
            (951_868_800, "2000-03-01T00:00:00.000007Z"),
            (1_795_480_305, "2026-11-24T00:31:45.000007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000007Z"),
        ] {
            assert_eq!(utc(UNIX_EPOCH + Duration::new(seconds, 7_000)), expected);
        }
        assert_eq!(stamp(UNIX_EPOCH), "19700101T000000.000000Z");
    }
}
