//! Connections that go silent without an end: nothing is answered, nothing is closed.

use std::time::Duration;

use host::ocr::local::Fault;
use tests::{World, eventually, has_event, has_event_with};

use crate::forwarder::Forwarder;

/// Of what one host claims at once, and a few more for the other.
const RECEIPTS: i64 = 12;

#[tokio::test]
async fn connections_that_go_silent_cost_no_lease() {
    let world = World::new().await;
    for number in 1..=2 * RECEIPTS {
        world.photo(&format!("{number}.jpg")).await;
    }
    let insert = async |from: i64, to: i64| {
        let sql =
            "INSERT INTO receipts (image_url) SELECT n || '.jpg' FROM generate_series($1::bigint, $2::bigint) AS n";
        world.client.execute(sql, &[&from, &to]).await.unwrap();
    };
    let forwarder = Forwarder::before(world.db.url()).await;
    // One attempt each: a receipt whose lease ran out is dead.
    let settings =
        ["--every", "200ms", "--lease", "12s", "--max-attempts", "1", "--concurrency", "4", "--admin", "off"];
    let settings = [&settings[..], &["--statement-timeout", "3s"]].concat();
    // In hand for longer than a lease, and settled when the connections have long been silent.
    world.textract.faults().always(Fault::Held);
    let mut host = world.run(&settings).env("DATABASE_URL", forwarder.url(world.db.url())).spawn();
    host.logged("worker.started").await;
    insert(1, RECEIPTS).await;
    eventually("what there is room for is claimed", async || {
        (world.count("receipt_queue WHERE lease_token IS NOT NULL").await >= 4).then_some(())
    })
    .await;
    let other = world.run(&settings).spawn();
    forwarder.silence();
    let since = "SELECT (max(available_at) > now())::text FROM receipt_queue WHERE NOT processed";
    tokio::time::sleep(Duration::from_secs(18)).await;
    assert_eq!(world.text(since, &[]).await, "true", "leases are kept:\n{}", host.log());
    insert(RECEIPTS + 1, 2 * RECEIPTS).await;
    world.textract.faults().clear();
    eventually("all are done", async || {
        (world.count("receipts WHERE status = 'ocr_done'").await == 2 * RECEIPTS).then_some(())
    })
    .await;
    assert_eq!(world.count("receipt_queue WHERE attempts = 1").await, 2 * RECEIPTS);
    let calls = world.textract.calls_by_image();
    assert!(calls.values().all(|calls| *calls == 1), "{calls:?}");
    let log = host.log();
    assert!(
        has_event_with(&log, "queue.reachable", "what=\"renew leases\"") && !has_event(&log, "lease.lost"),
        "{log}"
    );
    host.stop().await.ok();
    other.stop().await.ok();
}
