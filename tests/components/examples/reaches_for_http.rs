//! Sends an HTTP request.
#![cfg(target_arch = "wasm32")]

use wasi::http::outgoing_handler::{OutgoingRequest, handle};
use wasi::http::types::Fields;

test_components::only_run!(|_| {
    let sent = handle(OutgoingRequest::new(Fields::new()), None).is_ok();
    Err(test_components::failure(sent.to_string()))
});
