//! Hosts that are killed in the middle of a swap.

use std::time::Duration;

use tests::candidates;

use super::{Bench, said};

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_at_any_stage_leaves_nothing_undone() {
    let bench = Bench::new().await;
    let mut receipts = 0;
    // What is logged when a stage was passed: the host is in the next one then.
    let stages = [
        ("read: ", &[0][..]),
        ("digest: ", &[0]),
        ("trust: ", &[0]),
        ("contract: ", &[0, 150, 500]),
        ("compile: ", &[0, 150, 500]),
        ("gate: ", &[0]),
        ("switch: ", &[0, 30]),
        ("probation: confirmed", &[0]),
    ];
    let mut number = 0;
    for (stage, delays) in stages {
        for delay in delays {
            number += 1;
            let next = candidates::honest(number);
            let mut host = bench.start(&["--probation", "3"]).await;
            bench.receipts(4).await;
            receipts += 4;
            bench.replace(&next);
            if stage.starts_with("probation") {
                said(&mut host, &next, "switch: ").await;
                bench.receipts(4).await;
                receipts += 4;
            }
            said(&mut host, &next, stage).await;
            tokio::time::sleep(Duration::from_millis(*delay)).await;
            host.kill().await;
        }
    }
    let host = bench.start(&[]).await;
    // A kill may cost an attempt, and the OCR call that was on its way; a receipt can be hit by two of them.
    bench.assert_all_done(receipts, 3).await;
    assert_eq!(bench.world.count("receipts WHERE vendor_text = 'Blue Bottle Cafe'").await, receipts);
    host.stop().await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_while_it_goes_back_does_not_begin_with_the_bad_one() {
    let bench = Bench::new().await;
    let mut host = bench.start(&["--gate-policy", "report", "--probation", "10"]).await;
    bench.receipts(3).await;
    bench.settled().await;
    bench.offer(&mut host, &candidates::traps(), "switch: ").await;
    bench.receipts(10).await;
    bench.becomes("rolled-back", &candidates::traps()).await;
    host.kill().await;
    let host = bench.start(&[]).await;
    assert!(host.log().contains("starting with the component that was confirmed last"), "{}", host.log());
    bench.assert_all_done(13, 2).await;
    host.stop().await.ok();
}

/// A restart is no proof: whoever was on probation is offered again, to the one that proved itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_probation_that_a_crash_cut_off_begins_anew() {
    let bench = Bench::new().await;
    let (old, bad) = (candidates::honest(0), candidates::traps());
    // It passes the gate, and nothing that it does takes it back.
    let careless = ["--gate-policy", "report", "--probation", "1000", "--probation-margin", "1"];
    let mut host = bench.start(&careless).await;
    bench.receipts(3).await;
    bench.settled().await;
    bench.offer(&mut host, &bad, "switch: ").await;
    bench.receipts(3).await;
    super::said(&mut host, &bad, "the component failed on a job").await;
    // The ledger is written beside the work: a host that is killed before that leaves no word of the switch.
    bench.becomes("switched", &bad).await;
    host.kill().await;

    let mut host = bench.start(&["--max-attempts", "2"]).await;
    host.logged("has yet to prove itself").await;
    super::said(&mut host, &bad, "gate: refused: ").await;
    bench.receipts(3).await;
    // The crash cost those that it hit one attempt, and the component none.
    bench.assert_all_done(9, 2).await;
    assert_eq!(bench.done_by(&old).await, 9);
    host.stop().await.ok();
}
