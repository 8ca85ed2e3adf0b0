//! The logic that decides: what to do with a claimed receipt, how to read its OCR response, and what becomes of a failure.
//!
//! Built for `wasm32-wasip2` this is `worker.wasm`, the component that the host runs ([`wit/worker.wit`] is its contract).
//! Everything that decides is pure and plain Rust, without the contract's generated types, and so also builds natively,
//! where it is tested and benched:
//!
//! - [`parser`]: an OCR response's JSON → [`receipt::Receipt`]
//! - [`textract`]: the JSON itself, as Textract really writes it
//! - [`policy`]: a failure → retry, give up or leave alone
//!
//! Nothing here may read a clock, draw a random number (which rules out `HashMap`) or touch a file: the sandbox refuses a
//! component that imports such things, and a replayed run must come out the same byte for byte.
//!
//! [`wit/worker.wit`]: https://github.com/snapceit/receipt-worker/blob/main/wit/worker.wit

#![deny(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

#[cfg(target_arch = "wasm32")]
mod bindings;
#[cfg(target_arch = "wasm32")]
mod component;
#[cfg(target_arch = "wasm32")]
mod convert;
#[cfg(target_arch = "wasm32")]
mod run;

pub mod parser;
pub mod policy;
pub mod receipt;
pub mod textract;
