//! Each target over what it begins with, over some that are made from it, and over every input that once broke it: quick,
//! without libFuzzer. `FUZZ_INPUTS` is how many are made for each target (200), always the same.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::panic::catch_unwind;
use std::path::Path;

use fuzz::{TARGETS, Target};

#[test]
fn seeds_hold() {
    for target in &TARGETS {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{} has nothing to begin with", target.name);
        for (number, seed) in seeds.iter().enumerate() {
            assert!(catch_unwind(|| (target.run)(seed)).is_ok(), "{}: seed {number}", target.name);
        }
    }
}

#[test]
fn mutated_seeds_hold() {
    let inputs = std::env::var("FUZZ_INPUTS").map_or(200, |inputs| inputs.parse().unwrap());
    for target in &TARGETS {
        let (seeds, mut random) = ((target.seeds)(), fastrand::Rng::with_seed(1));
        for number in 0..inputs {
            let input = mutated(&seeds, target, &mut random);
            if catch_unwind(|| (target.run)(&input)).is_err() {
                let file = std::env::temp_dir().join(format!("{}-{number}", target.name));
                std::fs::write(&file, &input).unwrap();
                panic!("{}: input {number} breaks it; it is {}", target.name, file.display());
            }
        }
    }
}

/// A seed that was damaged in a few places, as libFuzzer does it.
fn mutated(seeds: &[Vec<u8>], target: &Target, random: &mut fastrand::Rng) -> Vec<u8> {
    let mut input = random.choice(seeds).unwrap().clone();
    for _ in 0..random.usize(1..=4) {
        let (from, to) = (random.usize(0..=input.len()), random.usize(0..=input.len()));
        let range = from.min(to)..from.max(to).min(from.min(to) + 64);
        match random.u8(0..5) {
            0 if from < input.len() => input[from] ^= 1 << random.u8(0..8),
            1 => drop(input.drain(range)),
            2 => drop(input.splice(range, random.choice(target.words).unwrap_or(&"").bytes())),
            3 => {
                let other = random.choice(seeds).unwrap();
                input.splice(from.., other[random.usize(0..=other.len())..].iter().copied());
            }
            _ => {
                let copy = input[range].to_vec();
                input.splice(from..from, copy);
            }
        }
    }
    input.truncate(target.longest);
    input
}

#[test]
fn what_was_mended_stays_mended() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    let mut inputs = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap();
        let target: &Target = fuzz::target(name).unwrap_or_else(|| panic!("there is no target {name}"));
        for input in std::fs::read_dir(&path).unwrap() {
            let input = input.unwrap().path();
            let bytes = std::fs::read(&input).unwrap();
            assert!(catch_unwind(|| (target.run)(&bytes)).is_ok(), "{}", input.display());
            inputs += 1;
        }
    }
    assert!(inputs > 0, "there are no inputs in {}", folder.display());
}
