//! One bad thing beside good ones: a slow trigger, a row that somebody holds, a result that the database does not take.

use tests::{TestDatabase, World, WorldSettings, eventually};

/// A world whose app has a trigger with this body on each update of a receipt.
async fn world(trigger: &str) -> World {
    let db = TestDatabase::empty().await;
    let schema = format!(
        "CREATE TABLE receipts (id bigserial PRIMARY KEY, image_url text, status text NOT NULL DEFAULT 'pending',
            account integer NOT NULL DEFAULT 0);
         CREATE TABLE accounts (id integer PRIMARY KEY, receipts integer NOT NULL DEFAULT 0);
         INSERT INTO accounts SELECT n FROM generate_series(0, 40) n;
         CREATE FUNCTION app() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {trigger} RETURN NEW; END $$;
         CREATE TRIGGER app BEFORE UPDATE ON receipts FOR EACH ROW EXECUTE FUNCTION app()"
    );
    db.connect().await.batch_execute(&schema).await.unwrap();
    let world = World::with(WorldSettings { db: Some(db), ..Default::default() }).await;
    world.host().arg("migrate").run().await.ok();
    world.photo("a.jpg").await;
    world
}

async fn limit_statements(world: &World, limit: &str) {
    let name = world.text("SELECT current_database()::text", &[]).await;
    world.execute(&format!("ALTER DATABASE {name} SET statement_timeout = '{limit}'")).await;
}

/// The batch was repeated whole for ever, and restarts made dead letters of healthy receipts.
#[tokio::test]
async fn a_trigger_that_takes_its_time_slows_and_kills_nobody() {
    let world = world("PERFORM pg_sleep(0.7);").await;
    limit_statements(&world, "2s").await;
    world.execute("INSERT INTO receipts (image_url) SELECT 'a.jpg' FROM generate_series(1, 12)").await;
    // Restarted in the middle, again and again.
    for _ in 0..2 {
        let host = world.run(&["--every", "1s", "--concurrency", "12", "--drain-timeout", "1s"]).spawn();
        let before = world.count("receipts WHERE status = 'ocr_done'").await;
        eventually("some are done", async || {
            (world.count("receipts WHERE status = 'ocr_done'").await > before).then_some(())
        })
        .await;
        host.stop().await.ok();
        assert_eq!(world.count("receipt_queue WHERE NOT processed AND attempts > 0").await, 0, "charged by a stop");
    }
    let host = world.run(&["--every", "1s", "--concurrency", "12"]).spawn();
    eventually("all are done", async || (world.count("receipts WHERE status = 'ocr_done'").await == 12).then_some(()))
        .await;
    host.stop().await.ok();
    world.assert_settled(12).await;
    assert_eq!(world.count("receipt_queue WHERE attempts > 1").await, 0);
}

/// What a trigger waits for is somebody else's lock, and not the receipt's: nothing skips it.
#[tokio::test]
async fn a_row_that_a_trigger_waits_for_holds_up_no_other_and_says_why() {
    let world = world("UPDATE accounts SET receipts = receipts + 1 WHERE id = NEW.account;").await;
    let holder = world.db.connect().await;
    holder.batch_execute("BEGIN; SELECT FROM accounts WHERE id = 7 FOR UPDATE").await.unwrap();
    world.execute("INSERT INTO receipts (image_url, account) SELECT 'a.jpg', n FROM generate_series(1, 34) n").await;
    let mut host = world.run(&["--every", "1h", "--concurrency", "8"]).spawn();
    eventually("the others", async || (world.count("receipts WHERE status = 'ocr_done'").await == 33).then_some(()))
        .await;
    host.logged("settle.put_off").await;
    let why = "receipts r JOIN receipt_queue q ON q.receipt_id = r.id WHERE r.account = 7 AND r.status = 'pending'
        AND q.last_error_code = 'queue.SettleTimedOut' AND q.attempts = 0";
    eventually("the reason", async || (world.count(why).await == 1).then_some(())).await;
    // It holds up nobody when it comes again, either.
    world.execute("UPDATE receipt_queue SET available_at = now() WHERE NOT processed").await;
    world.execute("INSERT INTO receipts (image_url, account) SELECT 'a.jpg', 0 FROM generate_series(1, 5) n").await;
    eventually("more", async || (world.count("receipts WHERE status = 'ocr_done'").await == 38).then_some(())).await;
    holder.batch_execute("COMMIT").await.unwrap();
    eventually("the last one", async || {
        world
            .execute("UPDATE receipt_queue SET available_at = now() WHERE NOT processed AND lease_token IS NULL")
            .await;
        world.execute("SELECT pg_notify('receipt_channel', '')").await;
        (world.count("receipts WHERE status = 'ocr_done'").await == 39).then_some(())
    })
    .await;
    host.stop().await.ok();
    world.assert_settled(39).await;
    assert_eq!(world.count("receipt_queue_dlq").await, 0);
}

