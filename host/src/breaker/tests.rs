#![allow(clippy::panic)]

use super::*;
use proptest::prelude::*;

const SETTINGS: BreakerSettings =
    BreakerSettings { failures: 3, first: Duration::from_secs(1), longest: Duration::from_secs(60), poison: true };

fn second(number: u64) -> Duration {
    Duration::from_secs(number)
}

fn open(start: Instant) -> Breaker {
    let mut breaker = Breaker::new(SETTINGS);
    for job in 1..=3 {
        breaker.failed(Some(job), "trap", start, 0);
    }
    assert!(matches!(breaker.state(start), BreakerState::Open { .. }));
    breaker
}

#[test]
fn one_job_alone_never_opens_it() {
    let (mut breaker, now) = (Breaker::new(SETTINGS), Instant::now());
    for _ in 0..100 {
        assert!(!breaker.failed(Some(7), "trap", now, 0));
    }
    assert_eq!((breaker.state(now), breaker.failures()), (BreakerState::Closed, 100));
    assert!(!breaker.failed(Some(8), "trap", now, 0));
    assert!(breaker.failed(Some(9), "trap", now, 0));
}

#[test]
fn what_fails_before_it_has_a_job_opens_it() {
    let (mut breaker, now) = (Breaker::new(SETTINGS), Instant::now());
    assert!(!breaker.failed(None, "trap", now, 0) && !breaker.failed(None, "trap", now, 0));
    assert!(breaker.failed(None, "trap", now, 0));
}

#[test]
fn a_job_that_failed_before_another_succeeded_counts_no_more() {
    let (mut breaker, now) = (Breaker::new(SETTINGS), Instant::now());
    for job in 1..=4 {
        breaker.failed(Some(job), "trap", now, 0);
    }
    breaker.succeeded(Some(4), now);
    for job in [1, 2, 3, 1, 2, 3] {
        assert!(!breaker.failed(Some(job), "trap", now, 0) && breaker.is_poisonous(job));
    }
    assert!(!breaker.is_poisonous(4) && breaker.failures() == 0);
    breaker.succeeded(Some(2), now);
    assert!(!breaker.is_poisonous(2));
}

#[test]
fn it_does_not_remember_more_and_more() {
    let (mut breaker, now) = (Breaker::new(SETTINGS), Instant::now());
    for job in 0..10_000 {
        breaker.failed(Some(job), "trap", now, 0);
        if job % 3 == 0 {
            breaker.succeeded(None, now);
        }
    }
    assert_eq!(breaker.poisonous.len(), MOST_POISONOUS);
    assert!(breaker.is_poisonous(9_999) && !breaker.is_poisonous(0));
}

#[test]
fn a_success_in_between_begins_anew() {
    let (mut breaker, now) = (Breaker::new(SETTINGS), Instant::now());
    for job in 0..100 {
        assert!(!breaker.failed(Some(job), "trap", now, 0));
        if job % 2 == 1 {
            assert!(!breaker.succeeded(None, now));
        }
    }
}

#[test]
fn a_probe_that_fails_opens_it_for_longer_and_one_that_succeeds_closes_it() {
    let start = Instant::now();
    let mut breaker = open(start);
    let mut now = start;
    let mut cool_downs = Vec::new();
    for job in 10..20 {
        let BreakerState::Open { until } = breaker.state(now) else { panic!("not open") };
        // What had begun before says nothing new.
        assert!(!breaker.failed(Some(job), "trap", now, 0));
        cool_downs.push(until - now);
        now = until;
        assert_eq!(breaker.state(now), BreakerState::HalfOpen);
        assert!(breaker.failed(Some(job), "trap", now, u64::MAX));
    }
    assert!(cool_downs.is_sorted(), "{cool_downs:?}");
    assert_eq!(breaker.open_for(now), now - start);
    assert!(breaker.succeeded(None, now) && !breaker.succeeded(None, now));
    assert_eq!((breaker.state(now), breaker.failures(), breaker.open_for(now)), (BreakerState::Closed, 0, second(0)));
}

