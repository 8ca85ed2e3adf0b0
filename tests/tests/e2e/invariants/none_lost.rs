//! 1. A receipt that was inserted ends `ocr_done` or in the dead letters, in every interleaving of crashes.

use std::time::Duration;

use host::ocr::local::Fault;
use host::queue::PumpSettings;
use tests::{World, eventually};

use crate::pump::{self, HOUR, claimed, complete, dead_letter};

#[tokio::test]
async fn invariant_1_killed_hosts_lose_no_receipt() {
    let world = World::new().await;
    world.textract.faults().always(Fault::Delay(Duration::from_millis(60)));
    world.receipts(24).await;
    for number in 0..3 {
        world.insert(&format!("nowhere-{number}.jpg")).await;
    }
    for _ in 0..3 {
        let before = world.textract.requests();
        let host = world.run(&["--lease", "1s", "--every", "100ms", "--concurrency", "3"]).spawn();
        eventually("some calls", async || (world.textract.requests() >= before + 4).then_some(())).await;
        host.kill().await;
    }
    let host = world.run(&["--lease", "1s", "--every", "100ms", "--concurrency", "3", "--max-attempts", "50"]).spawn();
    eventually("an empty queue", async || (world.count("receipt_queue WHERE NOT processed").await == 0).then_some(()))
        .await;
    host.stop().await.ok();
    world.assert_settled(27).await;
    assert_eq!(world.count("receipt_queue_dlq").await, 3);
    assert_eq!(world.count("receipts WHERE status = 'ocr_done'").await, 24);
}

#[tokio::test]
async fn invariant_1_a_crash_in_the_last_attempt_is_a_dead_letter() {
    let world = World::new().await;
    world.textract.faults().always(Fault::Delay(HOUR));
    let (receipt, _) = world.receipt("a.jpg").await;
    let host = world.run(&["--lease", "1s", "--max-attempts", "1"]).spawn();
    eventually("the call", async || (world.textract.requests() == 1).then_some(())).await;
    host.kill().await;
    world.textract.faults().clear();
    let host = world.run(&["--lease", "1s", "--every", "100ms", "--max-attempts", "1"]).spawn();
    world.becomes(&receipt, "ocr_failed").await;
    host.stop().await.ok();
    world.assert_settled(1).await;
    let dead = "SELECT concat_ws('|', attempts, error_code, notes) FROM receipt_queue_dlq";
    assert_eq!(world.text(dead, &[]).await, "1|queue.AttemptsExhausted|max attempts exceeded");
    assert!(world.text("SELECT error_message FROM receipt_queue_dlq", &[]).await.contains("worker was lost"));
}

#[tokio::test]
async fn invariant_1_a_receipt_that_a_person_finished_is_not_dead_as_well() {
    let world = World::new().await;
    let receipt = world.insert("a.jpg").await;
    let (pump, job) = claimed(&world).await;
    world.execute("UPDATE receipts SET status = 'ocr_done', vendor_text = 'by hand'").await;
    pump.settle(&job, dead_letter(), None).await.unwrap();
    assert_eq!(world.status_of(&receipt).await, "ocr_done");
    assert_eq!(world.count("receipt_queue_dlq").await, 0);
    assert_eq!(world.count("receipt_queue WHERE NOT processed").await, 0);
}

/// A lease of its own that ran out while the database was held up is no crash: the worker is alive and knows it.
#[tokio::test]
async fn invariant_1_a_host_does_not_bury_what_it_is_working() {
    let world = World::new().await;
    world.insert("a.jpg").await;
    let often = PumpSettings { max_attempts: 1, every: Duration::from_millis(20), ..pump::settings() };
    let pump = pump::start_with(world.db.database(), often).await;
    let job = pump::take(&pump).await;
    pump::expire(&world).await;
    // Each of these is claimed by a look, and followed by others that find nothing and look for what is exhausted.
    for _ in 0..3 {
        world.insert("b.jpg").await;
        pump::take(&pump).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(world.count("receipt_queue_dlq").await, 0);
    pump.settle(&job, complete("V", "1.00"), None).await.unwrap();
}
