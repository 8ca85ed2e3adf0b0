//! `host prune`: what it removes, and what it never does.

use tests::World;

/// As if so long ago.
async fn age(world: &World, image: &str, days: u32) {
    world
        .execute(&format!(
            "UPDATE receipt_queue SET
                 enqueued_at = enqueued_at - interval '{days} days', processed_at = processed_at - interval '{days} days'
             WHERE s3_key = '{image}';
             UPDATE receipt_queue_dlq SET failed_at = failed_at - interval '{days} days' WHERE s3_key = '{image}'"
        ))
        .await;
}

async fn left(world: &World) -> String {
    world.text("SELECT coalesce(string_agg(s3_key, ' ' ORDER BY s3_key), '') FROM receipt_queue", &[]).await
}

#[tokio::test]
async fn only_what_was_processed_long_ago_goes() {
    let world = World::new().await;
    for name in ["old.jpg", "new.jpg", "leased.jpg", "nobody.jpg"] {
        world.receipt(name).await;
    }
    world.once().await;
    world.insert("waits.jpg").await;
    for name in ["old.jpg", "leased.jpg", "waits.jpg", "nobody.jpg"] {
        age(&world, name, 40).await;
    }
    // By hand: without a time, and with a lease that somebody still holds.
    world
        .execute(
            "UPDATE receipt_queue SET processed_at = NULL WHERE s3_key = 'nobody.jpg';
             UPDATE receipt_queue SET lease_token = 7 WHERE s3_key = 'leased.jpg'",
        )
        .await;
    let dry = world.host().args(["prune", "--dry-run", "--json"]).run().await.json();
    assert_eq!((&dry["processed"], &dry["dry_run"]), (&2.into(), &true.into()));
    assert_eq!(world.count("receipt_queue").await, 5);
    let said = world.host().args(["prune", "--batch", "1", "--pause", "1ms"]).run().await.ok();
    assert_eq!(said.trim(), "2 processed rows and 0 dead letters removed");
    assert_eq!(left(&world).await, "leased.jpg new.jpg waits.jpg");
    assert_eq!(world.count("receipts").await, 5);
    // The time is a flag, too; less than an hour is none.
    age(&world, "new.jpg", 2).await;
    world.host().args(["prune", "--keep", "1d"]).run().await.ok();
    assert_eq!(left(&world).await, "leased.jpg waits.jpg");
    assert_eq!(world.host().args(["prune", "--keep", "59m"]).run().await.code, Some(2));
}

#[tokio::test]
async fn a_receipt_that_is_pruned_is_read_again_as_ever_and_pays_nothing() {
    let world = World::new().await;
    let (receipt, photo) = world.receipt("a.jpg").await;
    world.once().await;
    let token = "SELECT settled_token::text FROM receipt_queue";
    let before: i64 = world.text(token, &[]).await.parse().unwrap();
    age(&world, "a.jpg", 40).await;
    world.host().arg("prune").run().await.ok();
    assert_eq!(world.count("receipt_queue").await, 0);
    world.execute("UPDATE receipts SET status = 'pending'").await;
    world.once().await;
    assert_eq!(world.status_of(&receipt).await, "ocr_done");
    assert_eq!(world.textract.calls_by_image().get(&photo.digest), Some(&1), "the artifact was there");
    let after: i64 = world.text(token, &[]).await.parse().unwrap();
    assert!(after > before, "a token that was given once is given again: {before}, {after}");
    // Another image is paid for, once.
    age(&world, "a.jpg", 40).await;
    world.host().arg("prune").run().await.ok();
    let new = world.photo("b.jpg").await;
    world.execute("UPDATE receipts SET image_url = 'b.jpg'").await;
    world.once().await;
    assert_eq!(world.textract.calls_by_image().get(&new.digest), Some(&1));
    world.assert_settled(1).await;
}

#[tokio::test]
async fn dead_letters_stay_unless_they_are_meant() {
    let world = World::new().await;
    world.insert("old.jpg").await;
    world.insert("new.jpg").await;
    world.once().await;
    age(&world, "old.jpg", 40).await;
    world.host().arg("prune").run().await.ok();
    assert_eq!(world.count("receipt_queue_dlq").await, 2);
    let pruned = world.host().arg("prune").env("WORKER_PRUNE_DLQ", "30d").arg("--json").run().await.json();
    assert_eq!(pruned["dead_letters"], 1);
    assert_eq!(world.text("SELECT s3_key FROM receipt_queue_dlq", &[]).await, "new.jpg");
    assert_eq!(world.count("receipts WHERE status = 'ocr_failed'").await, 2);
}

/// Beside a person who puts one back into the queue and a host that works.
#[tokio::test]
async fn what_somebody_has_in_hand_is_left() {
    let world = World::new().await;
    for name in ["held.jpg", "free.jpg"] {
        world.receipt(name).await;
    }
    world.once().await;
    age(&world, "held.jpg", 40).await;
    age(&world, "free.jpg", 40).await;
    let person = world.db.connect().await;
    person.batch_execute("BEGIN; UPDATE receipts SET status = 'pending' WHERE image_url = 'held.jpg'").await.unwrap();
    world.host().arg("prune").run().await.ok();
    assert_eq!(left(&world).await, "held.jpg");
    person.batch_execute("COMMIT").await.unwrap();
    world.host().arg("prune").run().await.ok();
    assert_eq!(world.count("receipt_queue WHERE NOT processed").await, 1);
    assert_eq!(world.once().await["processed"], 1);
    assert_eq!(world.count("receipts WHERE status = 'ocr_done'").await, 2);
}
