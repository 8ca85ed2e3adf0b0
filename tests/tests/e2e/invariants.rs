//! The design's invariants 1 to 6. Each test fails when the code that keeps its invariant is taken out.

use std::time::Duration;

use host::failure::FailureKind;
use host::ocr::local::{Fault, Reader, Recordings};
use host::queue::Outcome;
use rustix::process::Signal;
use tests::{ARTIFACTS, Photo, World, WorldSettings, eventually};

use crate::pump::{self, HOUR, claimed, complete, dead_letter, expire, give_back, retry, settings, start, take};

const COMPLETE: &str = include_str!("../../../host/src/queue/sql/complete.sql");
const HEARTBEAT: &str = include_str!("../../../host/src/queue/sql/heartbeat.sql");

// 1. A receipt that was inserted ends `ocr_done` or in the dead letters, in every interleaving of crashes.

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

// 2. A lease has a fencing token that only grows. Whoever lost the lease can change nothing.

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

/// All that a zombie could have changed.
async fn everything(world: &World) -> String {
    world
        .text(
            "SELECT concat_ws(E'\\n',
                (SELECT string_agg(to_jsonb(r)::text, ',' ORDER BY id) FROM receipts r),
                (SELECT string_agg(to_jsonb(q)::text, ',' ORDER BY id) FROM receipt_queue q),
                (SELECT string_agg(to_jsonb(d)::text, ',' ORDER BY id) FROM receipt_queue_dlq d))",
            &[],
        )
        .await
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
        host::queue::PumpSettings { lease: Duration::from_secs(1), every: Duration::from_millis(50), ..settings() };
    let owner = pump::start_with(world.db.database(), short.clone()).await;
    let job = take(&owner).await;
    let other = pump::start_with(world.db.database(), short).await;
    // Three times as long as a lease lasts.
    let until = "SELECT (available_at > claimed_until + interval '3 seconds')::text FROM receipt_queue, claimed";
    world.execute("CREATE TABLE claimed AS SELECT available_at AS claimed_until FROM receipt_queue").await;
    eventually("three seconds of heartbeats", async || (world.text(until, &[]).await == "true").then_some(())).await;
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
            let expected = if matches!(fresh_says, Outcome::Complete(_)) { "right" } else { "-" };
            assert_eq!(world.text(vendor, &[]).await, expected, "{what}");
            assert_eq!(world.count("receipt_queue WHERE available_at <= now() AND NOT processed").await, 0, "{what}");
            let counts = pump.counts();
            assert_eq!(counts.processed + counts.retried + counts.dead, 1, "{what}");
        }
    }
}

/// A process that was stopped for longer than its lease, and wakes up.
#[tokio::test]
async fn invariant_2_a_host_that_was_suspended_changes_nothing_when_it_wakes() {
    let world = World::new().await;
    world.textract.faults().next(1, Fault::Delay(Duration::from_millis(500)));
    let (receipt, photo) = world.receipt("a.jpg").await;
    let mut sleeper = world.run(&["--lease", "1s", "--every", "1h"]).spawn();
    eventually("the first call", async || (world.textract.requests() == 1).then_some(())).await;
    sleeper.signal(Signal::STOP);
    let other = world.run(&["--lease", "1s", "--every", "100ms"]).spawn();
    world.becomes(&receipt, "ocr_done").await;
    other.stop().await.ok();
    let before = everything(&world).await;
    sleeper.signal(Signal::CONT);
    sleeper.logged("lease lost").await;
    let log = sleeper.stop().await;
    assert!(log.stderr.contains("lost=1"), "{}", log.stderr);
    assert_eq!(everything(&world).await, before);
    assert!(world.textract.calls_by_image()[&photo.digest] <= 2);
}

// 3. The receipt's fields and its queue row change in one transaction.

/// Makes updates of a table fail as a full disk does: something that passes, and no fault of the row.
async fn break_updates(world: &World, table: &str, when: &str) {
    world
        .execute(&format!(
            "CREATE SEQUENCE tries;
             CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
                 BEGIN
                     PERFORM nextval('tries');
                     RAISE EXCEPTION 'no space left' USING ERRCODE = 'disk_full';
                 END $$;
             CREATE TRIGGER refuse BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION refuse()"
        ))
        .await;
}

