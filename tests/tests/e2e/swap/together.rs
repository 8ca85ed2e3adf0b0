//! Swaps that meet each other, a drain, or another host.

use rustix::process::Signal;
use serde_json::Value;
use tests::{ARTIFACTS, candidates, eventually, has_event};

use host::storage::digest_of;

use super::{Bench, has_whole_ledger, said, switched, verdict, was_at};

const RECORDINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/recordings");

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_during_a_drain_is_refused_and_the_drain_ends() {
    let bench = Bench::new().await;
    let mut host = bench.start(&["--gate", RECORDINGS]).await;
    bench.receipts(5).await;
    let swap = bench.swap(&host, "late.wasm", &candidates::honest(1)).spawn();
    // Between the compiler and the end of the gate.
    said(&mut host, &candidates::honest(1), "swap.stage_passed", "stage=compile").await;
    let stopped = host.stop().await;
    let finished = swap.wait().await;
    let refused = verdict(&finished);
    assert_eq!((finished.code, &refused["outcome"]), (Some(1), &Value::from("refused")));
    assert_eq!((&refused["stage"], &refused["reason"]), (&"gate".into(), &"the host is draining".into()), "{refused}");
    assert!(!stopped.logged("swap.switched"), "{}", stopped.stderr);
    stopped.ok();
    assert_eq!(bench.recorded("refused", &candidates::honest(1)).await.as_deref(), Some("gate: the host is draining"));
    assert!(bench.recorded("stopped", &candidates::honest(0)).await.is_some(), "the ledger's last entry");
    let host = bench.start(&[]).await;
    bench.assert_all_done(5, 1).await;
    host.stop().await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_ends_at_once_while_a_component_is_on_probation() {
    let bench = Bench::new().await;
    let mut host = bench.start(&["--probation", "1000"]).await;
    bench.take_over(&mut host, &candidates::honest(1)).await;
    let finished = host.stop().await;
    assert!(has_whole_ledger(&finished), "{}", finished.stderr);
    finished.ok();
    assert!(bench.recorded("stopped", &candidates::honest(1)).await.is_some());
    let once = bench.command(&["--once"]).run().await;
    assert!(has_whole_ledger(&once), "{}", once.stderr);
    once.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_swaps_at_once_are_compared_one_after_the_other() {
    let bench = Bench::new().await;
    let mut host = bench.start(&["--probation", "5"]).await;
    let (one, other) = (candidates::honest(1), candidates::honest(2));
    let (first, second) =
        tokio::join!(bench.swap(&host, "one.wasm", &one).run(), bench.swap(&host, "other.wasm", &other).run(),);
    let (first, second) = (verdict(&first), verdict(&second));
    assert_eq!((&first["outcome"], &second["outcome"]), (&"switched".into(), &"switched".into()), "{first} {second}");
    let before: Vec<&Value> = [&first, &second].iter().map(|verdict| &verdict["previous"]).collect();
    let chain = [&first["digest"], &second["digest"]];
    // Whichever came first took over from the one at the start, and the other one from it.
    let start = Value::from(digest_of(&candidates::honest(0)));
    assert!(before == [&start, chain[0]] || before == [chain[1], &start], "{first} {second}");

    // By the file and by hand.
    let (three, four) = (candidates::honest(3), candidates::honest(4));
    bench.replace(&three);
    let by_hand = verdict(&bench.swap(&host, "four.wasm", &four).run().await);
    assert_eq!(by_hand["outcome"], "switched", "{by_hand}");
    switched(&mut host, &three).await;
    bench.receipts(10).await;
    bench.assert_all_done(10, 1).await;
    host.stop().await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_swap_from_one_file() {
    let bench = Bench::new().await;
    let (mut first, mut second) = (bench.start(&["--probation", "0"]).await, bench.start(&["--probation", "0"]).await);
    assert_ne!(first.admin(), second.admin());
    bench.receipts(10).await;
    bench.replace(&candidates::honest(1));
    for host in [&mut first, &mut second] {
        switched(host, &candidates::honest(1)).await;
    }
    // One of them goes ahead alone.
    let ahead = verdict(&bench.swap(&first, "ahead.wasm", &candidates::honest(2)).run().await);
    assert_eq!(ahead["outcome"], "switched");
    bench.receipts(20).await;
    bench.assert_all_done(30, 1).await;
    assert_eq!(bench.world.textract.calls(), 30);
    for host in [first, second] {
        host.stop().await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_upload_swaps_a_whole_fleet() {
    let bench = Bench::new().await;
    let upload = async |component: Vec<u8>| {
        let put = bench.world.aws.s3.put_object().bucket(ARTIFACTS).key("logic/worker.wasm");
        put.body(component.into()).send().await.unwrap();
    };
    upload(candidates::honest(0)).await;
    let from = format!("s3://{ARTIFACTS}/logic/worker.wasm");
    let mut fleet = Vec::new();
    for _ in 0..2 {
        let command = bench.world.run(&["--component", &from, "--component-poll", "200ms", "--probation", "0"]);
        let mut host = bench.at(command).spawn();
        host.logged("worker.started").await;
        fleet.push(host);
    }
    bench.receipts(6).await;
    upload(candidates::honest(1)).await;
    for host in &mut fleet {
        switched(host, &candidates::honest(1)).await;
    }
    bench.receipts(6).await;
    upload(candidates::traps()).await;
    for host in &mut fleet {
        said(host, &candidates::traps(), "swap.refused", "stage=gate").await;
    }
    bench.assert_all_done(12, 1).await;
    assert!(bench.done_by(&candidates::honest(1)).await >= 6);
    for host in fleet {
        host.stop().await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_with_the_same_content_is_no_swap() {
    let bench = Bench::new().await;
    let mut host = bench.start(&[]).await;
    host.signal(Signal::HUP);
    said(&mut host, &candidates::honest(0), "swap.stage_passed", "stage=digest").await;
    // Another file with the same content is none either.
    let same = verdict(&bench.swap(&host, "same.wasm", &candidates::honest(0)).run().await);
    assert_eq!(same["outcome"], "unchanged", "{same}");
    bench.replace(&candidates::honest(0));
    bench.receipts(2).await;
    bench.assert_all_done(2, 1).await;
    let log = host.stop().await.stderr;
    assert!(!has_event(&log, "swap.switched") && !was_at(&log, &candidates::honest(0), "compile"), "{log}");
    eventually("it says goodbye", async || bench.recorded("stopped", &candidates::honest(0)).await).await;
    assert!(bench.recorded("switched", &candidates::honest(0)).await.is_none());
}
