//! A function that is frozen, killed, or has too little time: nothing is lost, nothing is paid for twice that is stored, and an
//! invocation that ends by itself leaves no lease.

use std::time::Duration;

use host::ocr::local::Fault;
use rustix::process::Signal;
use serde_json::json;
use tests::{Ministack, World, eventually};

use crate::function::{nothing_is_left, schedule};

#[tokio::test]
async fn a_function_that_was_frozen_trusts_no_connection_of_before() {
    let (world, aws) = tokio::join!(World::new(), Ministack::start());
    aws.function("worker", world.host(), 60).await;
    world.receipts_from(0, 1).await;
    assert_eq!(aws.works("worker", &schedule()).await["processed"], 1);
    let process = aws.process_of("worker").unwrap();
    process.signal(Signal::STOP);
    world.receipts_from(1, 1).await;
    let event = schedule();
    let (body, ()) = tokio::join!(aws.works("worker", &event), async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        process.signal(Signal::CONT);
    });
    assert_eq!(body["processed"], 1, "{body}");
    assert_eq!(aws.process_of("worker"), Some(process), "the same one");
    nothing_is_left(&world, &aws, "worker").await;

    world.assert_settled(2).await;
    assert_eq!(world.textract.calls(), 2);
}

#[tokio::test]
async fn a_function_that_sleeps_through_its_invocation_is_replaced() {
    let (world, aws) = tokio::join!(World::new(), Ministack::start());
    aws.function("worker", world.host(), 10).await;
    assert_eq!(aws.works("worker", &schedule()).await["processed"], 0);
    world.receipts(1).await;
    let process = aws.process_of("worker").unwrap();
    process.signal(Signal::STOP);
    let (answer, is_error) = aws.invoke("worker", &schedule()).await;
    assert!(is_error && answer.to_string().contains("timed out"), "{answer}");
    assert_eq!(aws.works("worker", &schedule()).await["processed"], 1);
    assert_ne!(aws.process_of("worker"), Some(process));
    world.assert_settled(1).await;
}

#[tokio::test]
async fn an_invocation_whose_time_runs_low_gives_back_what_is_left() {
    few(10, 60, Duration::from_millis(400)).await;
}

/// The real numbers: 1,000 receipts, and ten seconds for each invocation.
#[tokio::test]
#[ignore = "takes minutes: make deploy-test"]
async fn a_thousand_receipts_at_ten_seconds() {
    few(10, 1_000, Duration::from_millis(200)).await;
}

async fn few(timeout: u32, receipts: usize, ocr: Duration) {
    let (world, aws) = tokio::join!(World::new(), Ministack::start());
    world.textract.faults().always(Fault::Delay(ocr));
    let receipts = world.receipts(receipts).await;
    aws.function("worker", world.host(), timeout).await;
    let mut invocations = 0;
    while world.count("receipts WHERE status = 'pending'").await > 0 {
        invocations += 1;
        let body = aws.works("worker", &schedule()).await;
        assert_eq!((&body["lost"], &body["retried"]), (&json!(0), &json!(0)), "{body}");
        nothing_is_left(&world, &aws, "worker").await;
        assert!(invocations < 1_000);
    }
    assert!(invocations > 1, "its time has never run low");
    eprintln!("{} receipts in {invocations} invocations of at most {timeout} s", receipts.len());
    world.assert_settled(i64::try_from(receipts.len()).unwrap()).await;
    let twice = world.textract.calls_by_image().into_values().filter(|calls| *calls > 1).count();
    assert_eq!(twice, 0, "photos that were paid for twice");
}

/// Killed in the midst, and too slow for its timeout (which is a kill): the leases run out, and the next ones work.
#[tokio::test]
#[ignore = "takes minutes: make deploy-test"]
async fn kills_and_timeouts_lose_nothing() {
    let (world, aws) = tokio::join!(World::new(), Ministack::start());
    world.textract.faults().always(Fault::Delay(Duration::from_millis(200)));
    world.receipts(120).await;
    let host = world.host().env("WORKER_LEASE", "3s").env("MAX_ATTEMPTS", "100").env("WORKER_SPARE", "1ms");
    aws.function("worker", host, 4).await;
    let mut round: u64 = 0;
    while world.count("receipts WHERE status = 'pending'").await > 0 {
        round += 1;
        let event = schedule();
        // Every third one runs into its timeout, or ends by itself.
        let kill = async {
            if round.is_multiple_of(3) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(600 + 137 * (round % 11))).await;
            if let Some(process) = aws.process_of("worker") {
                process.signal(if round % 3 == 1 { Signal::KILL } else { Signal::STOP });
            }
        };
        tokio::join!(aws.invoke("worker", &event), kill);
        assert!(round < 300);
    }
    eventually("the last lease is over", async || {
        (world.count("receipt_queue WHERE leased_by IS NOT NULL AND NOT processed").await == 0).then_some(())
    })
    .await;
    world.assert_settled(120).await;
    assert_eq!(world.count("receipts WHERE status = 'ocr_done'").await, 120);
    // One whose artifact was there was not paid for again: a call more for each that was cut off, and no other.
    let calls = world.textract.calls_by_image();
    let more: u64 = calls.values().map(|calls| calls - 1).sum();
    eprintln!("{round} rounds, {more} calls were cut off by a kill and paid for again");
    assert!(more <= 8 * round, "{more} in {round} rounds");
}
