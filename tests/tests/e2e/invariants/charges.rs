//! 6. A permanent failure is dead at once; a throttled call costs no attempt.

use std::time::Duration;

use host::ocr::local::Fault;
use host::queue::JobOutcome;
use tests::World;

use crate::pump::{claimed, expire, start, take};

#[tokio::test]
async fn invariant_6_a_permanent_failure_is_dead_at_once() {
    let world = World::new().await;
    world.textract.faults().always(Fault::error("BadDocumentException", 400));
    let (receipt, _) = world.receipt("a.jpg").await;
    let summary = world.once().await;
    assert_eq!((&summary["dead"], &summary["retried"]), (&1.into(), &0.into()));
    let dead = "SELECT concat_ws('|', attempts, error_kind, error_code, notes) FROM receipt_queue_dlq";
    assert_eq!(world.text(dead, &[]).await, "1|bad-document|textract.BadDocumentException|permanent failure");
    assert_eq!(world.textract.requests(), 1);
    assert_eq!(world.status_of(&receipt).await, "ocr_failed");
    world.assert_settled(1).await;
}

#[tokio::test]
async fn invariant_6_a_throttled_call_costs_no_attempt() {
    let world = World::new().await;
    world.textract.faults().always(Fault::throttled());
    let (receipt, _) = world.receipt("a.jpg").await;
    for pass in 1..=4 {
        let summary = world.run(&["--once", "--max-attempts", "2"]).run().await.json();
        assert_eq!((&summary["dead"], &summary["retried"]), (&0.into(), &1.into()), "{summary}");
        let row = "SELECT concat_ws('|', attempts, claims, last_error_kind, available_at > now()) FROM receipt_queue";
        assert_eq!(world.text(row, &[]).await, format!("0|{pass}|throttled|t"));
        expire(&world).await;
    }
    world.textract.faults().clear();
    world.once().await;
    assert_eq!(world.status_of(&receipt).await, "ocr_done");
    assert_eq!(world.text("SELECT attempts::text FROM receipt_queue", &[]).await, "1");
}

#[tokio::test]
async fn invariant_6_charged_attempts_end_in_a_dead_letter() {
    let world = World::new().await;
    // Nothing that an outage is made of: nobody but the receipt pays.
    world.textract.faults().always(Fault::error("UnheardOfException", 400));
    world.receipt("a.jpg").await;
    for pass in 1..=3 {
        let summary = world.run(&["--once"]).env("MAX_ATTEMPTS", "3").run().await.json();
        let expected = if pass < 3 { (0, 1) } else { (1, 0) };
        assert_eq!((&summary["dead"], &summary["retried"]), (&expected.0.into(), &expected.1.into()), "{summary}");
        expire(&world).await;
    }
    let dead = "SELECT concat_ws('|', attempts, error_kind, notes) FROM receipt_queue_dlq";
    assert_eq!(world.text(dead, &[]).await, "3|internal|max attempts exceeded");
    world.assert_settled(1).await;
}

/// The host keeps the limit, whatever a component says.
#[tokio::test]
async fn invariant_6_an_uncharged_retry_gives_the_attempt_back() {
    let world = World::new().await;
    world.insert("a.jpg").await;
    for charge in [false, false, true, false, true] {
        let (pump, job) = claimed(&world).await;
        let before = i32::try_from(job.attempt).unwrap();
        pump.settle(&job, JobOutcome::Retry { delay: Duration::ZERO, charge, failure: None }, None).await.unwrap();
        let attempts: i32 = world.client.query_one("SELECT attempts FROM receipt_queue", &[]).await.unwrap().get(0);
        assert_eq!(attempts, if charge { before } else { before - 1 });
    }
    let job = take(&start(&world).await).await;
    assert_eq!(job.attempt, 3);
}
