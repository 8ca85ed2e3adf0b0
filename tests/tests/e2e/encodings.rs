//! Databases that are not in UTF8.

use std::path::Path;

use host::failure::{Failure, FailureKind};
use host::ocr::local::Reader;
use host::queue::JobOutcome;
use host::queue::components::{self, Change, LedgerEntry};
use tests::{TestDatabase, World, WorldSettings, answer};

use crate::pump::claimed;

async fn world_in(encoding: &str, vendor: &str) -> World {
    let world = World::with(WorldSettings {
        db: Some(TestDatabase::encoded(encoding).await),
        reader: Some(Reader::recorded(answer(vendor, "4.50", "2024-03-15"))),
    })
    .await;
    world.host().arg("migrate").run().await.ok();
    world
}

#[test]
fn what_is_sent_as_a_statement_is_ascii() {
    for folder in ["../migrations", "../host/src/queue/sql"] {
        for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
            let path = file.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let odd = text.lines().zip(1..).find(|(line, _)| !line.is_ascii());
            assert_eq!(odd, None, "{}", path.display());
        }
    }
}

#[tokio::test]
async fn databases_of_any_encoding_are_migrated_and_worked() {
    for encoding in ["LATIN1", "LATIN9", "WIN1252", "SQL_ASCII", "EUC_JP", "UTF8"] {
        let world = world_in(encoding, "Blue Bottle Cafe").await;
        world.host().arg("doctor").run().await.ok();
        world.receipt("a.jpg").await;
        assert_eq!(world.once().await["processed"], 1, "{encoding}");
        world.assert_settled(1).await;
        let rows = world.host().args(["status", "--json"]).run().await.ok();
        assert!(rows.contains("processed"), "{encoding}: {rows}");
    }
}

#[tokio::test]
async fn a_reading_that_the_encoding_cannot_hold_fails_its_receipt_alone_with_the_reason() {
    let world = world_in("LATIN1", "Caf\u{e9} \u{416}\u{443}\u{43a}").await;
    let (receipt, _) = world.receipt("a.jpg").await;
    world.insert("gone.jpg").await;
    world.run(&["--once", "--max-attempts", "1"]).run().await;
    let letters = "SELECT string_agg(s3_key || ': ' || error_message, '; ') FROM receipt_queue_dlq";
    let said = world.text(letters, &[]).await;
    assert!(said.contains("a.jpg") && said.contains("LATIN1"), "{said}");
    assert_eq!(world.status_of(&receipt).await, "ocr_failed");
    // What it can hold, it holds.
    let world = world_in("LATIN1", "Caf\u{e9} Gro\u{df}").await;
    world.receipt("a.jpg").await;
    assert_eq!(world.once().await["processed"], 1);
}

#[tokio::test]
async fn a_failure_in_words_that_the_encoding_cannot_hold_is_settled_without_them() {
    let world = world_in("LATIN1", "Cafe").await;
    world.receipt("a.jpg").await;
    let failure = Failure::new(FailureKind::BadDocument, "test.Odd", "Gro\u{df}: \u{416}\u{2026}");
    let (pump, job) = claimed(&world).await;
    pump.settle(&job, JobOutcome::DeadLetter { failure, notes: "" }, None).await.unwrap();
    assert_eq!(world.text("SELECT error_message FROM receipt_queue_dlq", &[]).await, "Gro\u{df}: ??");
    let client = world.db.database().connect().await.unwrap();
    let entry = LedgerEntry {
        worker: "w".to_owned(),
        change: Change::RolledBack,
        digest: "d".to_owned(),
        previous: None,
        reason: Some("3 of 4 \u{2192} dead".to_owned()),
        source: None,
    };
    components::record(&client, &entry).await.unwrap();
    assert_eq!(world.text("SELECT reason FROM receipt_component_changes", &[]).await, "3 of 4 ? dead");
}
