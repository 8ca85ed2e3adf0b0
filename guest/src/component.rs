//! The component's face: the contract's generated bindings, and what it exports.

use crate::{parser, policy, run};

/// Generated from `wit/`. Its own rules, not ours.
#[allow(
    missing_docs,
    unreachable_pub,
    unsafe_code,
    unsafe_op_in_unsafe_fn,
    clippy::all,
    clippy::restriction,
    reason = "generated"
)]
pub(crate) mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "receipt-worker",
    });

    use super::Component;
    export!(Component);
}

pub(crate) use bindings::exports::snapceit::receipts as exports;
pub(crate) use bindings::snapceit::receipts::types;

pub(crate) struct Component;

impl exports::worker::Guest for Component {
    fn run(limit: u32) -> Result<exports::worker::Summary, types::Failure> {
        run::run(limit)
    }
}

impl exports::parser::Guest for Component {
    fn parse(response_json: String) -> Result<types::Receipt, exports::parser::ParseError> {
        parser::parse(&response_json).map(Into::into).map_err(Into::into)
    }
}

impl exports::policy::Guest for Component {
    fn decide(failure: types::Failure, attempt: u32, max_attempts: u32, seed: u64) -> exports::policy::Decision {
        policy::decide(failure.kind.into(), attempt, max_attempts, seed).into()
    }
}
