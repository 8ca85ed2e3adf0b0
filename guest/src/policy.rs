//! What becomes of a failed attempt. Pure: the seed is the only source of jitter.
//!
//! | kind | decision |
//! |---|---|
//! | not-found, unsupported-document, document-too-large, bad-document, bad-location, invalid-request, bad-response | dead letter at once |
//! | throttled, unavailable | retry, uncharged: the receipt is not to blame |
//! | access-denied, timed-out, limit-exceeded, internal | retry, charged, until the attempts are used up |
//! | lease-lost | leave it alone |
//!
//! The delay is exponential backoff with full jitter: uniform between [`FLOOR`] and a window that doubles with each
//! attempt up to [`CAP`]. An uncharged retry does not raise the attempt number, so its window cannot grow by itself; it
//! starts wider instead ([`UNCHARGED_BASE`]).

/// A first charged retry waits at most this many milliseconds.
pub const BASE: u64 = 5_000;
/// A first uncharged retry waits at most this many milliseconds.
pub const UNCHARGED_BASE: u64 = 30_000;
/// No retry waits longer, in milliseconds.
pub const CAP: u64 = 15 * 60 * 1_000;
/// No retry comes sooner, in milliseconds: full jitter may draw 0, and a receipt that fails at once would then be worked
/// in a hot loop.
pub const FLOOR: u64 = 100;

include!("../../wit/failure_kinds.rs");

macro_rules! kind_type {
    ($($kind:ident = $name:literal,)*) => {
        /// What kind of thing went wrong, as the host classified it. Documented in `wit/types.wit`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the contract documents them")]
        pub enum FailureKind {
            $($kind,)*
        }

        impl FailureKind {
            /// All of them, in the contract's order.
            pub const ALL: [Self; [$($name,)*].len()] = [$(Self::$kind,)*];
        }
    };
}

failure_kinds!(kind_type);

/// What to do with a job whose attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Try again later.
    Retry {
        /// Delay in milliseconds, [`FLOOR`] to [`CAP`].
        milliseconds: u64,
        /// Whether the attempt counts towards the job's limit.
        charge: bool,
    },
    /// Give up.
    DeadLetter,
    /// The job is someone else's now: touch nothing.
    Abandon,
}

/// Decides what becomes of a job whose attempt number `attempt` (from 1) failed.
pub fn decide(kind: FailureKind, attempt: u32, max_attempts: u32, seed: u64) -> Decision {
    use FailureKind as K;
    match kind {
        K::LeaseLost => Decision::Abandon,
        K::NotFound
        | K::UnsupportedDocument
        | K::DocumentTooLarge
        | K::BadDocument
        | K::BadLocation
        | K::InvalidRequest
        | K::BadResponse => Decision::DeadLetter,
        K::Throttled | K::Unavailable => {
            Decision::Retry { milliseconds: uniform(FLOOR, window(UNCHARGED_BASE, attempt), seed), charge: false }
        }
        K::AccessDenied | K::TimedOut | K::LimitExceeded | K::Internal if attempt < max_attempts => {
            Decision::Retry { milliseconds: uniform(FLOOR, window(BASE, attempt), seed), charge: true }
        }
        K::AccessDenied | K::TimedOut | K::LimitExceeded | K::Internal => Decision::DeadLetter,
    }
}

/// Decides like [`decide`] where the attempt has paid for OCR and could not keep the answer, so that the next attempt
/// pays again. An uncharged retry may then be repeated for as long as the outage lasts: it waits in the upper half of
/// [`CAP`], which bounds the bill, rather than being charged for what is not the receipt's fault.
pub fn decide_after_paying(kind: FailureKind, attempt: u32, max_attempts: u32, seed: u64) -> Decision {
    match decide(kind, attempt, max_attempts, seed) {
        Decision::Retry { charge: false, .. } => {
            Decision::Retry { milliseconds: uniform(CAP / 2, CAP, seed), charge: false }
        }
        decision => decision,
    }
}

/// The longest delay of this attempt.
fn window(base: u64, attempt: u32) -> u64 {
    let doublings = attempt.saturating_sub(1);
    // 2^20 × 5 s is far above the cap, and more would overflow.
    base.saturating_mul(1 << doublings.min(20)).min(CAP)
}

/// A number in `low..=high`. Multiplying and shifting is biased by less than 2^-40 for spans this small.
fn uniform(low: u64, high: u64, seed: u64) -> u64 {
    let span = u128::from(high - low + 1);
    low + ((u128::from(mix(seed)) * span) >> 64) as u64
}

