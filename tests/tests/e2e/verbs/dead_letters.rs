//! `host dlq`.

use serde_json::json;
use tests::World;

#[tokio::test]
async fn dead_letters_are_listed_shown_retried_and_discarded() {
    let world = World::new().await;
    let dead = [world.insert("one.jpg").await, world.insert("two.jpg").await, world.insert("three.jpg").await];
    world.once().await;
    let dlq = |args: &[&str]| world.host().arg("dlq").args(args);

    let listed = dlq(&["list", "--json"]).run().await.json_lines();
    assert_eq!(listed.len(), 3);
    assert_eq!(dlq(&["list", "--json", "--limit", "2"]).run().await.json_lines().len(), 2);
    let table = dlq(&["list"]).run().await.ok();
    assert!(dead.iter().all(|id| table.contains(id.as_str())) && table.contains("not-found"), "{table}");

    let letter = dlq(&["show", &dead[0], "--json"]).run().await.json();
    for (field, expected) in [
        ("receipt_id", json!(dead[0])),
        ("s3_key", json!("one.jpg")),
        ("error_kind", json!("not-found")),
        ("error_code", json!("s3.NoSuchKey")),
        ("attempts", json!(1)),
        ("deaths", json!(1)),
        ("notes", json!("permanent failure")),
    ] {
        assert_eq!(letter[field], expected, "{letter}");
    }
    assert_eq!(letter["component"].as_str().map(str::len), Some(64));
    assert!(dlq(&["show", &dead[0]]).run().await.ok().contains("s3.NoSuchKey"));

    // Retried: fresh attempts, and a memory of having been dead.
    world.photo("one.jpg").await;
    assert_eq!(dlq(&["retry", &dead[0]]).run().await.ok().trim(), dead[0]);
    assert_eq!(world.status_of(&dead[0]).await, "pending");
    let row = format!(
        "SELECT concat_ws('|', attempts, deaths, processed) FROM receipt_queue WHERE receipt_id = '{}'",
        dead[0]
    );
    assert_eq!(world.text(&row, &[]).await, "0|1|f");
    assert_eq!(dlq(&["retry", &dead[1]]).run().await.ok().trim(), dead[1]);
    world.once().await;
    assert_eq!(world.status_of(&dead[0]).await, "ocr_done");
    let letter = dlq(&["show", &dead[1], "--json"]).run().await.json();
    assert_eq!((&letter["deaths"], &letter["attempts"]), (&json!(2), &json!(1)));
    assert!(letter["notes"].as_str().unwrap().contains("was dead 1 time"), "{letter}");
    world.assert_settled(3).await;

    // What is not dead cannot be retried, and is named.
    let error = dlq(&["retry", &dead[0], "no-such-receipt"]).run().await.error();
    assert!(error.contains(&dead[0]) && error.contains("no-such-receipt"), "{error}");
    assert!(dlq(&["show", &dead[0]]).run().await.error().contains("no dead letter"));

    // Discarding asks; without a terminal the answer is no.
    assert!(dlq(&["discard", &dead[2]]).run().await.error().contains("--yes"));
    assert_eq!(world.count("receipt_queue_dlq").await, 2);
    assert_eq!(dlq(&["discard", &dead[2], "--yes"]).run().await.ok().trim(), dead[2]);
    assert_eq!(world.status_of(&dead[2]).await, "ocr_failed");
    dlq(&["discard", "--all", "--yes"]).run().await.ok();
    assert_eq!(world.count("receipt_queue_dlq").await, 0);
    assert_eq!(dlq(&["list", "--json"]).run().await.ok(), "");
}

#[tokio::test]
async fn all_dead_letters_are_retried_at_once() {
    let world = World::new().await;
    for number in 0..5 {
        world.insert(&format!("{number}.jpg")).await;
    }
    world.once().await;
    for number in 0..5 {
        world.photo(&format!("{number}.jpg")).await;
    }
    assert_eq!(world.host().args(["dlq", "retry", "--all"]).run().await.ok().lines().count(), 5);
    world.once().await;
    assert_eq!(world.count("receipts WHERE status = 'ocr_done'").await, 5);
    world.assert_settled(5).await;
    assert_eq!(world.host().args(["dlq", "retry", "--all"]).run().await.ok(), "");
}
