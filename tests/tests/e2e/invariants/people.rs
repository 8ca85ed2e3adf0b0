//! 4. A receipt that a person edited or deleted meanwhile is not overwritten.

use std::time::Duration;

use host::ocr::local::Fault;
use tests::{World, eventually};

use crate::pump::{claimed, complete};

const COMPLETE: &str = include_str!("../../../../host/src/queue/sql/complete.sql");

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
    // A settle that is held up between its snapshot and its work: the function waits for a lock of ours. It must be called by
    // the statement itself, so it is put into its text: whatever EXECUTE is given is computed before.
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
    assert!(finished.logged_with("worker.stopped", "lost=1"), "{}", finished.stderr);
    finished.ok();
    world.assert_settled(1).await;
}
