//! Receipts on which the component breaks, among others on which it does not.

use crate::breaker::admin;
use host::ocr::local::{Reader, Recordings};
use host::storage::digest_of;
use tests::{World, WorldSettings, answer, candidates, eventually, photo_bytes};

/// What a poisonous receipt does to [`candidates::poisoned`], and what its dead letter says.
const POISONS: [(&str, &str, &str, &str); 3] = [
    ("POISON TRAP", "internal", "component.Trap", "unreachable"),
    ("POISON LOOP", "limit-exceeded", "component.Limit", "--deadline"),
    ("POISON MEMORY", "limit-exceeded", "component.Limit", "--max-memory"),
];

/// A world whose Textract reads these vendors from these photos, and another one from all others.
pub(crate) async fn world(vendors: &[(&str, &[u8])]) -> World {
    let usual = answer("Blue Bottle Cafe", "4.50", "2024-03-15");
    let recordings = vendors.iter().fold(Recordings::new().with_default(usual), |recordings, (vendor, photo)| {
        recordings.with_image(digest_of(photo), answer(vendor, "6.66", "2024-03-15"))
    });
    World::with(WorldSettings { reader: Some(Reader::Recorded(recordings)), ..Default::default() }).await
}

/// The component in a file.
pub(crate) fn component(world: &World, bytes: &[u8]) -> String {
    let file = world.dir().join("worker.wasm");
    let new = file.with_extension("new");
    std::fs::write(&new, bytes).unwrap();
    std::fs::rename(new, &file).unwrap();
    file.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poisonous_receipt_dies_alone_with_what_happened() {
    let photos: Vec<Vec<u8>> = POISONS.iter().map(|_| photo_bytes()).collect();
    let poisons: Vec<_> = POISONS.iter().zip(&photos).map(|(poison, photo)| (poison.0, photo.as_slice())).collect();
    let world = world(&poisons).await;
    let mut dead = Vec::new();
    for (number, photo) in photos.iter().enumerate() {
        world.receipts_from(number * 50, 50).await;
        let name = format!("poison-{number}.jpg");
        world.put(&name, photo.clone()).await;
        dead.push(world.insert(&name).await);
    }
    world.receipts_from(150, 50).await;

    let poisoned = candidates::poisoned();
    let host = world.run(&["--max-attempts", "3", "--deadline", "2s", "--admin", "off", "--every", "500ms"]);
    let host = host.arg("--component").arg(component(&world, &poisoned)).spawn();
    eventually("200 are done", async || {
        (world.count("receipts WHERE status::text = 'ocr_done'").await == 200).then_some(())
    })
    .await;
    let (spent, all) = ("SELECT coalesce(max(attempts), 0)::text FROM receipt_queue WHERE processed", &[]);
    assert_eq!(world.text(spent, all).await, "1", "a neighbour was charged");
    eventually("three are dead", async || {
        // Nobody waits for the backoff.
        world
            .execute(
                "UPDATE receipt_queue SET available_at = now()
                 WHERE NOT processed AND lease_token IS NULL AND available_at > now()",
            )
            .await;
        (world.count("receipt_queue_dlq").await == 3).then_some(())
    })
    .await;
    world.assert_settled(203).await;

    for (receipt, (poison, kind, code, says)) in dead.iter().zip(POISONS) {
        let row = world
            .client
            .query_one(
                "SELECT error_kind, error_code, error_message, component, attempts, notes,
                     jsonb_path_query_array(history, '$[*].outcome')::text,
                     jsonb_path_query_array(history, '$[*].attempt')::text
                 FROM receipt_queue_dlq WHERE receipt_id::text = $1",
                &[receipt],
            )
            .await
            .unwrap();
        let text = |column: usize| row.get::<_, String>(column);
        assert_eq!((text(0), text(1)), (kind.to_owned(), code.to_owned()), "{poison}");
        assert!(text(2).contains(says), "{poison}: {}", text(2));
        assert_eq!(text(3), digest_of(&poisoned), "{poison}");
        assert_eq!((row.get::<_, i32>(4), text(5)), (3, "max attempts exceeded".to_owned()), "{poison}");
        assert_eq!(text(6), r#"["retry", "retry", "dead-letter"]"#, "{poison}");
        assert_eq!(text(7), "[1, 2, 3]", "{poison}");
    }
    // Not one page was paid for twice, the poisonous ones included: their OCR was stored before they were read.
    assert!(world.textract.calls_by_image().values().all(|calls| *calls == 1));
    let log = host.stop().await.stderr;
    // So few among so many are no reason to stop.
    assert!(!tests::has_event(&log, "breaker.opened"), "{log}");
}

/// A run that traps says nothing of what it did before; its commits do.
#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_counted_as_they_were_committed() {
    let poison = photo_bytes();
    let world = world(&[("POISON TRAP", poison.as_slice())]).await;
    world.receipts(5).await;
    world.put("poison.jpg", poison).await;
    world.insert("poison.jpg").await;
    let poisoned = candidates::poisoned();
    let host = world
        .run(&["--concurrency", "1", "--batch-size", "10", "--max-attempts", "1", "--every", "500ms"])
        .env("WORKER_ADMIN", "127.0.0.1:0")
        .env("NO_COLOR", "1")
        .arg("--component")
        .arg(component(&world, &poisoned))
        .spawn();
    eventually("all have ended", async || {
        (world.count("receipts WHERE status::text = 'pending'").await == 0).then_some(())
    })
    .await;
    let digest = digest_of(&poisoned);
    let metrics = eventually("the count of the last one", async || {
        let metrics = admin(&world, &host, "/metrics").await;
        metrics.contains("outcome=\"dead\"} 1").then_some(metrics)
    })
    .await;
    for (outcome, count) in [("processed", 5), ("dead", 1)] {
        let line =
            format!("receipt_worker_jobs_total{{component=\"{}\",outcome=\"{outcome}\"}} {count}", &digest[..12]);
        assert!(metrics.lines().any(|found| found == line), "{line}:\n{metrics}");
    }
    host.stop().await.ok();
}
