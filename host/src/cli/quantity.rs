//! Times and sizes as people write them.

use std::time::Duration;

/// Reads `250ms`, `30s`, `1.5m`, `2h`, `7d`; a bare number is seconds. And what humantime reads: `1m30s`, `30sec`, `2 hours`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if text.starts_with('-') {
        return Err(format!("{text:?} is out of range; it must be more than zero"));
    }
    let (number, unit) = split(text);
    let seconds = number.parse::<f64>().ok().and_then(|number| match unit {
        "ms" => Some(number / 1000.0),
        "s" | "" => Some(number),
        "m" => Some(number * 60.0),
        "h" => Some(number * 3600.0),
        "d" => Some(number * 86_400.0),
        _ => None,
    });
    let read = match seconds {
        Some(seconds) => Duration::try_from_secs_f64(seconds).map_err(|_| false),
        // Its M are months, which nobody means here.
        None if text.contains('M') => Err(true),
        None => humantime::parse_duration(text).map_err(|_| true),
    };
    match read {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        Ok(_) | Err(false) => Err(format!("{text:?} is out of range; it must be more than zero")),
        Err(true) => Err(format!("{text:?} is no time; write 250ms, 30s, 1m30s, 15min, 2h or 7d")),
    }
}

/// Reads `512KiB`, `64MiB`, `1.5GiB`, `1Gi`, `10MB`; a bare number is bytes. K, M, G and T alone are binary.
pub fn size(text: &str) -> Result<usize, String> {
    let text = text.trim();
    let (number, unit) = split(text);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "ki" | "kib" => 1 << 10,
        "kb" => 1_000,
        "m" | "mi" | "mib" => 1 << 20,
        "mb" => 1_000_000,
        "g" | "gi" | "gib" => 1 << 30,
        "gb" => 1_000_000_000,
        "t" | "ti" | "tib" => 1 << 40,
        "tb" => 1_000_000_000_000,
        _ if number.is_empty() => return Err(no_size(text)),
        _ => return Err(format!("{text:?}: unknown unit {unit:?}; use KiB, MiB or GiB")),
    };
    let bytes = match number.parse::<u64>() {
        Ok(number) => number.checked_mul(factor),
        Err(_) => Some(fraction(number, factor).ok_or_else(|| no_size(text))?),
    };
    match bytes.and_then(|bytes| usize::try_from(bytes).ok()) {
        Some(bytes) if bytes > 0 => Ok(bytes),
        _ => Err(format!("{text:?} is out of range")),
    }
}

/// `1.5` of it, in whole bytes; digits and one point, nothing else that a float may be.
fn fraction(number: &str, factor: u64) -> Option<u64> {
    let (whole, part) = number.split_once('.')?;
    let digits = |text: &str| !text.is_empty() && text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || factor == 1 {
        return None;
    }
    let (whole, part_of) = (whole.parse::<u128>().ok()?, part.parse::<u128>().ok()?);
    let tens = 10_u128.pow(u32::try_from(part.len()).ok()?);
    u64::try_from(whole * u128::from(factor) + part_of * u128::from(factor) / tens).ok()
}

fn no_size(text: &str) -> String {
    format!("{text:?} is no size; write 512KiB, 64MiB, 1.5GiB or 10MB")
}

fn split(text: &str) -> (&str, &str) {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()));
    (number.trim(), unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, milliseconds) in [
            // As ever.
            ("250ms", 250),
            ("30s", 30_000),
            ("15m", 900_000),
            ("1.5m", 90_000),
            ("2h", 7_200_000),
            ("7d", 604_800_000),
            ("7", 7_000),
            ("0.5", 500),
            (" 5 s ", 5_000),
            // And as elsewhere.
            ("1m30s", 90_000),
            ("1h 30m", 5_400_000),
            ("30sec", 30_000),
            ("2min", 120_000),
            ("1day", 86_400_000),
            ("1w", 604_800_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in [
            "",
            "0",
            "0s",
            "-1s",
            "-5s",
            "- 5s",
            "soon",
            "5 parsecs",
            "inf",
            "nan",
            "1e300h",
            "1M",
            "1m-30s",
            "m",
            "0m0s",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            // As ever.
            ("1", 1),
            ("512KiB", 512 << 10),
            ("64MiB", 64 << 20),
            ("1g", 1 << 30),
            ("10mb", 10_000_000),
            ("2K", 2 << 10),
            ("1 GB", 1_000_000_000),
            // And as elsewhere.
            ("1Gi", 1 << 30),
            ("512Mi", 512 << 20),
            ("1.5GiB", 3 << 29),
            ("0.5M", 1 << 19),
            ("1.5kB", 1_500),
            ("1Ti", 1 << 40),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "0",
            "-1",
            "1.5",
            "1.GiB",
            ".5GiB",
            "1e3MiB",
            "infMiB",
            "99999999999999999999",
            "99999999999GiB",
            "1ZiB",
            "MiB",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
