//! What the end-to-end tests stand on: a Postgres cluster a process and a database a test, an S3 and a Textract on
//! loopback, and the `host` binary as a child process. Nothing here pretends: these are the servers of `host dev`.
//!
//! Support code for tests: what goes wrong here is a failed test, so it panics.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod answers;
pub mod candidates;
pub mod chaos;
#[cfg(test)]
mod circles;
mod cluster;
pub mod components;
#[cfg(test)]
mod events;
mod front;
mod log;
mod ministack;
pub mod oracle;
pub mod peers;
mod process;
pub mod supabase;
pub mod wire;
mod world;

use std::time::{Duration, Instant};

pub use answers::{answer, photo_bytes};
pub use cluster::{TestDatabase, scratch};
pub use front::{Front, Refusal};
pub use log::{events, has_event, has_event_with};
pub use ministack::{FunctionProcess, Ministack};
pub use process::{Finished, HostCommand, Running, profile_folder};
pub use world::{ARTIFACTS, Photo, SOURCE, World, WorldSettings, cache_dir};

/// Longer than anything takes on a busy machine; reached only when something is broken.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Asks until the answer is there, and fails with what is missing when it never comes.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "it never came: {what}");
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}
