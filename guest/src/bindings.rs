//! What wit-bindgen makes of `wit/`.

#![allow(
    missing_docs,
    unreachable_pub,
    unsafe_code,
    unsafe_op_in_unsafe_fn,
    clippy::all,
    clippy::restriction,
    reason = "generated: its own rules, not ours"
)]

wit_bindgen::generate!({
    path: "../wit",
    world: "receipt-worker",
    default_bindings_module: "crate::bindings",
});