#[tokio::test]
async fn invariant_3_receipt_and_queue_row_change_together_or_not_at_all() {
    for (outcome, status) in [(complete("V", "1.00"), "ocr_done"), (dead_letter(), "ocr_failed")] {
        for table in ["receipts", "receipt_queue"] {
            let world = World::new().await;
            let receipt = world.insert("a.jpg").await;
            let (pump, job) = claimed(&world).await;
            let before = everything(&world).await;
            break_updates(&world, table, "true").await;
            let settle = pump.settle(&job, outcome.clone(), None);
            let watch = async {
                eventually("two tries", async || {
                    let tries: i64 = world.client.query_one("SELECT last_value FROM tries", &[]).await.unwrap().get(0);
                    (tries >= 2).then_some(())
                })
                .await;
                assert_eq!(everything(&world).await, before, "{status} with a broken {table}");
                world.execute(&format!("DROP TRIGGER refuse ON {table}")).await;
            };
            let (settled, ()) = tokio::join!(settle, watch);
            settled.unwrap();
            assert_eq!(world.status_of(&receipt).await, status);
            world.assert_settled(1).await;
        }
    }
}

#[tokio::test]
async fn invariant_3_nobody_ever_sees_one_without_the_other() {
    let world = World::new().await;
    world.receipts(12).await;
    world.insert("nowhere.jpg").await;
    let host = world.run(&["--every", "1h", "--concurrency", "2"]).spawn();
    let torn = "receipts r
        LEFT JOIN receipt_queue q ON q.receipt_id = r.id
        LEFT JOIN receipt_queue_dlq d ON d.receipt_id = r.id
        WHERE (r.status = 'pending') IS DISTINCT FROM (q.receipt_id IS NOT NULL AND NOT q.processed)
           OR (r.status = 'ocr_failed') IS DISTINCT FROM (d.receipt_id IS NOT NULL)";
    eventually("an end", async || {
        assert_eq!(world.count(torn).await, 0);
        (world.count("receipts WHERE status = 'pending'").await == 0).then_some(())
    })
    .await;
    host.stop().await.ok();
}

// 4. A receipt that a person edited or deleted meanwhile is not overwritten.

#[tokio::test]
async fn invariant_4_what_a_person_wrote_stays() {
    for (edit, expected) in [
        ("vendor_text = 'by hand'", "ocr_done|by hand|||"),
        ("total_amount = 99.99", "ocr_done||99.99||"),
        ("currency = 'JPY'", "ocr_done|||JPY|"),
        ("receipt_date = '2001-01-01'", "ocr_done||||2001-01-01"),
        ("status = 'approved', vendor_text = 'by hand'", "approved|by hand|||"),
        ("status = 'approved'", "approved||||"),
        // What the worker does not write is no reason to withhold the result.
        ("user_id = 'another'", "ocr_done|V|1.00|EUR|2024-02-29"),
    ] {
        let world = World::new().await;
        let receipt = world.insert("a.jpg").await;
        let (pump, job) = claimed(&world).await;
        world.execute(&format!("UPDATE receipts SET {edit}")).await;
        pump.settle(&job, complete("V", "1.00"), None).await.unwrap();
        let fields = "SELECT concat(status, '|', vendor_text, '|', total_amount, '|', currency, '|', receipt_date) FROM receipts";
        assert_eq!(world.text(fields, &[]).await, expected, "{edit}");
        assert_eq!(world.count("receipt_queue WHERE processed").await, 1, "{edit}");
        let artifact = world.row("receipts", &receipt).await.unwrap();
        assert_eq!(artifact.contains("ocr/artifact.json"), !expected.starts_with("approved"), "{artifact}");
    }
}

#[tokio::test]
async fn invariant_4_an_edit_before_the_claim_counts_too() {
    let world = World::new().await;
    let (receipt, _) = world.receipt("a.jpg").await;
    world.execute("UPDATE receipts SET vendor_text = 'typed while waiting'").await;
    world.once().await;
    assert_eq!(world.status_of(&receipt).await, "ocr_done");
    assert_eq!(world.text("SELECT vendor_text FROM receipts", &[]).await, "typed while waiting");
}

