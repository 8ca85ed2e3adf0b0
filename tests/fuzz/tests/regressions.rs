//! Each target over what it begins with and over every input that once broke it: quick, without libFuzzer.

#![allow(clippy::unwrap_used, clippy::panic)]

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
