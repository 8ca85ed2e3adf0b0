//! What `parse` answers, by the response: mostly what it could find out about the world, as the vendor.
#![allow(unsafe_code, reason = "a random number from the world")]

use std::hint::black_box;
use std::io::Read as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use test_components::exports::parser::ParseError;
use test_components::types::Receipt;
use test_components::{queue, reading, textract};

use crate::excess;

/// Calls of this instance so far.
static CALLS: AtomicU32 = AtomicU32::new(0);

pub fn parse(response: &str) -> Result<Receipt, ParseError> {
    let calls = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
    let found = match response {
        "calls" => calls.to_string(),
        "environment" => {
            format!("{:?} {:?}", std::env::vars().collect::<Vec<_>>(), std::env::args().collect::<Vec<_>>())
        }
        "directory" => format!("{:?}", wasi::cli::environment::initial_cwd()),
        "stdin" => {
            let mut bytes = Vec::new();
            let read = std::io::stdin().read_to_end(&mut bytes);
            format!("{read:?} {bytes:?}")
        }
        "clocks" => clocks(),
        "random" => format!("{:x?}", [wasi::random::random::get_random_u64(), wasi::random::random::get_random_u64()]),
        "terminal" => format!("{}", wasi::cli::terminal_stdout::get_terminal_stdout().is_some()),
        "nan" => nan(),
        "claim" => queue::claim(1).map_or_else(|failure| failure.code, |jobs| format!("{} jobs", jobs.len())),
        "api" => format!("{:?}", textract::preferred_api()),
        "trap" => core::arch::wasm32::unreachable(),
        "loop" => excess::compute_for_ever(),
        "memory" => excess::allocate_for_ever(),
        "stack" => excess::recurse(0).to_string(),
        "sleep" => {
            wasi::clocks::monotonic_clock::subscribe_duration(u64::MAX / 2).block();
            "awake".to_owned()
        }
        _ => return Err(ParseError::NotJson(format!("{} bytes", response.len()))),
    };
    Ok(reading(&found))
}

/// The clocks before and after some work.
fn clocks() -> String {
    let (wall, steady) = (SystemTime::now(), Instant::now());
    for number in 0..3_000_000 {
        black_box(number);
    }
    let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{since:?} {:?} {:?}", wall.elapsed().unwrap_or_default(), steady.elapsed())
}

/// The bits of a NaN that the machine makes; x86 and ARM set another sign.
fn nan() -> String {
    let (zero, one) = (black_box(0.0_f64), black_box(-1.0_f32));
    format!(
        "{:x} {:x} {:x}",
        (zero / black_box(zero)).to_bits(),
        one.sqrt().to_bits(),
        (f64::INFINITY * zero).to_bits()
    )
}
