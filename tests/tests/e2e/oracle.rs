//! The oracle finds what it is there to find: each invariant broken by hand, in SQL, and named. What it says about a good
//! run is nothing.

use tests::oracle::{self, Violation};
use tests::{ARTIFACTS, World, WorldSettings};
use tokio_postgres::Client;

/// One receipt is done, one dead, one waits: `a.jpg`, `nowhere.jpg`, `c.jpg`.
async fn world() -> World {
    let world = World::with(WorldSettings::default()).await;
    oracle::witness(&world.client).await.unwrap();
    world.receipt("a.jpg").await;
    world.insert("nowhere.jpg").await;
    world.once().await;
    oracle::assert_kept(&world, 5).await;
    world.receipt("c.jpg").await;
    world
}

const DONE: &str = "(SELECT id FROM receipts WHERE image_url = 'a.jpg')";
const DEAD: &str = "(SELECT id FROM receipts WHERE image_url = 'nowhere.jpg')";
const WAITS: &str = "(SELECT id FROM receipts WHERE image_url = 'c.jpg')";

/// Past all triggers, as a bug in them would be.
const PAST_TRIGGERS: &str = "SET LOCAL session_replication_role = replica;";

fn named(violations: &[Violation]) -> Vec<(i32, &str)> {
    violations.iter().map(|violation| (violation.invariant, violation.broken.as_str())).collect()
}

/// Breaks something, asks, and takes it back.
async fn broken(client: &Client, sql: &str, when_over: bool) -> Vec<Violation> {
    client.batch_execute(&format!("BEGIN; {sql}")).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let found =
        if when_over { oracle::judge(client, 5).await.unwrap() } else { oracle::look(client, 5).await.unwrap() };
    client.batch_execute("ROLLBACK").await.unwrap();
    found
}

#[tokio::test]
async fn oracle_names_what_is_wrong_at_a_moment() {
    let world = world().await;
    assert_eq!(oracle::look(&world.client, 5).await.unwrap(), []);
    let set = |table: &str, set: &str, column: &str, receipt: &str| {
        format!("{PAST_TRIGGERS} UPDATE {table} SET {set} WHERE {column} = {receipt}")
    };
    let queue = |change: &str, receipt: &str| set("receipt_queue", change, "receipt_id", receipt);
    let receipt = |change: &str, receipt: &str| set("receipts", change, "id", receipt);
    let cases = [
        (1, "it waits and is not queued", format!("{PAST_TRIGGERS} DELETE FROM receipt_queue WHERE NOT processed")),
        (1, "it waits and is not queued", queue("processed = true", WAITS)),
        (1, "it failed and has no dead letter", format!("{PAST_TRIGGERS} DELETE FROM receipt_queue_dlq")),
        (1, "it is done and has a dead letter", receipt("status = 'ocr_done'", DEAD)),
        (
            1,
            "it is queued and has a dead letter",
            set("receipt_queue_dlq", &format!("receipt_id = {DONE}"), "true", "true"),
        ),
        (2, "it is settled and leased", queue("lease_token = 1", DONE)),
        (2, "a lease is settled that is not over", queue("lease_token = 9, settled_token = 9", WAITS)),
        (2, "two leases have one token", set("receipt_queue", "lease_token = 9", "true", "true")),
        (3, "it is done and still queued", queue("processed = false", DONE)),
        (3, "it is done and still queued", receipt("status = 'ocr_done'", WAITS)),
        (6, "it has more attempts than are granted", queue("attempts = 6", WAITS)),
        (6, "it has more attempts than are granted", set("receipt_queue_dlq", "attempts = 6", "true", "true")),
        (6, "it has fewer than no attempts", queue("attempts = -1", WAITS)),
    ];
    for (invariant, what, sql) in cases {
        let found = broken(&world.client, &sql, false).await;
        assert!(named(&found).contains(&(invariant, what)), "{sql}: {found:?}");
    }
}

#[tokio::test]
async fn oracle_names_what_is_wrong_in_the_end() {
    let world = world().await;
    let found = broken(&world.client, "", true).await;
    assert_eq!(named(&found), [(1, "it waits for ever")]);
    assert!(found[0].detail.starts_with("attempts 0 claims 0 leased by nobody"), "{found:?}");
    let found = broken(&world.client, "UPDATE receipts SET ocr_s3_key = NULL", true).await;
    assert!(named(&found).contains(&(5, "it is done by a component and names no artifact")), "{found:?}");
}

