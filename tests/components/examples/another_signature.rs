//! The contract's names, with another signature behind one of them: `run` takes 64 bits, and a text.
#![cfg(target_arch = "wasm32")]

/// Generated. Its own rules, not ours.
#[allow(unsafe_code, unsafe_op_in_unsafe_fn, clippy::all, clippy::restriction, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({
        inline: "
            package snapceit:receipts@0.2.0;
            interface worker { run: func(limit: u64, note: string) -> u32; }
            interface parser { parse: func(response-json: string) -> string; }
            interface policy { decide: func(attempt: u32) -> u32; }
            world receipt-worker { export worker; export parser; export policy; }
        ",
    });

    use super::Component;
    export!(Component);
}

struct Component;

impl bindings::exports::snapceit::receipts::worker::Guest for Component {
    fn run(_: u64, note: String) -> u32 {
        u32::try_from(note.len()).unwrap_or(0)
    }
}

impl bindings::exports::snapceit::receipts::parser::Guest for Component {
    fn parse(response_json: String) -> String {
        response_json
    }
}

impl bindings::exports::snapceit::receipts::policy::Guest for Component {
    fn decide(attempt: u32) -> u32 {
        attempt
    }
}
