//! Too much of everything.

use std::hint::black_box;

use test_components::queue::Job;

pub fn compute_for_ever() -> ! {
    let mut number = 0_u64;
    loop {
        number = black_box(number.wrapping_add(1));
    }
}

pub fn allocate_for_ever() -> ! {
    let mut blocks = Vec::new();
    loop {
        blocks.push(black_box(vec![1_u8; 1 << 20]));
    }
}

#[allow(unconditional_recursion, reason = "that is what it is about")]
pub fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    frame.iter().sum::<u64>().wrapping_add(black_box(recurse(depth + 1)))
}

pub fn fetch_for_ever(job: &Job) -> ! {
    let mut images = Vec::new();
    loop {
        images.push(black_box(job.image()));
    }
}

/// Two forged lines, then a flood.
#[allow(clippy::print_stdout, reason = "that is what it is about")]
pub fn print() {
    println!("an honest line\u{1b}[31m with a colour\r2026-01-01T00:00:00Z  INFO a forged line");
    eprintln!("and another\u{7} one \u{202e}backwards");
    for number in 0..20_000 {
        println!("line {number} of a flood");
    }
}