#[tokio::test]
async fn oracle_hears_the_witness() {
    let world = world().await;
    // The worker "w" holds the lease 100 on the receipt that waits.
    let leased = format!(
        "UPDATE receipt_queue SET lease_token = 100, leased_by = 'w', attempts = 1 WHERE receipt_id = {WAITS};
         SET LOCAL application_name = 'receipt-worker w';"
    );
    let settle = "UPDATE receipt_queue SET processed = true, lease_token = NULL, leased_by = NULL";
    let write = "UPDATE receipts SET status = 'ocr_done', vendor_text = 'V'";
    let (done, waits) = (format!("receipt_id = {DONE}"), format!("receipt_id = {WAITS}"));
    let good = format!("{leased} {settle}, settled_token = 100 WHERE {waits}; {write} WHERE id = {WAITS};");
    assert_eq!(broken(&world.client, &good, true).await, []);
    let cases = [
        (1, "it was settled twice", format!("{good} UPDATE receipt_queue SET settled_token = 101 WHERE {waits}")),
        (1, "a worker deleted it", format!("{leased} DELETE FROM receipts WHERE id = {WAITS}")),
        (2, "a token did not grow", format!("{leased} UPDATE receipt_queue SET lease_token = 99 WHERE {waits}")),
        (
            2,
            "a lease was settled under another token",
            format!("{leased} {settle}, settled_token = 99 WHERE {waits}; {write} WHERE id = {WAITS}"),
        ),
        (
            2,
            "a lease was settled under another token",
            format!(
                "{leased} DELETE FROM receipt_queue WHERE {waits};
                 INSERT INTO receipt_queue_dlq (receipt_id, error_kind, error_code, error_message, attempts, claims,
                     enqueued_at, settled_token, deaths) VALUES ({WAITS}, '', '', '', 1, 1, now(), 99, 1)"
            ),
        ),
        (
            2,
            "a lease was settled by who did not hold it",
            format!(
                "{leased} SET LOCAL application_name = 'receipt-worker z'; {settle}, settled_token = 100 WHERE {waits}"
            ),
        ),
        (
            2,
            "a lease was renewed by who did not hold it",
            format!(
                "{leased} SET LOCAL application_name = 'receipt-worker z';
                 UPDATE receipt_queue SET available_at = now() + interval '1 hour' WHERE {waits}"
            ),
        ),
        (3, "receipt and queue changed in two transactions", format!("{leased} {write} WHERE id = {WAITS}")),
        (
            4,
            "what a person wrote was overwritten",
            format!("UPDATE receipts SET vendor_text = 'by hand' WHERE id = {WAITS}; {good}"),
        ),
        (
            4,
            "what a person wrote was overwritten",
            format!(
                "UPDATE receipts SET vendor_text = 'by hand' WHERE id = {DONE};
                 SET LOCAL application_name = 'receipt-worker w';
                 UPDATE receipt_queue SET settled_token = 7 WHERE {done}; {write} WHERE id = {DONE}"
            ),
        ),
    ];
    for (invariant, what, sql) in cases {
        let found = broken(&world.client, &sql, true).await;
        assert!(named(&found).contains(&(invariant, what)), "{sql}: {found:?}");
    }
}

#[tokio::test]
async fn oracle_reads_the_artifacts() {
    let world = world().await;
    let key = world.text("SELECT ocr_s3_key FROM receipts WHERE ocr_s3_key IS NOT NULL", &[]).await;
    let found = async || {
        let found = oracle::judge_artifacts(&world.client, &world.aws.s3, &world.textract).await.unwrap();
        found.into_iter().map(|violation| violation.broken).collect::<Vec<_>>()
    };
    assert!(found().await.is_empty());
    world.execute("UPDATE receipt_queue SET claims = 0").await;
    assert_eq!(found().await, ["its image was paid for more often than it was claimed"]);
    world.execute("UPDATE receipt_queue SET claims = 1").await;
    let put = world.aws.s3.put_object().bucket(ARTIFACTS).key(&key).body(b"{}".to_vec().into());
    put.send().await.unwrap();
    assert_eq!(found().await, ["its artifact is not what was sent"]);
    world.aws.s3.delete_object().bucket(ARTIFACTS).key(&key).send().await.unwrap();
    assert_eq!(found().await, ["its artifact is missing"]);
    world.execute("UPDATE receipts SET ocr_s3_key = 'ocr/another/abc.detect.json' WHERE ocr_s3_key IS NOT NULL").await;
    assert_eq!(found().await, ["its artifact is another's"]);
}
