//! The component's exports, as the contract has them.

use crate::bindings::exports::snapceit::receipts as exports;
use crate::bindings::snapceit::receipts::types;
use crate::{parser, policy, run};

struct Component;

#[allow(unsafe_code, unsafe_op_in_unsafe_fn, clippy::all, clippy::restriction, reason = "generated")]
mod exported {
    use super::Component;
    crate::bindings::export!(Component);
}

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