/// The edit is committed after the settle's snapshot was taken, and before its locks.
#[tokio::test]
async fn invariant_4_an_edit_in_the_last_moment_counts_too() {
    let world = World::new().await;
    world.insert("a.jpg").await;
    let (_pump, job) = claimed(&world).await;
    // A settle that is held up between its snapshot and its work: the function waits for a lock of ours.
    world.execute("CREATE FUNCTION pause() RETURNS bigint LANGUAGE sql AS 'SELECT pg_advisory_xact_lock(7), 0; SELECT 0::bigint'").await;
    let settler = world.db.connect().await;
    let person = world.db.connect().await;
    person.batch_execute("SELECT pg_advisory_lock(7)").await.unwrap();
    let (ids, tokens) = (job.lease.job, job.lease.token);
    let sql = COMPLETE
        .replacen("$1::bigint[]", &format!("ARRAY[{ids} + pause()]"), 1)
        .replacen("$2::bigint[]", &format!("ARRAY[{tokens}]::bigint[]"), 1)
        .replacen(
            "$3::text[], $4::text[], $5::text[], $6::text[], $7::float8[], $8::text[], $9::text[]",
            "ARRAY['V'], ARRAY['1.00'], ARRAY['EUR'], ARRAY['2024-02-29'], ARRAY[50]::float8[], ARRAY['k'], ARRAY['c']",
            1,
        )
        .replace("ANY ($1)", &format!("ANY (ARRAY[{ids}]::bigint[])"));
    let settle = settler.batch_execute(&sql);
    let edit = async {
        let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = 7
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        eventually("the settle waits", async || {
            (world.client.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) == 1).then_some(())
        })
        .await;
        person.batch_execute("UPDATE receipts SET vendor_text = 'just now'").await.unwrap();
        person.batch_execute("SELECT pg_advisory_unlock(7)").await.unwrap();
    };
    let (settled, ()) = tokio::join!(settle, edit);
    settled.unwrap();
    let fields = "SELECT concat_ws('|', status, vendor_text, total_amount) FROM receipts";
    assert_eq!(world.text(fields, &[]).await, "ocr_done|just now");
    world.assert_settled(1).await;
}

#[tokio::test]
async fn invariant_4_a_deleted_receipt_is_no_error() {
    let world = World::new().await;
    world.textract.faults().next(1, Fault::Delay(Duration::from_millis(400)));
    let (gone, _) = world.receipt("gone.jpg").await;
    let host = world.run(&["--every", "1h"]).spawn();
    eventually("the call", async || (world.textract.requests() == 1).then_some(())).await;
    world.execute(&format!("DELETE FROM receipts WHERE id = '{gone}'")).await;
    let (stays, _) = world.receipt("stays.jpg").await;
    world.becomes(&stays, "ocr_done").await;
    let finished = host.stop().await;
    assert!(!finished.stderr.contains("ERROR"), "{}", finished.stderr);
    assert!(finished.stderr.contains("lost=1"), "{}", finished.stderr);
    finished.ok();
    world.assert_settled(1).await;
}

// 5. The artifact is what Textract sent; while it is there, no attempt pays again for that image.

async fn artifact_key(world: &World, receipt: &str) -> String {
    world.text("SELECT ocr_s3_key FROM receipts WHERE id::text = $1", &[&receipt]).await
}

#[tokio::test]
async fn invariant_5_the_artifact_is_byte_for_byte_what_textract_sent() {
    let world = World::new().await;
    let (receipt, photo) = world.receipt("a.jpg").await;
    let summary = world.once().await;
    let key = artifact_key(&world, &receipt).await;
    assert_eq!(world.artifact(&key).await, world.textract.body_for(&photo.digest).unwrap());
    assert!(key.contains(&photo.digest) && key.contains(&receipt), "{key}");
    let head = world.aws.s3.head_object().bucket(ARTIFACTS).key(&key).send().await.unwrap();
    assert_eq!(head.content_type(), Some("application/json"));
    let metadata = head.metadata().unwrap();
    assert_eq!(metadata["receipt-id"], receipt);
    assert_eq!(metadata["image-version"], photo.digest);
    assert_eq!(Some(metadata["component"].as_str()), summary["component"].as_str());
}

/// One pass that ends, by force, after the artifact was stored and before the job was settled.
async fn crash_after_storing(world: &World, receipt: &str, photo: &Photo) {
    let app = world.db.connect().await;
    app.batch_execute(&format!("BEGIN; SELECT FROM receipts WHERE id = '{receipt}' FOR UPDATE")).await.unwrap();
    let host = world.run(&["--lease", "1s"]).spawn();
    let key = format!("ocr/{receipt}/{}.detect.json", photo.digest);
    eventually("the artifact", async || world.aws.s3.head_object().bucket(ARTIFACTS).key(&key).send().await.ok()).await;
    host.kill().await;
    // What the host sent last is still being answered: the lock goes when nobody is left who could use it.
    let sessions = "pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'receipt-worker%'";
    eventually("the host's sessions end", async || (world.count(sessions).await == 0).then_some(())).await;
    app.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(world.status_of(receipt).await, "pending");
}

