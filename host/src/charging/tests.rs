//! The table of docs/failures.md says what [`charge`] says, in every case.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;

const PAGE: &str = include_str!("../../../docs/failures.md");
const HEADING: &str = "## Who pays for an attempt";

/// A line of the table: how the attempt ended, the dependencies, the component, the claims, and what it costs before the last
/// attempt and at the last.
type Line = [&'static str; 6];

fn table() -> Vec<Line> {
    let (_, section) = PAGE.split_once(HEADING).unwrap();
    let lines = section.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    lines
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            cells.try_into().unwrap()
        })
        .collect()
}

fn causes() -> Vec<Cause> {
    let mut causes = vec![Cause::Crash, Cause::Unworked, Cause::ResultRefused, Cause::Unwritable, Cause::WorkerLost];
    for kind in FailureKind::ALL {
        causes.extend([true, false].map(|charge| Cause::Retry { kind, charge }));
        causes.push(Cause::GiveUp { kind });
    }
    causes
}

fn circumstances() -> Vec<Circumstances> {
    use ComponentHealth as C;
    use DependencyHealth as D;
    let mut all = Vec::new();
    for (number, granted) in [(1, 5), (4, 5), (5, 5), (6, 5), (1, 1), (1, 0)] {
        for claims in [1, MOST_UNCHARGED_CLAIMS - 1, MOST_UNCHARGED_CLAIMS, u32::MAX] {
            let attempt = Attempt { number, granted, claims };
            let spared = [1, MOST_UNCHARGED_FAILURES, MOST_UNCHARGED_FAILURES + 1, u32::MAX]
                .map(|times| C::FailsOnAll { times });
            for component in spared.into_iter().chain([C::Works, C::Unproven]) {
                for dependencies in [D::Unknown, D::Down, D::WorkForOthers, D::PhotoMayCome] {
                    all.push(Circumstances { attempt, component, dependencies });
                }
            }
        }
    }
    all
}

/// The words of the table for a case.
fn words(cause: Cause, known: &Circumstances) -> [String; 4] {
    let (ended, throttled) = match cause {
        Cause::Retry { kind, charge: true } => ("retry, charged", kind == FailureKind::Throttled),
        Cause::Retry { kind, charge: false } => ("retry, uncharged", kind == FailureKind::Throttled),
        Cause::GiveUp { kind } => ("dead letter", kind == FailureKind::Throttled),
        Cause::Crash => ("crash", false),
        Cause::Unworked => ("unworked", false),
        Cause::ResultRefused => ("result refused", false),
        Cause::Unwritable => ("unwritable", false),
        Cause::WorkerLost => ("worker lost", false),
    };
    let dependencies = match known.dependencies {
        DependencyHealth::Unknown => "unknown",
        DependencyHealth::Down => "down",
        DependencyHealth::WorkForOthers => "work for others",
        DependencyHealth::PhotoMayCome => "photo may come",
    };
    let component = match known.component {
        ComponentHealth::Works => "works".to_owned(),
        ComponentHealth::FailsOnAll { times } if times <= MOST_UNCHARGED_FAILURES => {
            format!("fails on all, {MOST_UNCHARGED_FAILURES} times at most")
        }
        ComponentHealth::FailsOnAll { .. } => "fails on all, more often".to_owned(),
        ComponentHealth::Unproven => "unproven".to_owned(),
    };
    assert_eq!(MOST_UNCHARGED_CLAIMS, 1000);
    let claims = if known.attempt.claims < 1000 || throttled { "under 1,000" } else { "1,000 or more" };
    [ended.to_owned(), dependencies.to_owned(), component, claims.to_owned()]
}

fn fits(cell: &str, word: &str) -> bool {
    cell == "any" || cell.split(" / ").any(|alternative| alternative == word)
}

#[test]
fn the_table_of_the_docs_says_the_same_in_every_case() {
    let table = table();
    let mut used = vec![false; table.len()];
    for cause in causes() {
        for known in circumstances() {
            let words = words(cause, &known);
            let lines: Vec<usize> =
                (0..table.len()).filter(|line| (0..4).all(|cell| fits(table[*line][cell], &words[cell]))).collect();
            assert_eq!(lines.len(), 1, "one line of the table is meant: {words:?}");
            used[lines[0]] = true;
            let said = table[lines[0]][if known.attempt.is_last() { 5 } else { 4 }];
            let costs = match charge(cause, &known) {
                Charge::Charged => "charged",
                Charge::Uncharged => "uncharged",
                Charge::Dead => "dead",
            };
            assert_eq!(costs, said, "{cause:?} {known:?}");
        }
    }
    assert!(used.into_iter().all(|used| used), "a line of the table is about nothing");
}

/// What no table need say: nothing is charged beyond the last attempt.
#[test]
fn no_attempt_is_charged_that_was_not_granted() {
    for cause in causes() {
        for known in circumstances().iter().filter(|known| known.attempt.is_last()) {
            assert_ne!(charge(cause, known), Charge::Charged, "{cause:?} {known:?}");
        }
    }
}

/// Where nothing is known of the world, it is the component's word, its own limits kept.
#[test]
fn the_components_word_stands_where_nothing_is_known() {
    for kind in FailureKind::ALL {
        let known = Circumstances::default();
        assert_eq!(charge(Cause::Retry { kind, charge: true }, &known), Charge::Charged);
        assert_eq!(charge(Cause::Retry { kind, charge: false }, &known), Charge::Uncharged);
        assert_eq!(charge(Cause::GiveUp { kind }, &known), Charge::Dead);
    }
}
