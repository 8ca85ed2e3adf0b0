//! The row comes first and the photo a moment later, as with apps that upload by a URL that was signed for them.

use tests::{HostCommand, World, eventually, has_event, photo_bytes};

/// A host as it ships: tests have no patience with photos that are not there.
fn host(world: &World, args: &[&str]) -> HostCommand {
    world.run(args).without("WORKER_PHOTO_GRACE")
}

async fn tried(world: &World, receipt: &str) -> String {
    let sql = "SELECT coalesce((
        SELECT string_agg(DISTINCT concat_ws(' ', h ->> 'outcome', h ->> 'kind', h ->> 'code'), ', ')
        FROM receipt_queue q, jsonb_array_elements(q.history) AS h WHERE q.receipt_id::text = $1
    ), '')";
    world.text(sql, &[&receipt]).await
}

/// Waits until its photo was looked for, and not found.
async fn looked_for(world: &World, receipt: &str) {
    let waiting = "uncharged unavailable image.NotThereYet";
    eventually("a first look", async || (tried(world, receipt).await == waiting).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_photo_that_comes_after_its_row_is_read() {
    let world = World::new().await;
    let mut host = host(&world, &["--admin", "off", "--every", "1h"]).spawn();
    host.logged("worker.started").await;
    // More of them than would open the breaker, were they the services' failures.
    let mut late = Vec::new();
    for number in 0..12 {
        late.push(world.insert(&format!("late-{number}.jpg")).await);
    }
    for receipt in &late {
        looked_for(&world, receipt).await;
    }
    let (good, _) = world.receipt("good.jpg").await;
    world.becomes(&good, "ocr_done").await;
    for number in 0..12 {
        world.put(&format!("late-{number}.jpg"), photo_bytes()).await;
    }
    for receipt in &late {
        world.becomes(receipt, "ocr_done").await;
    }
    world.assert_settled(13).await;
    assert_eq!(world.count("receipt_queue WHERE attempts <> 1").await, 0, "somebody was charged");
    assert!(world.textract.calls_by_image().values().all(|calls| *calls == 1));
    let log = host.stop().await.stderr;
    assert!(!has_event(&log, "breaker.opened"), "{log}");
    assert!(has_event(&log, "receipt.photo_awaited"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_photo_that_never_comes_is_not_found_when_its_time_is_over() {
    let world = World::new().await;
    let receipt = world.insert("never.jpg").await;
    let host = host(&world, &["--admin", "off", "--photo-grace", "3s"]).spawn();
    world.becomes(&receipt, "ocr_failed").await;
    let sql =
        "SELECT concat_ws('|', error_kind, error_code, attempts, notes, failed_at - enqueued_at < '1 min'::interval,
            failed_at - enqueued_at >= '3 s'::interval, jsonb_path_query_array(history, '$[0].code')::text)
        FROM receipt_queue_dlq";
    let expected = "not-found|s3.NoSuchKey|1|permanent failure|t|t|[\"image.NotThereYet\"]";
    assert_eq!(world.text(sql, &[]).await, expected);
    host.stop().await.ok();
}

#[tokio::test]
async fn a_row_that_is_no_longer_young_dies_at_once() {
    let world = World::new().await;
    world.insert("never.jpg").await;
    world.execute("UPDATE receipt_queue SET enqueued_at = now() - interval '301 s'").await;
    let summary = host(&world, &["--once"]).run().await.json();
    assert_eq!((&summary["dead"], &summary["retried"]), (&1.into(), &0.into()), "{summary}");
    assert_eq!(world.text("SELECT error_kind FROM receipt_queue_dlq", &[]).await, "not-found");
}

#[tokio::test]
async fn one_pass_leaves_a_photo_that_may_yet_come_to_the_next_one() {
    let world = World::new().await;
    let receipt = world.insert("late.jpg").await;
    world.receipt("good.jpg").await;
    for _ in 0..3 {
        let summary = host(&world, &["--once"]).run().await.json();
        assert_eq!(summary["dead"], 0, "{summary}");
        world.execute("UPDATE receipt_queue SET available_at = now() WHERE NOT processed").await;
    }
    assert_eq!(world.count("receipt_queue WHERE processed").await, 1);
    assert_eq!(world.count("receipt_queue WHERE NOT processed AND attempts = 0 AND lease_token IS NULL").await, 1);
    world.put("late.jpg", photo_bytes()).await;
    host(&world, &["--once"]).run().await.ok();
    assert_eq!(world.status_of(&receipt).await, "ocr_done");
}

/// An image that is replaced and a receipt that is to be read again are as new: the photo may come after the row.
#[tokio::test]
async fn a_row_that_is_queued_anew_is_young_again() {
    let world = World::new().await;
    let (receipt, _) = world.receipt("first.jpg").await;
    world.once().await;
    world.execute("UPDATE receipt_queue SET enqueued_at = now() - interval '1 day'").await;
    world.execute("UPDATE receipts SET image_url = 'second.jpg'").await;
    host(&world, &["--once"]).run().await.ok();
    assert_eq!(world.status_of(&receipt).await, "pending");
    world.put("second.jpg", photo_bytes()).await;
    world.execute("UPDATE receipt_queue SET available_at = now()").await;
    host(&world, &["--once"]).run().await.ok();
    assert_eq!(world.status_of(&receipt).await, "ocr_done");
}
