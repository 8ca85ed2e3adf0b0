//! Hosts that are killed in the middle of a swap.

use std::time::Duration;

use tests::candidates;

use super::{Bench, said, switched};

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_at_any_stage_leaves_nothing_undone() {
    let bench = Bench::new().await;
    let mut receipts = 0;
    // What is logged when a stage was passed: the host is in the next one then.
    let stages = [
        ("swap.stage_passed", "stage=read", &[0][..]),
        ("swap.stage_passed", "stage=digest", &[0]),
        ("swap.stage_passed", "stage=trust", &[0]),
        ("swap.stage_passed", "stage=contract", &[0, 150, 500]),
        ("swap.stage_passed", "stage=compile", &[0, 150, 500]),
        ("swap.stage_passed", "stage=gate", &[0]),
        ("swap.switched", "", &[0, 30]),
        ("swap.confirmed", "", &[0]),
    ];
    let mut number = 0;
    for (event, stage, delays) in stages {
        for delay in delays {
            number += 1;
            let next = candidates::honest(number);
            let mut host = bench.start(&["--probation", "3"]).await;
            bench.receipts(4).await;
            receipts += 4;
            bench.replace(&next);
            if event == "swap.confirmed" {
                switched(&mut host, &next).await;
                bench.receipts(4).await;
                receipts += 4;
            }
            said(&mut host, &next, event, stage).await;
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
    bench.take_over(&mut host, &candidates::traps()).await;
    bench.receipts(10).await;
    bench.becomes("rolled-back", &candidates::traps()).await;
    host.kill().await;
    let host = bench.start(&[]).await;
    assert!(tests::has_event(&host.log(), "swap.start_refused"), "{}", host.log());
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
    bench.take_over(&mut host, &bad).await;
    bench.receipts(3).await;
    super::said(&mut host, &bad, "component.failed_on_job", "").await;
    // The ledger is written beside the work: a host that is killed before that leaves no word of the switch.
    bench.becomes("switched", &bad).await;
    host.kill().await;

    let mut host = bench.start(&["--max-attempts", "2"]).await;
    host.logged("swap.start_unproven").await;
    super::said(&mut host, &bad, "swap.refused", "stage=gate").await;
    bench.receipts(3).await;
    // The crash cost those that it hit one attempt, and the component none.
    bench.assert_all_done(9, 2).await;
    assert_eq!(bench.done_by(&old).await, 9);
    host.stop().await.ok();
}
