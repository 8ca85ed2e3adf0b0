//! The app changes its table after `host migrate`: its statements go on, doctor says what no longer agrees, migrate mends it.

use tests::{TestDatabase, World, WorldSettings};

async fn migrated(schema: &str) -> World {
    let db = TestDatabase::empty().await;
    db.connect().await.batch_execute(schema).await.unwrap();
    let world = World::with(WorldSettings { db: Some(db), ..Default::default() }).await;
    world.host().arg("migrate").run().await.ok();
    world
}

/// What doctor says of the schema, where it says that something is wrong.
async fn drift(world: &World) -> Option<String> {
    let lines = world.host().args(["doctor", "--json"]).run().await.json_lines();
    let schema = lines.into_iter().find(|line| line["check"] == "schema").unwrap();
    (schema["ok"] == false).then(|| schema["detail"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn an_id_that_grows_is_followed() {
    for (before, after, value) in [
        ("serial PRIMARY KEY", "bigint", "3000000000"),
        ("smallint PRIMARY KEY", "integer", "70000"),
        ("varchar(4) PRIMARY KEY", "text", "'longer than four'"),
        ("varchar(4) PRIMARY KEY", "varchar(40)", "'longer than four'"),
    ] {
        let what = format!("{before} to {after}");
        let world = migrated(&format!("CREATE TABLE receipts (id {before}, image_url text)")).await;
        world.execute("INSERT INTO receipts (id, image_url) VALUES ('1', 'one.jpg'), ('2', 'two.jpg')").await;
        world.execute("GRANT SELECT ON vw_receipt_queue_failures TO pg_monitor").await;
        // In a session that has used the triggers before, as an app's has.
        world.execute("UPDATE receipts SET image_url = 'uno.jpg' WHERE id = '1'").await;
        world.execute(&format!("ALTER TABLE receipts ALTER COLUMN id TYPE {after}")).await;
        // The app's statements go on, and what can be queued is.
        world.execute("UPDATE receipts SET image_url = 'dos.jpg' WHERE id = '2'").await;
        world.execute("INSERT INTO receipts (id, image_url) VALUES ('3', 'three.jpg')").await;
        let keys = "SELECT string_agg(s3_key, ',' ORDER BY receipt_id) FROM receipt_queue";
        assert_eq!(world.text(keys, &[]).await, "uno.jpg,dos.jpg,three.jpg", "{what}");
        world.execute(&format!("INSERT INTO receipts (id, image_url) VALUES ({value}, 'large.jpg')")).await;
        world.execute("UPDATE receipts SET image_url = 'larger.jpg' WHERE image_url = 'large.jpg'").await;

        let drifted = drift(&world).await.unwrap();
        for named in ["receipt_queue.receipt_id", "receipt_queue_dlq.receipt_id", "host migrate"] {
            assert!(drifted.contains(named), "{what}: {drifted}");
        }
        let log = world.host().arg("migrate").run().await;
        assert!(log.logged_with("migrate.mended", "receipt_queue.receipt_id"), "{}", log.stderr);
        log.ok();
        assert_eq!(drift(&world).await, None, "{what}");
        let log = world.host().arg("migrate").run().await;
        assert!(log.logged("migrate.up_to_date"), "{}", log.stderr);
        let granted = "SELECT has_table_privilege('pg_monitor', 'vw_receipt_queue_failures', 'SELECT')::text";
        assert_eq!(world.text(granted, &[]).await, "true", "what the operator granted on the view stays");

        world.host().arg("reconcile").run().await.ok();
        assert_eq!(world.text(keys, &[]).await.matches("larger.jpg").count(), 1, "{what}");
        world.photo("larger.jpg").await;
        let summary = world.once().await;
        assert_eq!((&summary["processed"], &summary["dead"]), (&1.into(), &3.into()), "{what}: {summary}");
        for name in ["uno.jpg", "dos.jpg", "three.jpg"] {
            world.photo(name).await;
        }
        world.host().args(["dlq", "retry", "--all"]).run().await.ok();
        assert_eq!(world.once().await["processed"], 3, "{what}");
        world.assert_settled(4).await;
    }
}

#[tokio::test]
async fn a_column_that_is_gone_stops_no_statement_of_the_apps() {
    for column in [
        "status",
        "created_at",
        "image_url",
        "s3_key",
        "vendor_text",
        "total_amount",
        "currency",
        "receipt_date",
        "ocr_confidence",
        "ocr_s3_key",
        "ocr_component",
    ] {
        for change in [format!("DROP COLUMN {column}"), format!("RENAME COLUMN {column} TO once_{column}")] {
            let world = World::new().await;
            let place = if column == "image_url" { "s3_key" } else { "image_url" };
            let insert = format!("INSERT INTO receipts ({place}) VALUES ('a.jpg')");
            let update = format!("UPDATE receipts SET {place} = 'b.jpg', user_id = 'me'");
            // In a session that has planned everything, and in a fresh one.
            world.execute(&format!("{insert}; {update}")).await;
            world.execute(&format!("ALTER TABLE receipts {change}")).await;
            world.execute(&format!("{insert}; {update}")).await;
            let fresh = world.db.connect().await;
            fresh
                .batch_execute(&format!("{insert}; {update}; DELETE FROM receipts WHERE user_id IS NULL"))
                .await
                .unwrap();

            let drifted = drift(&world).await.unwrap();
            assert!(drifted.contains(&format!("no column \"{column}\"")), "{change}: {drifted}");
            let log = world.host().arg("migrate").run().await;
            assert!(log.logged_with("migrate.mended", column), "{change}: {}", log.stderr);
            log.ok();
            assert_eq!(drift(&world).await, None, "{change}");
            world.photo("b.jpg").await;
            if column != "status" {
                world.host().arg("reconcile").run().await.ok();
                assert_eq!(world.count("receipt_queue WHERE s3_key = 'b.jpg'").await, 3, "{change}");
            }
            world.execute("INSERT INTO receipts (image_url) VALUES ('b.jpg')").await;
            assert!(world.once().await["processed"].as_i64().unwrap() >= 1, "{change}");
        }
    }
}

#[tokio::test]
async fn a_view_that_is_gone_stops_no_worker_and_is_made_anew() {
    for view in ["vw_receipt_queue_status", "vw_receipt_queue_failures", "vw_receipt_queue_backlog"] {
        let world = World::new().await;
        world.receipt("a.jpg").await;
        world.execute(&format!("DROP VIEW {view}")).await;
        assert_eq!(world.once().await["processed"], 1, "{view}");
        let drifted = drift(&world).await.unwrap();
        assert!(drifted.contains(view) && drifted.contains("host migrate"), "{view}: {drifted}");
        let log = world.host().arg("migrate").run().await;
        assert!(log.logged_with("migrate.mended", view), "{view}: {}", log.stderr);
        log.ok();
        assert_eq!(drift(&world).await, None, "{view}");
        world.host().arg("status").run().await.ok();
    }
}

/// A replaced image is read again, whatever the app has done to the columns that the trigger looks at.
#[tokio::test]
async fn a_replaced_image_is_read_again_after_types_have_changed() {
    let world = World::new().await;
    world.receipt("a.jpg").await;
    world.once().await;
    world.execute("UPDATE receipts SET user_id = 'planned'").await;
    for change in [
        "ALTER COLUMN image_url TYPE varchar(400), ALTER COLUMN vendor_text TYPE varchar(99)",
        "ALTER COLUMN total_amount TYPE double precision, ALTER COLUMN status DROP DEFAULT",
        "DROP COLUMN s3_key",
    ] {
        world.execute(&format!("ALTER TABLE receipts {change}")).await;
        let photo = format!("{}.jpg", change.len());
        world.photo(&photo).await;
        world.execute(&format!("UPDATE receipts SET image_url = '{photo}'")).await;
        assert_eq!(world.text("SELECT status FROM receipts", &[]).await, "pending", "{change}");
        assert_eq!(
            world.text("SELECT coalesce(ocr_component, 'nobody') FROM receipts", &[]).await,
            "nobody",
            "{change}"
        );
        world.host().arg("migrate").run().await.ok();
        world.host().arg("reconcile").run().await.ok();
        assert_eq!(world.once().await["processed"], 1, "{change}");
        // And an edit by hand is one.
        world.execute("UPDATE receipts SET vendor_text = vendor_text || '!'").await;
        assert_eq!(
            world.text("SELECT coalesce(ocr_component, 'nobody') FROM receipts", &[]).await,
            "nobody",
            "{change}"
        );
    }
}

#[tokio::test]
async fn a_type_that_moves_to_another_schema_is_found_again() {
    let db = TestDatabase::empty().await;
    let client = db.connect().await;
    if client
        .batch_execute("CREATE SCHEMA \"Ext 1\"; CREATE SCHEMA ext2; CREATE EXTENSION citext SCHEMA \"Ext 1\"")
        .await
        .is_err()
    {
        // Not every installation of Postgres brings the extensions along.
        return;
    }
    client.batch_execute("CREATE TABLE receipts (id \"Ext 1\".citext PRIMARY KEY, image_url text)").await.unwrap();
    let world = World::with(WorldSettings { db: Some(db), ..Default::default() }).await;
    world.host().arg("migrate").run().await.ok();
    world
        .execute("INSERT INTO receipts (id, image_url) VALUES ('r-1', 'a.jpg'); ALTER EXTENSION citext SET SCHEMA ext2")
        .await;
    world
        .execute(
            "INSERT INTO receipts (id, image_url) VALUES ('r-2', 'a.jpg'); UPDATE receipts SET image_url = 'b.jpg'",
        )
        .await;
    let drifted = drift(&world).await.unwrap();
    assert!(drifted.contains("receipt_queue_put") && drifted.contains("ext2"), "{drifted}");
    world.host().arg("migrate").run().await.ok();
    assert_eq!(drift(&world).await, None);
    world.host().arg("reconcile").run().await.ok();
    world.photo("b.jpg").await;
    assert_eq!(world.once().await["processed"], 2);
}

#[tokio::test]
async fn a_key_of_another_name_is_refused_by_name_and_stops_nobody() {
    let world = World::new().await;
    world.insert("a.jpg").await;
    world.execute("ALTER TABLE receipts RENAME COLUMN id TO receipt_id").await;
    world.execute("INSERT INTO receipts (image_url) VALUES ('b.jpg'); UPDATE receipts SET image_url = 'c.jpg'").await;
    assert!(drift(&world).await.unwrap().contains("no column \"id\""));
    let error = world.host().arg("migrate").run().await.error();
    assert!(error.contains("no column \"id\"") && error.contains("RENAME COLUMN"), "{error}");
    world.execute("ALTER TABLE receipts RENAME COLUMN receipt_id TO id").await;
    world.host().arg("reconcile").run().await.ok();
    assert_eq!(world.text("SELECT string_agg(DISTINCT s3_key, ',') FROM receipt_queue", &[]).await, "c.jpg");
    assert_eq!(world.count("receipt_queue").await, 2);
}

/// An app that waits for no lock is to hear of it, and a trigger that is gone is made again.
#[tokio::test]
async fn what_is_the_apps_to_handle_is_not_kept_from_it() {
    let world = World::new().await;
    let receipt = world.insert("a.jpg").await;
    let other = world.db.connect().await;
    other.batch_execute("BEGIN; SELECT FROM receipt_queue FOR UPDATE").await.unwrap();
    world.execute("SET lock_timeout = '100ms'").await;
    let update = format!("UPDATE receipts SET image_url = 'b.jpg' WHERE id = '{receipt}'");
    let error = world.client.batch_execute(&update).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "55P03");
    other.batch_execute("ROLLBACK").await.unwrap();
    world.execute(&update).await;

    world.execute("DROP TRIGGER receipts_requeue ON receipts").await;
    assert!(drift(&world).await.unwrap().contains("trigger receipts_requeue is gone"));
    world.host().arg("migrate").run().await.ok();
    world.execute("UPDATE receipts SET image_url = 'c.jpg'").await;
    assert_eq!(world.text("SELECT s3_key FROM receipt_queue", &[]).await, "c.jpg");
}

/// A table that was exchanged for another one, or dropped and made anew, took the queue's foreign keys with it.
#[tokio::test]
async fn a_table_that_is_exchanged_or_made_anew_is_followed() {
    const SWAP: &str =
        "CREATE TABLE receipts_new (LIKE receipts INCLUDING ALL); INSERT INTO receipts_new SELECT * FROM receipts
            WHERE image_url <> 'left-behind.jpg';
        ALTER TABLE receipts RENAME TO receipts_old; ALTER TABLE receipts_new RENAME TO receipts";
    const ANEW: &str = "DROP TABLE receipts CASCADE; CREATE TABLE receipts (id bigserial PRIMARY KEY, image_url text)";
    const OF_ANOTHER_TYPE: &str = "DROP TABLE receipts CASCADE; CREATE TABLE receipts (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), image_url text)";
    for (change, kept) in [(SWAP, 2), (ANEW, 0), (OF_ANOTHER_TYPE, 0)] {
        let world = migrated("CREATE TABLE receipts (id bigserial PRIMARY KEY, image_url text)").await;
        world.photo("a.jpg").await;
        for image in ["a.jpg", "gone.jpg", "left-behind.jpg"] {
            world.execute(&format!("INSERT INTO receipts (image_url) VALUES ('{image}')")).await;
        }
        world.once().await;
        world.execute("INSERT INTO receipts (image_url) VALUES ('a.jpg'), ('left-behind.jpg')").await;
        world.execute(change).await;
        let drifted = drift(&world).await.unwrap();
        for table in ["receipt_queue.receipt_id", "receipt_queue_dlq.receipt_id"] {
            assert!(drifted.contains(&format!("{table} does not refer")), "{change}: {drifted}");
        }
        world.host().arg("migrate").run().await.ok();
        assert_eq!(drift(&world).await, None, "{change}");
        assert_eq!((world.count("receipt_queue").await, world.count("receipt_queue_dlq").await), (kept, kept / 2));
        world.execute("INSERT INTO receipts (image_url) VALUES ('a.jpg'), ('a.jpg')").await;
        world.host().args(["dlq", "discard", "--all", "--yes"]).run().await;
        world.once().await;
        assert_eq!(world.count("receipts WHERE status = 'pending'").await, 0, "{change}");
        world.execute("DELETE FROM receipts").await;
        assert_eq!(world.count("receipt_queue").await, 0, "{change}");
    }
}