#[test]
fn one_that_opens_again_at_once_goes_on_where_it_was() {
    let start = Instant::now();
    let again_after = |calm: Duration| {
        let mut breaker = open(start);
        breaker.failed(Some(4), "trap", start + second(1), 0);
        breaker.succeeded(None, start + second(4));
        let now = start + second(4) + calm;
        // Others than before: the success has shown those to be poisonous.
        for job in 11..=13 {
            breaker.failed(Some(job), "trap", now, 0);
        }
        let BreakerState::Open { until } = breaker.state(now) else { panic!("not open") };
        until - now
    };
    assert_eq!(again_after(second(0)), second(2));
    assert_eq!(again_after(second(60)), SETTINGS.first / 2);
}

#[test]
fn an_outage_that_comes_back_is_seen_though_the_same_jobs_wait() {
    let mut breaker = Breaker::new(BreakerSettings::SERVICES);
    let now = Instant::now();
    for _ in 0..5 {
        for job in 1..=3 {
            assert_eq!(breaker.failed(Some(job), "gone", now, 0), job == 3);
        }
        assert!(breaker.failures() >= 3 && breaker.succeeded(Some(4), now));
    }
}

#[test]
fn another_component_begins_with_a_closed_one() {
    let mut breaker = open(Instant::now());
    breaker.reset();
    assert_eq!((breaker.state(Instant::now()), breaker.failures(), breaker.why()), (BreakerState::Closed, 0, ""));
}

#[derive(Debug, Clone)]
enum Step {
    Fail(Option<i64>),
    Succeed(Option<i64>),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let job = || prop::option::weighted(0.8, 0..8_i64);
    let step = prop_oneof![
        5 => job().prop_map(Step::Fail),
        1 => job().prop_map(Step::Succeed),
        2 => (0..90_000_u64).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 0..80)
}

proptest! {
    /// Against the whole history: what the rules say of it, without a state machine.
    #[test]
    fn it_keeps_its_rules_in_every_history(steps in steps(), random: u64) {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(SETTINGS);
        let (mut jobs, mut jobless, mut poisonous) = (Vec::new(), 0, BTreeSet::new());
        for step in steps {
            let before = breaker.state(now);
            match step {
                Step::Pass(milliseconds) => now += Duration::from_millis(milliseconds),
                Step::Succeed(job) => {
                    prop_assert_eq!(breaker.succeeded(job, now), before != BreakerState::Closed);
                    poisonous.extend(jobs.drain(..));
                    poisonous.retain(|known| Some(*known) != job);
                    jobless = 0;
                    prop_assert_eq!(breaker.state(now), BreakerState::Closed);
                }
                Step::Fail(job) => {
                    let says_nothing = job.is_some_and(|job| poisonous.contains(&job));
                    match job {
                        _ if says_nothing => {}
                        Some(job) => jobs.push(job),
                        None => jobless += 1,
                    }
                    let changed = breaker.failed(job, "trap", now, random);
                    let after = breaker.state(now);
                    prop_assert_eq!(changed, before != after);
                    prop_assert_eq!(breaker.failures(), jobs.len() + jobless);
                    let opens = match before {
                        BreakerState::Closed => jobs.iter().collect::<BTreeSet<_>>().len() + jobless >= 3,
                        BreakerState::HalfOpen => true,
                        BreakerState::Open { .. } => false,
                    };
                    prop_assert_eq!(changed, opens && !says_nothing);
                }
            }
            if let BreakerState::Open { until } = breaker.state(now) {
                prop_assert!(until > now && until - now <= SETTINGS.longest);
            }
            prop_assert!((0..8).all(|job| breaker.is_poisonous(job) == poisonous.contains(&job)));
        }
    }

    /// What a component that fails on everything costs: probes in an hour, at most one for each of the longest
    /// cool-downs' lower halves and those on the way there.
    #[test]
    fn probes_of_what_never_succeeds_are_few(random: u64) {
        let start = Instant::now();
        let (mut breaker, mut now, mut probes) = (open(start), start, 0);
        while now < start + second(3600) {
            if let BreakerState::Open { until } = breaker.state(now) {
                now = until;
            }
            prop_assert_eq!(breaker.state(now), BreakerState::HalfOpen);
            breaker.failed(Some(probes), "trap", now, random);
            probes += 1;
        }
        prop_assert!((60..=128).contains(&probes), "{} probes", probes);
    }
}
