//! 2. A lease has a fencing token that only grows. Whoever lost the lease can change nothing.

use std::time::Duration;

use host::failure::FailureKind;
use host::ocr::local::Fault;
use host::queue::JobOutcome;
use rustix::process::Signal;
use tests::{World, eventually};

use super::everything;
use crate::pump::{self, HOUR, claimed, complete, dead_letter, expire, give_back, retry, settings, take};

const HEARTBEAT: &str = include_str!("../../../../host/src/queue/sql/heartbeat.sql");

#[tokio::test]
async fn invariant_2_fencing_tokens_only_grow() {
    let world = World::new().await;
    let receipt = world.insert("a.jpg").await;
    let mut last = 0;
    let mut next = async || {
        let (pump, job) = claimed(&world).await;
        assert!(job.lease.token > last, "{} after {last}", job.lease.token);
        last = job.lease.token;
        (pump, job)
    };
    for outcome in [give_back(), retry(Duration::ZERO, false), retry(Duration::ZERO, true), dead_letter()] {
        let (pump, job) = next().await;
        pump.settle(&job, outcome, None).await.unwrap();
    }
    // A manual retry: a new row, attempts from the beginning.
    world.host().args(["dlq", "retry", "--all"]).run().await.ok();
    let (_, job) = next().await;
    assert_eq!(job.attempt, 1);
    // A lease that ran out.
    expire(&world).await;
    next().await;
    // A replaced image; and a receipt that is deleted and comes back under its id.
    world.execute("UPDATE receipts SET image_url = 'b.jpg'").await;
    let (pump, job) = next().await;
    pump.settle(&job, complete("V", "1.00"), None).await.unwrap();
    world.execute("UPDATE receipts SET status = 'pending'").await;
    next().await;
    world
        .execute(&format!("DELETE FROM receipts; INSERT INTO receipts (id, image_url) VALUES ('{receipt}', 'c.jpg')"))
        .await;
    next().await;
}

#[tokio::test]
async fn invariant_2_a_zombie_changes_nothing_whatever_it_says() {
    let transitions = || [complete("zombie", "6.66"), retry(Duration::ZERO, true), give_back(), dead_letter()];
    for (number, how) in ["claimed", "replaced", "done", "dead", "revived", "given back", "deleted"].iter().enumerate()
    {
        let world = World::new().await;
        world.insert("a.jpg").await;
        let (zombie, job) = claimed(&world).await;
        let mut others = Vec::new();
        match *how {
            "claimed" => {
                expire(&world).await;
                others.push(claimed(&world).await);
            }
            "replaced" => world.execute("UPDATE receipts SET image_url = 'b.jpg'").await,
            "given back" => zombie.settle(&job, retry(HOUR, true), None).await.unwrap(),
            "deleted" => world.execute("DELETE FROM receipts").await,
            _ => {
                expire(&world).await;
                let (other, other_job) = claimed(&world).await;
                let outcome = if *how == "done" { complete("other", "1.00") } else { dead_letter() };
                other.settle(&other_job, outcome, None).await.unwrap();
                if *how == "revived" {
                    world.execute("UPDATE receipts SET status = 'pending'").await;
                    others.push(claimed(&world).await);
                }
            }
        }
        let before = everything(&world).await;
        for outcome in transitions() {
            let said = format!("{how}: {outcome:?}");
            let failure = zombie.settle(&job, outcome, None).await.expect_err(&said);
            assert_eq!(failure.kind, FailureKind::LeaseLost, "{said}");
            assert_eq!(everything(&world).await, before, "{said}");
        }
        zombie.release(&job);
        zombie.release_held();
        assert!(zombie.finish(HOUR).await);
        assert_eq!(everything(&world).await, before, "{how}: released (case {number})");
    }
}

#[tokio::test]
async fn invariant_2_a_zombies_heartbeat_renews_nothing() {
    let world = World::new().await;
    world.insert("a.jpg").await;
    let (_zombie, stale) = claimed(&world).await;
    expire(&world).await;
    let (_other, job) = claimed(&world).await;
    assert_eq!(job.lease.job, stale.lease.job);
    let before = everything(&world).await;
    let beat = async |token: i64| {
        let (ids, tokens) = (vec![job.lease.job], vec![token]);
        world.client.query(HEARTBEAT, &[&ids, &tokens, &60_000_i64]).await.unwrap().len()
    };
    assert_eq!(beat(stale.lease.token).await, 0);
    assert_eq!(everything(&world).await, before);
    assert_eq!(beat(job.lease.token).await, 1);
    assert_ne!(everything(&world).await, before);
}

