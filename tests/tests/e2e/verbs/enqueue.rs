//! `host enqueue` and `host status`.

use host::ocr::local::Fault;
use serde_json::{Value, json};
use tests::{World, photo_bytes};

use super::write;

#[tokio::test]
async fn enqueue_uploads_inserts_waits_and_shows() {
    let world = World::new().await;
    let one = write(world.dir(), "my photo.jpg", photo_bytes());
    let two = write(world.dir(), "two.jpg", photo_bytes());
    let worker = world.run(&["--every", "1h"]).spawn();
    let finished =
        world.host().arg("enqueue").arg(&one).arg(&two).args(["--wait", "--json", "--user-id", "me"]).run().await;
    let rows = finished.json_lines();
    finished.ok();
    assert_eq!(rows.len(), 2);
    for row in &rows {
        assert_eq!(row["status"], "ocr_done");
        assert_eq!((&row["vendor"], &row["total"]), (&json!("Blue Bottle Cafe"), &json!("4.50")));
        assert_eq!(world.status_of(row["receipt_id"].as_str().unwrap()).await, "ocr_done");
    }
    assert_eq!(world.count("receipts WHERE user_id = 'me'").await, 2);

    let finished =
        world.host().arg("enqueue").arg(write(world.dir(), "three.jpg", photo_bytes())).arg("--wait").run().await;
    let table = finished.ok();
    for word in ["three.jpg", "Blue Bottle Cafe", "4.50", "ocr_done"] {
        assert!(table.contains(word), "{table}");
    }
    worker.stop().await.ok();
}

#[tokio::test]
async fn enqueue_without_waiting_leaves_it_to_the_worker() {
    let world = World::new().await;
    let photo = write(world.dir(), "a.jpg", photo_bytes());
    let rows = world.host().arg("enqueue").arg(&photo).arg("--json").run().await.json();
    assert_eq!(rows["status"], "pending");
    assert_eq!(world.count("receipt_queue WHERE NOT processed").await, 1);
}

#[tokio::test]
async fn enqueue_says_what_died_and_fails() {
    let world = World::new().await;
    world.textract.faults().always(Fault::error("BadDocumentException", 400));
    let photo = write(world.dir(), "a.jpg", photo_bytes());
    let worker = world.run(&["--every", "1h"]).spawn();
    let finished = world.host().arg("enqueue").arg(&photo).args(["--wait", "--json"]).run().await;
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    let row = &finished.json_lines()[0];
    assert_eq!(row["status"], "ocr_failed");
    assert!(row["error"].as_str().unwrap().contains("BadDocumentException"), "{row}");
    worker.stop().await.ok();
}

#[tokio::test]
async fn enqueue_gives_up_waiting_when_nobody_works() {
    let world = World::new().await;
    let photo = write(world.dir(), "a.jpg", photo_bytes());
    let finished = world.host().arg("enqueue").arg(&photo).args(["--wait", "--timeout", "100ms", "--json"]).run().await;
    assert_eq!(finished.code, Some(1));
    assert!(finished.logged("enqueue.timed_out"), "{}", finished.stderr);
    assert_eq!(finished.json_lines()[0]["status"], "pending");
}

#[tokio::test]
async fn enqueue_looks_at_every_file_before_it_sends_one() {
    let world = World::new().await;
    let good = write(world.dir(), "good.jpg", photo_bytes());
    let empty = write(world.dir(), "empty.jpg", b"");
    for bad in [empty, world.dir().join("missing.jpg")] {
        let error = world.host().arg("enqueue").args([&good, &bad]).run().await.error();
        assert!(error.contains(&*bad.file_name().unwrap().to_string_lossy()), "{error}");
    }
    assert_eq!(world.count("receipts").await, 0);
}

#[tokio::test]
async fn status_shows_the_view() {
    let world = World::new().await;
    world.receipts(2).await;
    world.insert("nowhere.jpg").await;
    world.once().await;
    world.receipt("waits.jpg").await;
    let finished = world.host().args(["status", "--json"]).run().await;
    let counts: Vec<(Value, Value)> =
        finished.json_lines().into_iter().map(|row| (row["status"].clone(), row["count"].clone())).collect();
    assert_eq!(counts, [(json!("pending"), json!(1)), (json!("processed"), json!(2)), (json!("dlq"), json!(1))]);
    let table = world.host().arg("status").run().await.ok();
    for word in ["status", "count", "pending", "processed", "dlq"] {
        assert!(table.contains(word), "{table}");
    }
}
