//! What poisons, overloads or fails for everything, end to end: receipts that break the component, a component that breaks on
//! every receipt, Postgres, S3 and Textract that are gone for a while, and more photos than there is memory for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::print_stdout, reason = "figures, for whoever asks with --nocapture")]

mod breaker;
mod gate;
mod memory;
mod objects;
mod poison;
mod postgres;
mod services;
mod storing;

use std::time::Duration;

use tests::World;

/// How long an outage lasts; a minute and more where somebody asks for it: OUTAGE_SECONDS=60.
fn outage() -> Duration {
    let asked = std::env::var("OUTAGE_SECONDS").ok().map(|seconds| seconds.parse().unwrap());
    Duration::from_secs(asked.unwrap_or(5))
}

/// Leases given so far: every claim of a receipt takes a token.
async fn claims(world: &World) -> i64 {
    world.text("SELECT last_value::text FROM receipt_queue_token", &[]).await.parse().unwrap()
}

/// Attempts that were charged to receipts that wait, are done, or are dead, as their histories tell.
async fn charged(world: &World) -> i64 {
    let sql = "(
        SELECT jsonb_array_elements(history) AS attempt FROM receipt_queue
        UNION ALL SELECT jsonb_array_elements(history) FROM receipt_queue_dlq
    ) AS h WHERE attempt ->> 'outcome' IN ('retry', 'dead-letter')";
    world.count(sql).await
}