/// SplitMix64's finaliser, so that consecutive seeds give unrelated delays.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use FailureKind as K;
    use proptest::prelude::*;

    const PERMANENT: [K; 7] = [
        K::NotFound,
        K::UnsupportedDocument,
        K::DocumentTooLarge,
        K::BadDocument,
        K::BadLocation,
        K::InvalidRequest,
        K::BadResponse,
    ];
    const NOT_ITS_FAULT: [K; 2] = [K::Throttled, K::Unavailable];
    const CHARGED: [K; 4] = [K::AccessDenied, K::TimedOut, K::LimitExceeded, K::Internal];

    fn any_kind() -> impl Strategy<Value = K> {
        prop::sample::select(&K::ALL)
    }

    #[test]
    fn permanent_failures_are_dead_at_once() {
        for kind in PERMANENT {
            assert_eq!(decide(kind, 1, 5, 7), Decision::DeadLetter);
        }
    }

    #[test]
    fn what_is_not_the_receipts_fault_is_never_charged_nor_dead() {
        for kind in NOT_ITS_FAULT {
            for attempt in [0, 1, 5, 6, u32::MAX] {
                assert!(matches!(decide(kind, attempt, 5, 7), Decision::Retry { charge: false, .. }));
            }
        }
    }

    #[test]
    fn charged_retries_end_with_the_attempts() {
        for kind in CHARGED {
            assert!(matches!(decide(kind, 4, 5, 7), Decision::Retry { charge: true, .. }));
            for (attempt, max) in [(5, 5), (6, 5), (1, 0), (0, 0)] {
                assert_eq!(decide(kind, attempt, max, 7), Decision::DeadLetter);
            }
        }
    }

    #[test]
    fn a_lost_lease_is_left_alone() {
        assert_eq!(decide(K::LeaseLost, 1, 5, 7), Decision::Abandon);
    }

    #[test]
    fn delays_fill_their_window() {
        let delays: Vec<u64> = (0..10_000)
            .map(|seed| match decide(K::Internal, 3, 5, seed) {
                Decision::Retry { milliseconds, .. } => milliseconds,
                other => panic!("{other:?}"),
            })
            .collect();
        let mean = delays.iter().sum::<u64>() / 10_000;
        assert!((9_800..10_300).contains(&mean), "mean of 100..=20000 is 10050, not {mean}");
        assert!(delays.iter().min() < Some(&120) && delays.iter().max() > Some(&19_950));
    }

    #[test]
    fn an_outage_after_paying_waits_long() {
        for seed in 0..100 {
            let Decision::Retry { milliseconds, charge } = decide_after_paying(K::Unavailable, 1, 5, seed) else {
                panic!("not retried")
            };
            assert!(!charge && (CAP / 2..=CAP).contains(&milliseconds));
        }
        assert_eq!(decide_after_paying(K::LeaseLost, 1, 5, 7), Decision::Abandon);
    }

    macro_rules! named {
        ($($kind:ident = $name:literal,)*) => {
            const NAMED: [(K, &str); K::ALL.len()] = [$((K::$kind, $name),)*];
        };
    }

    failure_kinds!(named);

    /// The first table of docs/failures.md, by the words that each row begins with.
    #[test]
    fn the_documentation_says_the_same_of_each_kind() {
        let page = include_str!("../../docs/failures.md");
        let rows = page.lines().skip_while(|line| !line.starts_with("| kind | what becomes")).skip(2);
        let mut seen = 0;
        for row in rows.take_while(|line| line.starts_with('|')) {
            let (kinds, becomes) = row.trim_matches('|').split_once('|').unwrap();
            let names: Vec<&str> = kinds.split('`').skip(1).step_by(2).collect();
            for (kind, _) in NAMED.into_iter().filter(|(_, name)| names.contains(name)) {
                seen += 1;
                let (first, last) = (decide(kind, 1, 5, 7), decide(kind, 5, 5, 7));
                let agrees = match becomes.trim() {
                    text if text.starts_with("tried again after a while, uncharged") => {
                        matches!(
                            (first, last),
                            (Decision::Retry { charge: false, .. }, Decision::Retry { charge: false, .. })
                        )
                    }
                    text if text.starts_with("tried again with exponential backoff") => {
                        matches!((first, last), (Decision::Retry { charge: true, .. }, Decision::DeadLetter))
                    }
                    text if text.starts_with("a dead letter at once") => first == Decision::DeadLetter,
                    text if text.starts_with("nothing") => first == Decision::Abandon,
                    text => panic!("what is that: {text}"),
                };
                assert!(agrees, "{kind:?}: {row}");
            }
        }
        assert_eq!(seen, K::ALL.len());
    }

    proptest! {
        #[test]
        fn delays_stay_within_floor_and_window(kind in any_kind(), attempt: u32, max: u32, seed: u64) {
            if let Decision::Retry { milliseconds, charge } = decide(kind, attempt, max, seed) {
                let base = if charge { BASE } else { UNCHARGED_BASE };
                let factor = 2_u128.pow(attempt.saturating_sub(1).min(64));
                let window = (u128::from(base) * factor).min(u128::from(CAP));
                prop_assert!(milliseconds >= FLOOR && u128::from(milliseconds) <= window);
            }
        }

        #[test]
        fn decisions_depend_on_nothing_else(kind in any_kind(), attempt: u32, max: u32, seed: u64) {
            prop_assert_eq!(decide(kind, attempt, max, seed), decide(kind, attempt, max, seed));
        }
    }
}
