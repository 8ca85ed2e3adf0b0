//! 5. The artifact is what Textract sent; while it is there, no attempt pays again for that image.

use host::ocr::local::{Reader, Recordings};
use tests::{ARTIFACTS, Photo, World, WorldSettings, eventually};

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
