//! Misbehaves as it is told: in `run` by each receipt's id, up to the first dot (`trap.1`, `ok.2`), in `parse` by the
//! response. So one batch can hold jobs that go wrong beside jobs that go right, and one build serves most tests.
#![cfg(target_arch = "wasm32")]
#![allow(clippy::panic, reason = "some of it is about panics")]

mod excess;
mod parse;
mod run;
mod wild;

struct Component;

use test_components::exports::parser::ParseError;
use test_components::exports::policy::Decision;
use test_components::exports::worker::Summary;
use test_components::exports::{parser, policy, worker};
use test_components::types::{Failure, Receipt};

impl worker::Guest for Component {
    fn run(limit: u32) -> Result<Summary, Failure> {
        run::run(limit)
    }
}

impl parser::Guest for Component {
    fn parse(response_json: String) -> Result<Receipt, ParseError> {
        parse::parse(&response_json)
    }
}

impl policy::Guest for Component {
    fn decide(_: Failure, _: u32, _: u32, _: u64) -> Decision {
        Decision::Abandon
    }
}

test_components::bindings::export!(Component with_types_in test_components::bindings);