#[tokio::test]
async fn invariant_2_a_lost_lease_is_noticed_by_the_heartbeat() {
    let world = World::new().await;
    world.insert("a.jpg").await;
    let short = host::queue::PumpSettings { lease: Duration::from_secs(1), ..settings() };
    let zombie = pump::start_with(world.db.database(), short).await;
    let job = take(&zombie).await;
    zombie.confirm(&job).await.unwrap();
    world
        .execute(
            "UPDATE receipt_queue
             SET lease_token = nextval('receipt_queue_token'), available_at = now() + interval '1 hour'",
        )
        .await;
    eventually("the loss is noticed", async || job.is_lost().then_some(())).await;
    assert_eq!(zombie.confirm(&job).await.unwrap_err().kind, FailureKind::LeaseLost);
}

#[tokio::test]
async fn invariant_2_a_heartbeat_keeps_the_lease() {
    let world = World::new().await;
    world.insert("a.jpg").await;
    let short =
        host::queue::PumpSettings { lease: Duration::from_secs(3), every: Duration::from_millis(50), ..settings() };
    let owner = pump::start_with(world.db.database(), short.clone()).await;
    let job = take(&owner).await;
    let other = pump::start_with(world.db.database(), short).await;
    // Twice as long as a lease lasts.
    let until = "SELECT (available_at > claimed_until + interval '6 seconds')::text FROM receipt_queue, claimed";
    world.execute("CREATE TABLE claimed AS SELECT available_at AS claimed_until FROM receipt_queue").await;
    eventually("six seconds of heartbeats", async || (world.text(until, &[]).await == "true").then_some(())).await;
    assert!(other.take(1).is_empty());
    owner.settle(&job, complete("V", "1.00"), None).await.unwrap();
}

/// One host, two runs: its own lease ran out and it has claimed the job anew. Both settle in one batch.
#[tokio::test]
async fn invariant_2_a_zombie_in_the_same_host_changes_nothing() {
    let pairs = [
        (complete("zombie", "6.66"), complete("right", "1.00")),
        (dead_letter(), complete("right", "1.00")),
        (retry(HOUR, true), complete("right", "1.00")),
        (complete("zombie", "6.66"), dead_letter()),
        (complete("zombie", "6.66"), retry(HOUR, true)),
        (retry(Duration::ZERO, true), retry(HOUR, false)),
    ];
    for (stale_says, fresh_says) in pairs {
        for stale_first in [true, false] {
            let world = World::new().await;
            world.insert("a.jpg").await;
            let wake = std::sync::Arc::new(tokio::sync::Notify::new());
            let pump = host::queue::Pump::start(world.db.database(), settings(), wake.clone()).await.unwrap();
            let stale = take(&pump).await;
            expire(&world).await;
            wake.notify_one();
            let fresh = take(&pump).await;
            assert!(fresh.lease.job == stale.lease.job && fresh.lease.token > stale.lease.token);
            let what = format!("{stale_says:?}, {fresh_says:?}, {stale_first}");
            let (zombie, right) = if stale_first {
                tokio::join!(
                    pump.settle(&stale, stale_says.clone(), None),
                    pump.settle(&fresh, fresh_says.clone(), None)
                )
            } else {
                let (right, zombie) = tokio::join!(
                    pump.settle(&fresh, fresh_says.clone(), None),
                    pump.settle(&stale, stale_says.clone(), None)
                );
                (zombie, right)
            };
            right.expect(&what);
            assert_eq!(zombie.expect_err(&what).kind, FailureKind::LeaseLost, "{what}");
            let vendor = "SELECT coalesce(vendor_text, '-') FROM receipts";
            let expected = if matches!(fresh_says, JobOutcome::Complete(_)) { "right" } else { "-" };
            assert_eq!(world.text(vendor, &[]).await, expected, "{what}");
            assert_eq!(world.count("receipt_queue WHERE available_at <= now() AND NOT processed").await, 0, "{what}");
            let counts = pump.counts();
            assert_eq!((counts.processed + counts.retried + counts.dead, counts.lost), (1, 1), "{what}");
        }
    }
}

/// A process that was stopped for longer than its lease, and wakes up.
#[tokio::test]
async fn invariant_2_a_host_that_was_suspended_changes_nothing_when_it_wakes() {
    let world = World::new().await;
    world.textract.faults().next(1, Fault::Held);
    let (receipt, photo) = world.receipt("a.jpg").await;
    let mut sleeper = world.run(&["--lease", "3s", "--every", "1h"]).spawn();
    eventually("the first call", async || (world.textract.requests() == 1).then_some(())).await;
    sleeper.signal(Signal::STOP);
    let other = world.run(&["--lease", "3s", "--every", "100ms"]).spawn();
    world.becomes(&receipt, "ocr_done").await;
    other.stop().await.ok();
    let before = everything(&world).await;
    world.textract.faults().clear();
    sleeper.signal(Signal::CONT);
    sleeper.logged("lease.lost").await;
    let log = sleeper.stop().await;
    assert!(log.logged_with("worker.stopped", "lost=1"), "{}", log.stderr);
    assert_eq!(everything(&world).await, before);
    assert!(world.textract.calls_by_image()[&photo.digest] <= 2);
}
