//! Claims of whatever stands in the queue: text that is none, times that people write by hand, and receipts that become due
//! again and again.

use host::queue::migrate::migrate;
use tests::{TestDatabase, World, WorldSettings};

use crate::odd_values::ids_of_text;

/// A database with this encoding, migrated.
async fn world_in(encoding: &str) -> World {
    let db = TestDatabase::encoded(encoding).await;
    migrate(&mut db.database().connect().await.unwrap()).await.unwrap();
    World::with(WorldSettings { db: Some(db), ..Default::default() }).await
}

async fn dead(world: &World) -> Vec<(String, String)> {
    let sql = "SELECT receipt_id::text, error_kind || ' ' || error_code FROM receipt_queue_dlq ORDER BY id";
    let rows = world.client.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test]
async fn a_key_that_is_no_text_dies_alone_in_any_encoding() {
    // A byte that means nothing there.
    for (encoding, byte) in [("SQL_ASCII", "e9"), ("WIN1252", "81"), ("WIN1252", "8d")] {
        let world = world_in(encoding).await;
        world.photo("a.jpg").await;
        world.photo("\u{e9}.jpg").await;
        let mut good = vec![world.insert("a.jpg").await, world.insert("\u{e9}.jpg").await];
        let bad = world
            .text(
                &format!(
                    "INSERT INTO receipts (image_url) VALUES (convert_from('\\x{byte}2e6a7067', getdatabaseencoding()))
                     RETURNING id::text"
                ),
                &[],
            )
            .await;
        good.push(world.insert("a.jpg").await);
        let summary = world.once().await;
        assert_eq!((&summary["processed"], &summary["dead"]), (&3.into(), &1.into()), "{encoding}: {summary}");
        for receipt in &good {
            assert_eq!(world.status_of(receipt).await, "ocr_done", "{encoding}");
        }
        assert_eq!(dead(&world).await, [(bad.clone(), "bad-location image.UnreadableKey".to_owned())], "{encoding}");

        let listed = world.host().args(["dlq", "list", "--json"]).run().await.json();
        let key = format!("\\x{byte}.jpg");
        assert_eq!((&listed["receipt_id"], &listed["s3_key"]), (&bad.into(), &key.into()), "{encoding}");
        world.host().args(["dlq", "retry", "--all"]).run().await.ok();
        assert_eq!(world.once().await["dead"], 1, "{encoding}");
    }
}

#[tokio::test]
async fn an_id_that_is_no_text_dies_alone() {
    let world = ids_of_text().await;
    world
        .execute(
            "INSERT INTO receipts (id, image_url) VALUES
                 ('one', 'a.jpg'), (convert_from('\\xe9', 'SQL_ASCII'), 'a.jpg'), ('two', 'a.jpg')",
        )
        .await;
    let summary = world.once().await;
    assert_eq!((&summary["processed"], &summary["dead"]), (&2.into(), &1.into()), "{summary}");
    let listed = world.host().args(["dlq", "list", "--json"]).run().await.json();
    assert_eq!(listed["error_code"], "queue.UnreadableId", "{listed}");
    assert_eq!(listed["receipt_id"], "\\xe9", "{listed}");
}

#[tokio::test]
async fn what_was_due_long_ago_is_worked_whatever_the_calendar() {
    let world = World::new().await;
    let times = ["-infinity", "4713-01-01 BC", "1969-12-31", "1970-01-01", "2000-01-01"];
    for time in times {
        let (receipt, _) = world.receipt(&format!("{time}.jpg")).await;
        let sql = format!("UPDATE receipt_queue SET available_at = '{time}' WHERE receipt_id = '{receipt}'");
        world.execute(&sql).await;
    }
    // So small a capacity that the watermark is used.
    let summary = world.run(&["--once", "--concurrency", "1", "--batch-size", "1"]).run().await.json();
    assert_eq!(summary["processed"], times.len(), "{summary}");
    world.assert_settled(5).await;
}

#[tokio::test]
async fn what_is_parked_is_left_and_named_and_one_pass_ends() {
    let world = World::new().await;
    let receipts = world.receipts(4).await;
    let park = |receipt: &str, time: &str| {
        format!("UPDATE receipt_queue SET available_at = '{time}' WHERE receipt_id = '{receipt}'")
    };
    world.execute(&park(&receipts[0].0, "infinity")).await;
    world.execute(&park(&receipts[1].0, "290000-01-01")).await;
    let summary = world.once().await;
    assert_eq!(summary["processed"], 2, "{summary}");
    assert_eq!(world.status_of(&receipts[0].0).await, "pending");

    let status = world.host().arg("status").run().await.ok();
    assert!(status.contains("1 waiting receipts are parked (available_at is infinity)"), "{status}");
    let status = world.host().args(["status", "--json"]).run().await.json_lines();
    assert!(status.iter().any(|line| line["parked"] == 1), "{status:?}");
    let doctor = world.host().args(["doctor", "--json"]).run().await;
    let parked = doctor.json_lines().into_iter().find(|line| line["check"] == "parked").unwrap();
    assert!(parked["ok"] == true && parked["detail"].as_str().unwrap().contains("1 waiting"), "{parked}");

    world.execute("UPDATE receipt_queue SET available_at = now() WHERE available_at = 'infinity'").await;
    assert_eq!(world.once().await["processed"], 1);
    assert!(!world.host().arg("status").run().await.ok().contains("parked"));
}

#[tokio::test]
async fn one_pass_ends_though_receipts_become_due_again_and_again() {
    for app in [
        "UPDATE receipts SET status = 'pending' WHERE id = NEW.id",
        "INSERT INTO receipts (image_url) VALUES (NEW.image_url)",
    ] {
        let world = World::new().await;
        world
            .execute(&format!(
                "CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN {app}; RETURN NULL; END $$;
                 CREATE TRIGGER again AFTER UPDATE ON receipts FOR EACH ROW
                 WHEN (NEW.status = 'ocr_done' AND OLD.status = 'pending') EXECUTE FUNCTION again()"
            ))
            .await;
        // More than are claimed at once.
        world.receipts(30).await;
        let summary = world.run(&["--once", "--concurrency", "2", "--batch-size", "2"]).run().await.json();
        assert_eq!(summary["processed"], 30, "{app}: {summary}");
        assert_eq!(world.count("receipt_queue WHERE NOT processed AND lease_token IS NULL").await, 30, "{app}");
    }
}
