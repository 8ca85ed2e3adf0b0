//! The short form of `make chaos`: the same faults, people and questions, for seconds and with a few hundred receipts. A
//! process of its own, because its Postgres is restarted under it.
#![allow(clippy::print_stdout)]

use std::time::Duration;

use tests::chaos::{self, Settings};

#[tokio::test(flavor = "multi_thread")]
async fn everything_goes_wrong_at_once_and_no_receipt_is_lost() {
    let seed = std::env::var("CHAOS_SEED").ok().and_then(|seed| seed.parse().ok());
    let settings = Settings {
        seed: seed.unwrap_or_else(chaos::random_seed),
        receipts: 400,
        hosts: 3,
        concurrency: 4,
        faults_for: Duration::from_secs(18),
        patience: tests::PATIENCE,
        host: None,
        logs: None,
    };
    println!("to repeat: CHAOS_SEED={} cargo test --package tests --test chaos", settings.seed);
    let report = chaos::run(&settings, |_| {}).await;
    assert!(report.violations.is_empty(), "{report:#?}\n{}", report.violations.join("\n"));
    // Nothing was tested when nothing went wrong.
    let faults = &report.faults;
    assert!(faults.kills > 0 && faults.stops > 0 && faults.bad_guests > 0, "{faults:?}");
    assert!(faults.postgres_restarts + faults.postgres_crashes > 0, "{faults:?}");
    assert!(report.outcomes.done > 0 && !report.outcomes.dead.is_empty() && report.looks > 0, "{report:?}");
}
