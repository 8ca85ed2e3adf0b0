//! The sandbox against components that misbehave. What a bad component does must end in an error with a name, be charged
//! to the job that it was working on, and harm nobody else. The components are in `tests/components`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod attacks;
mod cache;
mod contract;
mod invariant_7;
mod invariant_8;
mod invariant_8_replay;
mod limits;
mod refusals;
mod replay;
mod reproducible;
mod results;
mod support;
mod wasi;
