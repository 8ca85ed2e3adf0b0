//! Bad components: each is refused or rolled back, with a message of its own, and the old one goes on.

use host::storage::digest_of;
use tests::{candidates, eventually, has_event, has_event_with};

use super::Bench;

/// Deadlines that a test can wait for.
const LIMITS: [&str; 2] = ["--deadline", "500ms"];

#[tokio::test(flavor = "multi_thread")]
async fn bad_ones_are_refused_each_with_its_message() {
    let bench = Bench::new().await;
    let mut host = bench.start(&LIMITS).await;
    let mut receipts = 0;
    for (bad, stage, why) in [
        (candidates::truncated(), "contract", "it is cut off or damaged"),
        (Vec::new(), "contract", "it is empty"),
        (b"#!/bin/sh\n".to_vec(), "contract", "it is no WebAssembly"),
        (candidates::core_module(), "contract", "it is a core WebAssembly module"),
        (candidates::wrong_version(), "contract", "it is made for snapceit:receipts@0.3.0"),
        (candidates::wants_sockets(), "contract", "wasi:sockets"),
        (candidates::traps(), "gate", "unreachable"),
        (candidates::loops(), "gate", "instructions: more than"),
        (candidates::eats_memory(), "gate", "--max-memory"),
        (candidates::slow(), "gate", "times the work"),
        (candidates::gives_up(), "gate", "as ordered"),
        (candidates::idles(), "gate", "complete → nothing"),
        (candidates::puts_back(), "gate", "complete → retry"),
        (candidates::buries(), "gate", "complete → dead letter"),
        (candidates::loses_total(), "gate", "total was \"19.50\", is null"),
    ] {
        bench.receipts(2).await;
        bench.offer(&mut host, &bad, "swap.refused", &format!("stage={stage}")).await;
        bench.receipts(2).await;
        receipts += 4;
        let reason = bench.becomes("refused", &bad).await;
        assert!(reason.starts_with(&format!("{stage}: ")) && reason.contains(why), "{why}: {reason}");
        assert!(has_event_with(&host.log(), "swap.refused", why), "{why}");
    }
    bench.assert_all_done(receipts, 1).await;
    assert_eq!(bench.done_by(&candidates::honest(0)).await, receipts);
    let log = host.stop().await.stderr;
    assert!(!has_event(&log, "swap.switched") && !log.contains("panicked"), "{log}");
    for stage in ["compile", "gate", "switch"] {
        // Of those that were refused by their outside, nothing was compiled.
        assert!(!super::was_at(&log, &candidates::wants_sockets(), stage), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_traps_on_some_receipts_only_is_rolled_back_at_nobodys_cost() {
    rolled_back(&candidates::traps_on_some(), "no-regressions", "traps and limits").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_passes_a_gate_that_refuses_nothing_is_rolled_back() {
    for (bad, why) in [
        (candidates::traps(), "traps and limits"),
        (candidates::loops(), "traps and limits"),
        (candidates::eats_memory(), "traps and limits"),
        (candidates::gives_up(), "failures"),
        (candidates::idles(), "failures"),
        (candidates::puts_back(), "failures"),
        (candidates::buries(), "failures"),
    ] {
        rolled_back(&bad, "report", why).await;
    }
}

async fn rolled_back(bad: &[u8], policy: &str, why: &str) {
    let bench = Bench::new().await;
    let old = candidates::honest(0);
    let mut host = bench
        .start(&[&LIMITS[..], &["--gate-policy", policy, "--probation", "20", "--max-attempts", "1"]].concat())
        .await;
    bench.receipts(5).await;
    bench.settled().await;
    bench.take_over(&mut host, bad).await;
    bench.receipts(30).await;
    super::said(&mut host, bad, "swap.rolled_back", "").await;
    bench.receipts(5).await;
    let reason = bench.becomes("rolled-back", bad).await;
    assert!(reason.contains(why), "{why}: {reason}");
    // With one attempt each: whatever was charged, or given up for good, would be dead.
    eventually("all are done", async || {
        (bench.world.count("receipts WHERE status::text = 'ocr_done'").await == 40).then_some(())
    })
    .await;
    bench.assert_all_done(40, 1).await;
    let (by_old, by_bad) = (bench.done_by(&old).await, bench.done_by(bad).await);
    assert_eq!(by_old + by_bad, 40);
    assert!(by_old > 10, "{by_old} by the old one");
    let killed = bench.world.count(&format!("receipt_queue WHERE history::text LIKE '%{}%'", digest_of(bad))).await;
    assert!(killed > 0 || *bad == candidates::idles(), "the bad one touched nothing, so that nothing was tested");
    let finished = host.stop().await;
    assert!(super::has_whole_ledger(&finished), "{}", finished.stderr);
    finished.ok();
}

/// A receipt that somebody has open: the run is let go, the settle goes on, and is committed when the component has long been
/// rolled back.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_bad_one_decided_on_a_locked_receipt_is_taken_back_too() {
    let bench = Bench::new().await;
    let bad = candidates::buries();
    let world = &bench.world;
    let mut host = bench
        .start(&["--gate-policy", "report", "--probation", "20", "--max-attempts", "1", "--concurrency", "2"])
        .await;
    bench.receipts(2).await;
    bench.settled().await;
    bench.take_over(&mut host, &bad).await;
    world.photo("locked.jpg").await;
    let insert = "WITH r AS (INSERT INTO receipts (image_url, status) VALUES ('locked.jpg', 'draft') RETURNING id) SELECT id::text FROM r";
    let locked = world.text(insert, &[]).await;
    world
        .execute(&format!(
            "BEGIN;
             UPDATE receipts SET status = 'pending' WHERE id = '{locked}';
             UPDATE receipt_queue SET available_at = now() + interval '1 hour' WHERE receipt_id = '{locked}';
             COMMIT"
        ))
        .await;
    let editor = world.db.connect().await;
    editor.batch_execute(&format!("BEGIN; UPDATE receipts SET user_id = 'busy' WHERE id = '{locked}'")).await.unwrap();
    world.execute("UPDATE receipt_queue SET available_at = now() WHERE NOT processed; SELECT pg_notify('receipt_channel', '')").await;
    let claimed = format!("receipt_queue WHERE receipt_id = '{locked}' AND lease_token IS NOT NULL");
    eventually("it is claimed", async || (world.count(&claimed).await == 1).then_some(())).await;
    // The run is let go by then, and another takes its place.
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    bench.receipts(30).await;
    super::said(&mut host, &bad, "swap.rolled_back", "").await;
    assert_eq!(world.status_of(&locked).await, "pending");
    editor.batch_execute("COMMIT").await.unwrap();
    world.becomes(&locked, "ocr_done").await;
    bench.assert_all_done(33, 1).await;
    host.stop().await.ok();
}
