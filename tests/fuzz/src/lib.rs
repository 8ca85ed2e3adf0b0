//! Fuzz targets: whatever reads bytes from outside, and what must hold for any bytes at all. Not panicking is the least.
//!
//! `make fuzz` runs them under libFuzzer; `cargo test` runs each over its seeds and over every input that once broke it
//! (`regressions/`), without libFuzzer.
//!
//! Test code: what goes wrong here is a finding, so it panics.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(dead_code, reason = "of the worker's modules, only what a target calls is used")]
// `cargo test --lib` builds even a library without tests. The modules below bring the worker's own, which run there.
#![cfg(not(test))]

// The worker's pure modules themselves, and not its library: as a cdylib that one is built under one name whatever it is
// built with, and what is built for fuzzing would take the place of what the other tests link.
#[path = "../../../guest/src/parser/mod.rs"]
mod parser;
#[path = "../../../guest/src/policy.rs"]
mod policy;
#[path = "../../../guest/src/receipt.rs"]
mod receipt;
mod seeds;
mod targets;
#[path = "../../../guest/src/textract/mod.rs"]
mod textract;

/// Something that reads bytes.
pub struct Target {
    /// Its name on the command line, and of its folder in `regressions/`.
    pub name: &'static str,
    /// Feeds it these bytes. Panics where something does not hold that must.
    pub run: fn(&[u8]),
    /// What to begin with: made from the recordings and from what the host itself writes.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Longest input in bytes that is worth trying.
    pub longest: usize,
    /// Words that are worth putting in.
    pub words: &'static [&'static str],
}

/// All of them.
pub const TARGETS: [Target; 9] = [
    targets::response::TARGET,
    targets::document::TARGET,
    targets::policy::TARGET,
    targets::trace::TARGET,
    targets::redaction::TARGET,
    targets::location::TARGET,
    targets::component::TARGET,
    targets::database_url::TARGET,
    targets::flags::TARGET,
];

/// The target of that name.
pub fn target(name: &str) -> Option<&'static Target> {
    const { &TARGETS }.iter().find(|target| target.name == name)
}
