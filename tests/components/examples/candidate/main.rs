//! A candidate for a swap: the real parser and policy, and the real worker's calls in their order, but for one thing that
//! the marker in its data names. Tests write the marker into the built file, so that one build serves all of them.
#![cfg(target_arch = "wasm32")]
#![allow(dead_code, reason = "of the real modules, only what a component calls is used")]

#[path = "../../../../guest/src/convert.rs"]
mod convert;
#[path = "../../../../guest/src/parser/mod.rs"]
mod parser;
#[path = "../../../../guest/src/policy.rs"]
mod policy;
#[path = "../../../../guest/src/receipt.rs"]
mod receipt;
mod run;
#[path = "../../../../guest/src/textract/mod.rs"]
mod textract;

/// Where the real worker has its bindings.
mod bindings {
    pub use test_components::bindings::{exports, snapceit};
}

use std::hint::black_box;

use test_components::exports::parser::ParseError;
use test_components::exports::policy::Decision;
use test_components::exports::worker::Summary;
use test_components::types::{Failure, Receipt};

/// `honest`, `traps`, `traps-on-some`, `loops`, `eats-memory`, `slow`, `gives-up`, `loses-total`, `shouts`, `idles`,
/// `puts-back`, `buries` or `poisoned`, and zeros behind it.
static MARKER: [u8; 26] = *b"BEHAVIOUR:honest\0\0\0\0\0\0\0\0\0\0";

/// How many times as much a slow one works.
const SLOWER: u32 = 10;

struct Component;

impl test_components::exports::worker::Guest for Component {
    fn run(limit: u32) -> Result<Summary, Failure> {
        run::run(limit)
    }
}

impl test_components::exports::parser::Guest for Component {
    fn parse(response_json: String) -> Result<Receipt, ParseError> {
        parse(&response_json).map(Into::into).map_err(Into::into)
    }
}

impl test_components::exports::policy::Guest for Component {
    fn decide(failure: Failure, attempt: u32, max_attempts: u32, seed: u64) -> Decision {
        policy::decide(failure.kind.into(), attempt, max_attempts, seed).into()
    }
}

test_components::bindings::export!(Component with_types_in test_components::bindings);

fn behaves(name: &str) -> bool {
    // Read at run time: the compiler must not know what it says.
    let marker = black_box(&MARKER);
    marker.strip_prefix(b"BEHAVIOUR:").and_then(|rest| rest.split(|byte| *byte == 0).next()) == Some(name.as_bytes())
}

/// The real parser, after what was ordered.
fn parse(json: &str) -> Result<receipt::Receipt, textract::ReadError> {
    // Blocks hold each word by itself, too; what is looked for is the line.
    let poison = |kind: &str| behaves("poisoned") && json.contains(kind);
    if behaves("traps") || poison("POISON TRAP") {
        core::arch::wasm32::unreachable();
    }
    let mut number = 0_u64;
    let loops = behaves("loops") || poison("POISON LOOP");
    while black_box(loops) {
        number = black_box(number.wrapping_add(1));
    }
    let mut blocks = Vec::new();
    let eats_memory = behaves("eats-memory") || poison("POISON MEMORY");
    while black_box(eats_memory) {
        blocks.push(black_box(vec![1_u8; 1 << 20]));
    }
    if behaves("slow") {
        for _ in 1..SLOWER {
            let _ = black_box(parser::parse(black_box(json)));
        }
    }
    if behaves("gives-up") {
        return Err(textract::ReadError::NotTextract("as ordered".to_owned()));
    }
    let mut read = parser::parse(json)?;
    if behaves("loses-total") {
        read.total = None;
    }
    if behaves("shouts")
        && let Some(vendor) = &mut read.vendor
    {
        vendor.value = vendor.value.to_uppercase();
    }
    Ok(read)
}
