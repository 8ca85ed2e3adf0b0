//! Settling next to an app that locks, deletes and refuses, and over connections that break.

use host::ocr::local::{Fault, Reader, Recordings, sha256};
use tests::{TestDatabase, World, WorldSettings, answer, eventually, photo_bytes};

#[tokio::test]
async fn a_receipt_that_is_locked_holds_up_no_other_and_is_settled_afterwards() {
    let world = World::new().await;
    let receipts = world.receipts(8).await;
    let (locked, _) = &receipts[3];
    let app = world.db.connect().await;
    app.batch_execute(&format!("BEGIN; UPDATE receipts SET user_id = 'busy' WHERE id = '{locked}'")).await.unwrap();
    let host = world.run(&["--every", "1h", "--concurrency", "2"]).spawn();
    eventually("the others", async || (world.count("receipts WHERE status = 'ocr_done'").await == 7).then_some(()))
        .await;
    assert_eq!(world.status_of(locked).await, "pending");
    app.batch_execute("COMMIT").await.unwrap();
    world.becomes(locked, "ocr_done").await;
    host.stop().await.ok();
    world.assert_settled(8).await;
    assert_eq!(world.textract.calls(), 8);
}

/// A world where one photo's answer is unlike the others'.
async fn with_one_odd_answer(schema: &str, odd: Vec<u8>) -> World {
    let db = TestDatabase::empty().await;
    db.connect().await.batch_execute(schema).await.unwrap();
    let photo = photo_bytes();
    let recordings =
        Recordings::new().with_default(answer("Cafe", "4.50", "2024-03-15")).with_image(sha256(&photo), odd);
    let reader = Some(Reader::Recorded(recordings));
    let world = World::with(WorldSettings { db: Some(db), reader }).await;
    world.host().arg("migrate").run().await.ok();
    world.put("odd.jpg", photo).await;
    world.photo("usual.jpg").await;
    world
        .execute(
            "INSERT INTO receipts (image_url)
             SELECT CASE n WHEN 4 THEN 'odd.jpg' ELSE 'usual.jpg' END FROM generate_series(1, 9) n",
        )
        .await;
    world
}

const RECEIPTS: &str = "id uuid PRIMARY KEY DEFAULT gen_random_uuid(), image_url text,
    status text NOT NULL DEFAULT 'pending'";

async fn assert_one_refused(world: &World, reason: &str) {
    let summary = world.once().await;
    assert_eq!((&summary["processed"], &summary["dead"]), (&8.into(), &1.into()), "{summary}");
    world.assert_settled(9).await;
    assert_eq!(world.count("receipts WHERE image_url = 'odd.jpg' AND status = 'ocr_failed'").await, 1);
    let dead = "SELECT concat_ws('|', error_code, notes, error_message) FROM receipt_queue_dlq";
    let dead = world.text(dead, &[]).await;
    assert!(dead.starts_with("queue.ResultRefused|the database refused the result|"), "{dead}");
    assert!(dead.contains(reason), "{dead}");
}

#[tokio::test]
async fn a_vendor_too_long_for_the_apps_column_spoils_nothing_else() {
    let schema = format!("CREATE TABLE receipts ({RECEIPTS}, vendor_text varchar(5))");
    let world = with_one_odd_answer(&schema, answer("Longer Than Five", "4.50", "2024-03-15")).await;
    assert_one_refused(&world, "too long").await;
}

#[tokio::test]
async fn a_total_too_large_for_the_apps_column_spoils_nothing_else() {
    let schema = format!("CREATE TABLE receipts ({RECEIPTS}, total_amount numeric(4,2))");
    let world = with_one_odd_answer(&schema, answer("Cafe", "1234.50", "2024-03-15")).await;
    assert_one_refused(&world, "overflow").await;
}

#[tokio::test]
async fn a_check_of_the_apps_that_a_result_fails_spoils_nothing_else() {
    let schema = format!("CREATE TABLE receipts ({RECEIPTS}, total_amount numeric CHECK (total_amount < 100))");
    let world = with_one_odd_answer(&schema, answer("Cafe", "1234.50", "2024-03-15")).await;
    assert_one_refused(&world, "check constraint").await;
}

#[tokio::test]
async fn a_trigger_of_the_apps_that_refuses_a_result_spoils_nothing_else() {
    let schema = format!(
        "CREATE TABLE receipts ({RECEIPTS}, total_amount numeric);
         CREATE FUNCTION review() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 IF NEW.total_amount > 100 THEN RAISE EXCEPTION 'over the budget'; END IF;
                 RETURN NEW;
             END $$;
         CREATE TRIGGER review BEFORE UPDATE ON receipts FOR EACH ROW EXECUTE FUNCTION review()"
    );
    let world = with_one_odd_answer(&schema, answer("Cafe", "1234.50", "2024-03-15")).await;
    assert_one_refused(&world, "over the budget").await;
}

