//! What happened since somebody asked last, for whoever wants differences and not counters.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Values that are kept of one interval, evenly spread over it. CloudWatch takes no more in one line.
const SAMPLE: usize = 100;

/// Sums and times of an interval.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Interval {
    pub processed: u64,
    /// Given up.
    pub failed: u64,
    pub retried: u64,
    /// Pages that were paid for.
    pub ocr_pages: u64,
    /// OCR calls that succeeded.
    pub ocr: Times,
    /// From the claim of a job to its committed outcome.
    pub jobs: Times,
}

/// Durations, in milliseconds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Times {
    pub count: u64,
    pub sum: f64,
    pub least: f64,
    pub most: f64,
    /// All of them, up to [`SAMPLE`]; then each second, each fourth, …
    pub sample: Vec<f64>,
    halvings: u32,
}

impl Times {
    pub fn add(&mut self, time: Duration) {
        let value = (time.as_secs_f64() * 1e6).round() / 1e3;
        (self.least, self.most) = match self.count {
            0 => (value, value),
            _ => (self.least.min(value), self.most.max(value)),
        };
        if self.count.is_multiple_of(1 << self.halvings) {
            self.sample.push(value);
        }
        self.count += 1;
        self.sum += value;
        if self.sample.len() > SAMPLE {
            self.halvings += 1;
            let mut place = 0;
            self.sample.retain(|_| {
                place += 1;
                place % 2 == 1
            });
        }
    }
}

/// An interval that goes on.
#[derive(Debug, Default)]
pub struct Running(Mutex<Interval>);

impl Running {
    pub fn add(&self, what: impl FnOnce(&mut Interval)) {
        what(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Ends it, and begins the next one.
    pub fn take(&self) -> Interval {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_interval_begins_anew_and_keeps_a_bounded_sample() {
        let running = Running::default();
        for milliseconds in 1..=1000 {
            running.add(|interval| interval.jobs.add(Duration::from_millis(milliseconds)));
        }
        let Times { count, sum, least, most, sample, .. } = running.take().jobs;
        assert_eq!((count, sum, least, most), (1000, 500_500.0, 1.0, 1000.0));
        let each_sixteenth: Vec<f64> = (0..63).map(|n| f64::from(n * 16 + 1)).collect();
        assert_eq!(sample, each_sixteenth);
        assert_eq!(running.take(), Interval::default());
    }
}