/// Whatever a batch fails with, its good ones are committed and its bad ones say why.
#[tokio::test]
async fn what_fails_together_is_tried_in_parts() {
    for (trigger, code) in [
        ("RAISE EXCEPTION 'over the budget';", "queue.ResultRefused"),
        ("PERFORM 1 / 0;", "queue.ResultRefused"),
        ("RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = 'not yours';", "queue.ResultRefused"),
        ("RAISE EXCEPTION USING ERRCODE = '22021', MESSAGE = 'no such character';", "queue.ResultRefused"),
        ("RETURN NULL;", "queue.NotWritten"),
    ] {
        let world = world(&format!("IF NEW.account IN (5, 20) THEN {trigger} END IF;")).await;
        world
            .execute("INSERT INTO receipts (image_url, account) SELECT 'a.jpg', n FROM generate_series(1, 24) n")
            .await;
        world.run(&["--once", "--concurrency", "24", "--batch-size", "1"]).run().await;
        let done = world.count("receipts WHERE status = 'ocr_done'").await;
        assert_eq!(done, 22, "{trigger}");
        let why = format!(
            "receipts r JOIN receipt_queue q ON q.receipt_id = r.id
             WHERE r.account IN (5, 20) AND q.last_error_code = '{code}' AND q.attempts = 0 AND NOT q.processed"
        );
        assert_eq!(world.count(&why).await, 2, "{trigger}");
    }
}

/// An app's trigger may refuse a receipt by whatever code it likes: the receipt ends, and the others go on.
#[tokio::test]
async fn what_an_app_refuses_by_whatever_code_is_that_receipts_dead_letter() {
    for code in ["P0001", "PT400", "42501", "55000", "53400", "58000", "08001"] {
        let raise = format!("RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = 'closed for accounting';");
        let world = world(&format!("IF NEW.account IN (5, 20) AND NEW.status = 'ocr_done' THEN {raise} END IF;")).await;
        let host = world.run(&["--every", "200ms", "--concurrency", "24", "--batch-size", "1"]).spawn();
        // Where no result was ever taken, it may be the table that refuses them all: then it is waited.
        world.execute("INSERT INTO receipts (image_url, account) VALUES ('a.jpg', 0)").await;
        eventually("a result is taken", async || {
            (world.count("receipts WHERE status = 'ocr_done'").await == 1).then_some(())
        })
        .await;
        world
            .execute("INSERT INTO receipts (image_url, account) SELECT 'a.jpg', n FROM generate_series(1, 24) n")
            .await;
        eventually("all end", async || (world.count("receipts WHERE status = 'pending'").await == 0).then_some(()))
            .await;
        host.stop().await.ok();
        assert_eq!(world.count("receipts WHERE status = 'ocr_done'").await, 23, "{code}");
        world.assert_settled(25).await;
        let why = "receipts r JOIN receipt_queue_dlq d ON d.receipt_id = r.id WHERE r.account IN (5, 20)
            AND d.error_code = 'queue.ResultRefused' AND d.error_message LIKE '%closed for accounting%'";
        assert_eq!(world.count(why).await, 2, "{code}");
    }
}

/// What an app's trigger says would pass, and does not, and what it asks of another server that is not there, is that
/// receipt's own waiting.
#[tokio::test]
async fn what_passes_for_all_but_one_is_put_off_with_its_reason() {
    for (trigger, code) in [
        ("RAISE EXCEPTION USING ERRCODE = '40001', MESSAGE = 'try again';", "queue.SettleFailed"),
        ("PERFORM dblink('host=127.0.0.1 port=1', 'SELECT 1');", "queue.ResultRefused"),
    ] {
        let world = world(&format!("IF NEW.account = 5 THEN {trigger} END IF;")).await;
        if trigger.contains("dblink") && world.client.batch_execute("CREATE EXTENSION dblink").await.is_err() {
            // Not every installation of Postgres brings the extensions along.
            continue;
        }
        world
            .execute("INSERT INTO receipts (image_url, account) SELECT 'a.jpg', n FROM generate_series(1, 24) n")
            .await;
        let host = world.run(&["--every", "1h", "--concurrency", "24", "--batch-size", "1"]).spawn();
        eventually("the others are done", async || {
            (world.count("receipts WHERE status = 'ocr_done'").await == 23).then_some(())
        })
        .await;
        let why = format!(
            "receipts r JOIN receipt_queue q ON q.receipt_id = r.id WHERE r.account = 5 AND r.status = 'pending'
             AND q.last_error_code = '{code}' AND q.attempts = 0 AND q.available_at > now()"
        );
        // It waits for nobody, and others are written beside it.
        eventually("the reason", async || {
            world.execute("INSERT INTO receipts (image_url) VALUES ('a.jpg')").await;
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            (world.count(&why).await == 1).then_some(())
        })
        .await;
        host.stop().await.ok();
        assert_eq!(world.count("receipts WHERE status = 'pending' AND account = 5").await, 1);
        assert_eq!(world.count("receipt_queue WHERE attempts > 1").await, 0, "{trigger}");
    }
}
