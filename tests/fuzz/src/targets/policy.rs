//! What becomes of a failure: any kind, attempt, limit and seed.

use crate::Target;
use crate::policy::{CAP, Decision, FLOOR, FailureKind as K, decide, decide_after_paying};

pub const TARGET: Target = Target {
    name: "policy",
    run,
    seeds: || {
        (0..K::ALL.len() as u8)
            .map(|kind| [&[kind][..], &[1, 0, 0, 0, 5, 0, 0, 0, 7, 7, 7, 7, 7, 7, 7, 7]].concat())
            .collect()
    },
    longest: 17,
    words: &["\u{0}\u{0}\u{0}\u{0}", "\u{1}\u{0}\u{0}\u{0}"],
};

fn run(data: &[u8]) {
    let Some((&[kind, a, b, c, d, e, f, g, h], seed)) = data.split_first_chunk() else { return };
    let Some(&seed) = seed.first_chunk() else { return };
    let kind = K::ALL[usize::from(kind) % K::ALL.len()];
    let (attempt, most) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
    let seed = u64::from_le_bytes(seed);
    for decide in [decide, decide_after_paying] {
        let decision = decide(kind, attempt, most, seed);
        assert_eq!(decision, decide(kind, attempt, most, seed), "another decision on the same");
        let Decision::Retry { milliseconds, charge } = decision else { continue };
        assert!((FLOOR..=CAP).contains(&milliseconds), "{milliseconds} ms");
        assert!(!charge || attempt < most, "attempt {attempt} of {most} is followed by another one");
        assert!(!charge || !matches!(kind, K::Throttled | K::Unavailable), "{kind:?} is charged");
    }
}
