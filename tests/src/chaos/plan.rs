//! What goes wrong when, decided by the seed before anything runs. Whoever sees the same seed sees the same plan; what it
//! meets (which receipt is in hand when a host dies) is up to the machine.

use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;

/// A fault, and when it begins, from the start of the run.
pub type Timeline<T> = Vec<(Duration, T)>;

/// What happens to a host.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum HostFault {
    /// SIGKILL; started again after a while.
    Kill { down: Duration },
    /// SIGSTOP, for longer than a lease lasts, then SIGCONT.
    Stop { asleep: Duration },
}

/// What happens to Postgres.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum DatabaseFault {
    /// A fast shutdown, then a start.
    Restart { down: Duration },
    /// An immediate shutdown, as of a crash, then a start with recovery.
    Crash { down: Duration },
    /// So many percent of the workers' backends are terminated, again and again.
    Terminate { percent: u8, times: u8 },
}

/// Which component is put in place of the good one, until another good one comes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum BadGuest {
    /// Traps on every receipt, after its OCR was paid for.
    Traps,
    /// Traps on receipts whose id is odd, before OCR.
    TrapsOnSome,
}

/// What a person does to a receipt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Deed {
    Edit,
    Delete,
    ReplaceImage,
    /// A status of the app's own.
    Approve,
    /// Pending again, if it is dead.
    RetryDead,
    /// Pending again, whatever it is.
    ReadAgain,
}

/// A while in which one of the services is much worse than usual.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Storm {
    pub until: Duration,
    /// Whether it is over S3 or over Textract.
    pub over_s3: bool,
}

/// What goes wrong in one run, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// One for each host.
    pub hosts: Vec<Timeline<HostFault>>,
    pub database: Timeline<DatabaseFault>,
    /// And how long the bad one stays.
    pub guests: Timeline<(BadGuest, Duration)>,
    pub storms: Timeline<Storm>,
    /// With the number of a receipt, to be taken modulo those that are there.
    pub people: Timeline<(Deed, u32)>,
    /// For the faults of single requests, one for each host and service.
    pub requests: Vec<[Rng; 2]>,
}

impl Plan {
    /// Faults on `hosts` hosts for a time of `least`, and for up to `times` as long where that is not enough.
    pub fn new(seed: u64, hosts: usize, least: Duration, times: u32, lease: Duration) -> Self {
        let mut rng = Rng::with_seed(seed);
        let length = least * times;
        let millis = |range: Range<u64>| move |rng: &mut Rng| Duration::from_millis(rng.u64(range.clone()));
        // Long runs have time to get going between two faults.
        let pace = if least < Duration::from_secs(60) { 1 } else { 2 };
        let paced = |range: Range<u64>| millis(range.start * pace..range.end * pace);
        let lease = u64::try_from(lease.as_millis()).expect("a lease of seconds");
        let (down, asleep) = (millis(0..2_000), millis(lease * 5 / 4..lease * 5 / 2));

        let hosts_faults = |rng: &mut Rng| {
            let mut deck = Deck::new([0, 1]);
            timeline(rng, length, paced(1_500..8_000), |rng| match deck.draw(rng) {
                0 => with_length(down(rng), |down| HostFault::Kill { down }),
                _ => with_length(asleep(rng), |asleep| HostFault::Stop { asleep }),
            })
        };
        let host_timelines = (0..hosts).map(|_| hosts_faults(&mut rng)).collect();
        let mut deck = Deck::new([0, 1, 2]);
        let database = timeline(&mut rng, length, paced(2_000..7_000), |rng| match deck.draw(rng) {
            0 => with_length(down(rng), |down| DatabaseFault::Restart { down }),
            1 => with_length(down(rng), |down| DatabaseFault::Crash { down }),
            _ => {
                let (percent, times) = (rng.u8(20..=100), rng.u8(1..=10));
                (DatabaseFault::Terminate { percent, times }, Duration::from_millis(100) * times.into())
            }
        });
        let mut deck = Deck::new([BadGuest::Traps, BadGuest::TrapsOnSome]);
        let guests = timeline(&mut rng, length, paced(1_000..4_000), |rng| {
            let stays = paced(3_000..8_000)(rng);
            ((deck.draw(rng), stays), stays)
        });
        let storms = timeline(&mut rng, length, millis(1_000..8_000), |rng| {
            with_length(millis(500..4_000)(rng), |until| Storm { until, over_s3: rng.bool() })
        });
        let storms = storms.into_iter().map(|(at, storm)| (at, Storm { until: at + storm.until, ..storm })).collect();
        let mut deck = Deck::new([
            Deed::Edit,
            Deed::Edit,
            Deed::Delete,
            Deed::ReplaceImage,
            Deed::Approve,
            Deed::RetryDead,
            Deed::ReadAgain,
        ]);
        let people = timeline(&mut rng, length, millis(20..250), |rng| ((deck.draw(rng), rng.u32(..)), Duration::ZERO));
        let requests = (0..hosts).map(|_| [rng.fork(), rng.fork()]).collect();
        Self { hosts: host_timelines, database, guests, storms, people, requests }
    }
}

/// One after the other, with gaps between the end of one and the beginning of the next.
fn timeline<T>(
    rng: &mut Rng,
    length: Duration,
    gap: impl Fn(&mut Rng) -> Duration,
    mut next: impl FnMut(&mut Rng) -> (T, Duration),
) -> Timeline<T> {
    let mut at = gap(rng);
    let mut faults = Vec::new();
    while at < length {
        let (fault, lasts) = next(rng);
        faults.push((at, fault));
        at += lasts + gap(rng);
    }
    faults
}

fn with_length<T>(length: Duration, fault: impl FnOnce(Duration) -> T) -> (T, Duration) {
    (fault(length), length)
}

/// Draws without putting back, so that a short run sees every kind too.
struct Deck<T, const N: usize> {
    all: [T; N],
    left: Vec<T>,
}

impl<T: Copy, const N: usize> Deck<T, N> {
    fn new(all: [T; N]) -> Self {
        Self { all, left: Vec::new() }
    }

    fn draw(&mut self, rng: &mut Rng) -> T {
        if self.left.is_empty() {
            self.left = self.all.to_vec();
            rng.shuffle(&mut self.left);
        }
        self.left.pop().expect("a deck has cards")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_plan() {
        let plan = |seed| Plan::new(seed, 3, Duration::from_secs(60), 1, Duration::from_secs(2));
        assert_eq!(plan(7), plan(7));
        assert_ne!(plan(7), plan(8));
    }

    /// What the short form asks for has to be in its plan: it may be over as soon as its least time is.
    #[test]
    fn a_short_plan_has_every_kind_of_fault() {
        let least = Duration::from_secs(18);
        for seed in 0..2_000 {
            let plan = Plan::new(seed, 3, least, super::super::LONGEST, super::super::LEASE);
            let in_time = |at: &Duration| *at < least - Duration::from_secs(1);
            let faults: Vec<_> = plan.hosts.iter().flatten().filter(|(at, _)| in_time(at)).collect();
            assert!(faults.iter().any(|(_, fault)| matches!(fault, HostFault::Kill { .. })), "{seed}");
            assert!(faults.iter().any(|(_, fault)| matches!(fault, HostFault::Stop { .. })), "{seed}");
            let mut database = plan.database.iter().filter(|(at, _)| in_time(at));
            assert!(database.any(|(_, fault)| !matches!(fault, DatabaseFault::Terminate { .. })), "{seed}");
            assert!(plan.guests.iter().any(|(at, _)| in_time(at)) && !plan.storms.is_empty(), "{seed}");
        }
    }
}