/// Where the app refuses the dead letter as well, the receipt waits with the reason, and the host goes on.
#[tokio::test]
async fn a_receipt_that_the_app_lets_nobody_change_waits_and_says_why() {
    let schema = format!(
        "CREATE TABLE receipts ({RECEIPTS});
         CREATE FUNCTION close_books() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION 'the books are closed'; END $$;
         CREATE TRIGGER close_books BEFORE UPDATE ON receipts FOR EACH ROW WHEN (OLD.image_url = 'odd.jpg')
             EXECUTE FUNCTION close_books()"
    );
    let world = with_one_odd_answer(&schema, answer("Cafe", "4.50", "2024-03-15")).await;
    let summary = world.once().await;
    assert_eq!((&summary["processed"], &summary["dead"]), (&8.into(), &0.into()), "{summary}");
    let waits = "SELECT concat_ws('|', attempts, last_error_code, last_error) FROM receipt_queue WHERE NOT processed";
    let waits = world.text(waits, &[]).await;
    assert!(waits.starts_with("0|queue.ResultRefused|") && waits.contains("the books are closed"), "{waits}");
    world.execute("DROP TRIGGER close_books ON receipts; UPDATE receipt_queue SET available_at = now()").await;
    world.once().await;
    world.assert_settled(9).await;
    assert_eq!(world.count("receipt_queue_dlq").await, 0);
}

/// An app that updates, replaces and deletes receipts in whatever order, beside two hosts: nobody is a deadlock's victim.
#[tokio::test]
async fn no_deadlock_with_an_app_that_works_on_the_same_receipts() {
    let world = World::new().await;
    world.photo("one.jpg").await;
    world.photo("two.jpg").await;
    // Some go back to the queue and come again: that path locks too.
    world.textract.faults().next(30, Fault::throttled());
    world.execute("INSERT INTO receipts (image_url) SELECT 'one.jpg' FROM generate_series(1, 120)").await;
    let hosts: Vec<_> =
        (0..2).map(|_| world.run(&["--lease", "1s", "--every", "200ms", "--concurrency", "8"]).spawn()).collect();
    let apps = [
        "UPDATE receipts SET user_id = 'u' || random() WHERE random() < 0.5",
        "UPDATE receipts SET image_url = CASE image_url WHEN 'one.jpg' THEN 'two.jpg' ELSE 'one.jpg' END
         WHERE id IN (SELECT id FROM receipts ORDER BY random() LIMIT 40)",
        "DELETE FROM receipts WHERE id IN (SELECT id FROM receipts ORDER BY random() LIMIT 3)",
        "INSERT INTO receipts (image_url) SELECT 'two.jpg' FROM generate_series(1, 5)",
        "UPDATE receipts SET status = 'pending' WHERE id IN (SELECT id FROM receipts ORDER BY id DESC LIMIT 30)",
    ];
    let app = world.db.connect().await;
    for round in 0..25 {
        for statement in apps {
            app.batch_execute(statement).await.unwrap_or_else(|error| panic!("round {round}: {statement}: {error:?}"));
        }
    }
    // What was put off is due now: the end must not wait for backoff.
    eventually("an empty queue", async || {
        world
            .execute("UPDATE receipt_queue SET available_at = now() WHERE NOT processed AND lease_token IS NULL")
            .await;
        (world.count("receipt_queue WHERE NOT processed").await == 0).then_some(())
    })
    .await;
    for host in hosts {
        let finished = host.stop().await;
        assert!(!finished.stderr.contains("deadlock"), "{}", finished.stderr);
        finished.ok();
    }
    let left = world.count("receipts").await;
    world.assert_settled(left).await;
}

#[tokio::test]
async fn connections_that_are_cut_while_settling_settle_everything_once() {
    let world = World::new().await;
    world
        .execute(
            "CREATE TABLE settles (receipt uuid);
             CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN INSERT INTO settles VALUES (NEW.id); RETURN NEW; END $$;
             CREATE TRIGGER note BEFORE UPDATE ON receipts FOR EACH ROW WHEN (NEW.status = 'ocr_done')
                 EXECUTE FUNCTION note()",
        )
        .await;
    world.receipts(60).await;
    let mut host = world.run(&["--every", "100ms", "--lease", "5s", "--concurrency", "4"]).spawn();
    // Before that a lost connection is an error of configuration.
    host.logged("worker.started").await;
    let mut cut = 0_i64;
    let started = std::time::Instant::now();
    eventually("an end", async || {
        assert!(started.elapsed() < tests::PATIENCE / 2, "it hangs:\n{}", host.log());
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name LIKE 'receipt-worker%'";
        if cut < 40 {
            cut += world.client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0);
        }
        (world.count("receipt_queue WHERE NOT processed").await == 0).then_some(())
    })
    .await;
    assert!(cut >= 2, "{cut} connections were cut");
    let finished = host.stop().await;
    world.assert_settled(60).await;
    assert_eq!(world.count("settles").await, 60);
    finished.ok();
}