#[tokio::test]
async fn invariant_5_what_was_paid_for_is_not_paid_for_again() {
    let world = World::new().await;
    let (receipt, photo) = world.receipt("a.jpg").await;
    crash_after_storing(&world, &receipt, &photo).await;
    let host = world.run(&["--lease", "1s", "--every", "100ms"]).spawn();
    world.becomes(&receipt, "ocr_done").await;
    host.stop().await.ok();
    assert_eq!(world.textract.calls_by_image()[&photo.digest], 1);
    assert_eq!(world.text("SELECT claims::text FROM receipt_queue", &[]).await, "2");
}

#[tokio::test]
async fn invariant_5_a_replaced_image_is_paid_for_by_itself() {
    let world = World::new().await;
    let (receipt, old) = world.receipt("a.jpg").await;
    crash_after_storing(&world, &receipt, &old).await;
    // The same key, another photo: what the key was stored for is no longer there.
    let new = world.photo("a.jpg").await;
    let host = world.run(&["--lease", "1s", "--every", "100ms"]).spawn();
    world.becomes(&receipt, "ocr_done").await;
    host.stop().await.ok();
    assert!(artifact_key(&world, &receipt).await.contains(&new.digest));
    let calls = world.textract.calls_by_image();
    assert_eq!((calls[&old.digest], calls[&new.digest]), (1, 1));
}

#[tokio::test]
async fn invariant_5_an_artifact_that_is_gone_is_paid_for_again() {
    let world = World::new().await;
    let (receipt, photo) = world.receipt("a.jpg").await;
    world.once().await;
    let key = artifact_key(&world, &receipt).await;
    world.aws.s3.delete_object().bucket(ARTIFACTS).key(&key).send().await.unwrap();
    world.execute("UPDATE receipts SET status = 'pending'").await;
    world.once().await;
    assert_eq!(world.status_of(&receipt).await, "ocr_done");
    assert_eq!(world.textract.calls_by_image()[&photo.digest], 2);
}

#[tokio::test]
async fn invariant_5_a_dead_letter_that_is_retried_keeps_its_artifact() {
    // The parser cannot read this answer: the receipt dies after it was paid for.
    let reader = Reader::Recorded(Recordings::new().with_default(&b"{\"Nothing\": 1}"[..]));
    let world = World::with(WorldSettings { reader: Some(reader), ..Default::default() }).await;
    let (receipt, photo) = world.receipt("a.jpg").await;
    world.once().await;
    assert_eq!(world.status_of(&receipt).await, "ocr_failed");
    world.host().args(["dlq", "retry", &receipt]).run().await.ok();
    world.once().await;
    assert_eq!(world.status_of(&receipt).await, "ocr_failed");
    assert_eq!(world.textract.calls_by_image()[&photo.digest], 1);
}

// 6. A permanent failure is dead at once; a throttled call costs no attempt.

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
    world.textract.faults().always(Fault::error("AccessDeniedException", 400));
    world.receipt("a.jpg").await;
    for pass in 1..=3 {
        let summary = world.run(&["--once"]).env("MAX_ATTEMPTS", "3").run().await.json();
        let expected = if pass < 3 { (0, 1) } else { (1, 0) };
        assert_eq!((&summary["dead"], &summary["retried"]), (&expected.0.into(), &expected.1.into()), "{summary}");
        expire(&world).await;
    }
    let dead = "SELECT concat_ws('|', attempts, error_kind, notes) FROM receipt_queue_dlq";
    assert_eq!(world.text(dead, &[]).await, "3|access-denied|max attempts exceeded");
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
        pump.settle(&job, Outcome::Retry { delay: Duration::ZERO, charge, failure: None }, None).await.unwrap();
        let attempts: i32 = world.client.query_one("SELECT attempts FROM receipt_queue", &[]).await.unwrap().get(0);
        assert_eq!(attempts, if charge { before } else { before - 1 });
    }
    let job = take(&start(&world).await).await;
    assert_eq!(job.attempt, 3);
}
