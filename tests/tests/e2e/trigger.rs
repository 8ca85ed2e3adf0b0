//! The triggers on `receipts`: what is queued, what is queued again, and who may do it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use host::ocr::local::Fault;
use host::queue::connect;
use tests::{World, eventually};

/// Counts notifications on the channel from now on.
async fn listener(world: &World) -> (tokio_postgres::Client, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let (client, _) = connect(&world.db.database(), move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
    })
    .await
    .unwrap();
    let client = client.into_driver();
    client.batch_execute("LISTEN receipt_channel").await.unwrap();
    (client, count)
}

/// Notifications come in the order of commits: behind this one there are no earlier ones.
async fn notified(world: &World, listener: &(tokio_postgres::Client, Arc<AtomicUsize>), expected: usize) {
    world.execute("NOTIFY receipt_channel, 'last'").await;
    eventually("the last notification", async || (listener.1.load(Ordering::SeqCst) > expected).then_some(())).await;
    // A round trip on the same connection: whatever was sent before it has arrived.
    listener.0.batch_execute("SELECT 1").await.unwrap();
    assert_eq!(listener.1.swap(0, Ordering::SeqCst), expected + 1);
}

#[tokio::test]
async fn a_hundred_thousand_receipts_are_one_queue_insert_and_one_notify() {
    let world = World::new().await;
    world
        .execute(
            "CREATE TABLE statements (n int);
             CREATE FUNCTION count_statement() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN INSERT INTO public.statements VALUES (1); RETURN NULL; END $$;
             CREATE TRIGGER count_statement AFTER INSERT ON receipt_queue
                 FOR EACH STATEMENT EXECUTE FUNCTION count_statement()",
        )
        .await;
    let listener = listener(&world).await;
    world
        .execute("INSERT INTO receipts (status, image_url) SELECT 'pending', 'photo-' || n FROM generate_series(1, 100000) n")
        .await;
    assert_eq!(world.count("receipt_queue WHERE NOT processed AND attempts = 0").await, 100_000);
    assert_eq!(world.count("statements").await, 1);
    notified(&world, &listener, 1).await;
}

#[tokio::test]
async fn only_pending_receipts_are_queued_and_announced() {
    let world = World::new().await;
    let listener = listener(&world).await;
    world.execute("INSERT INTO receipts (status, image_url) VALUES ('ocr_done', 'a'), ('draft', 'b')").await;
    assert_eq!(world.count("receipt_queue").await, 0);
    world.execute("INSERT INTO receipts (status, image_url) SELECT 'pending', 'x' WHERE false").await;
    notified(&world, &listener, 0).await;
    world.execute("UPDATE receipts SET user_id = 'somebody'").await;
    notified(&world, &listener, 0).await;
    world.execute("UPDATE receipts SET status = 'pending' WHERE status = 'draft'").await;
    assert_eq!(world.text("SELECT string_agg(s3_key, ',') FROM receipt_queue", &[]).await, "b");
    notified(&world, &listener, 1).await;
}

#[tokio::test]
async fn s3_key_comes_before_image_url() {
    let world = World::new().await;
    world
        .execute("INSERT INTO receipts (image_url, s3_key) VALUES ('url-1', 'key-1'), ('url-2', ''), ('url-3', NULL)")
        .await;
    let keys = "SELECT string_agg(s3_key, ',' ORDER BY s3_key) FROM receipt_queue";
    assert_eq!(world.text(keys, &[]).await, "key-1,url-2,url-3");
}

#[tokio::test]
async fn a_transaction_that_is_rolled_back_leaves_nothing() {
    let world = World::new().await;
    world.execute("BEGIN; INSERT INTO receipts (image_url) VALUES ('a'); ROLLBACK").await;
    assert_eq!(world.count("receipt_queue").await, 0);
}

#[tokio::test]
async fn a_deleted_receipt_leaves_queue_and_dead_letters() {
    let world = World::new().await;
    let waiting = world.insert("a.jpg").await;
    world.execute(&format!("DELETE FROM receipts WHERE id = '{waiting}'")).await;
    assert_eq!(world.count("receipt_queue").await, 0);
    let dead = world.insert("nowhere.jpg").await;
    world.once().await;
    assert_eq!(world.count("receipt_queue_dlq").await, 1);
    world.execute(&format!("DELETE FROM receipts WHERE id = '{dead}'")).await;
    assert_eq!(world.count("receipt_queue_dlq").await, 0);
}

#[tokio::test]
async fn a_receipt_without_an_image_dies_and_says_so() {
    let world = World::new().await;
    world.execute("INSERT INTO receipts (image_url) VALUES (NULL), (''), ('   ')").await;
    assert_eq!(world.once().await["dead"], 3);
    let rows =
        world.client.query("SELECT error_kind, error_code, error_message FROM receipt_queue_dlq", &[]).await.unwrap();
    for row in &rows {
        assert_eq!(row.get::<_, &str>(0), "bad-location");
        assert_eq!(row.get::<_, &str>(1), "image.NoImage");
        assert!(row.get::<_, &str>(2).contains("has no image"));
    }
    assert_eq!(rows.len(), 3);
    world.assert_settled(3).await;
}

#[tokio::test]
async fn a_replaced_image_of_a_waiting_receipt_is_the_one_that_is_read() {
    let world = World::new().await;
    let (receipt, old) = world.receipt("old.jpg").await;
    let new = world.photo("new.jpg").await;
    world.execute("UPDATE receipts SET image_url = 'new.jpg'").await;
    assert_eq!(world.count("receipt_queue").await, 1);
    world.once().await;
    assert_eq!(world.status_of(&receipt).await, "ocr_done");
    let calls = world.textract.calls_by_image();
    assert_eq!((calls.get(&old.digest), calls.get(&new.digest)), (None, Some(&1)));
}

#[tokio::test]
async fn a_replaced_image_of_a_done_receipt_is_read_again() {
    let world = World::new().await;
    let (receipt, _) = world.receipt("old.jpg").await;
    world.once().await;
    let old_key = world.text("SELECT ocr_s3_key FROM receipts", &[]).await;
    let new = world.photo("new.jpg").await;
    let listener = listener(&world).await;
    world.execute("UPDATE receipts SET image_url = 'new.jpg'").await;
    assert_eq!(world.status_of(&receipt).await, "pending");
    assert_eq!(world.count("receipt_queue WHERE NOT processed AND attempts = 0 AND s3_key = 'new.jpg'").await, 1);
    notified(&world, &listener, 1).await;
    world.once().await;
    world.assert_settled(1).await;
    let new_key = world.text("SELECT ocr_s3_key FROM receipts", &[]).await;
    assert!(new_key != old_key && new_key.contains(&new.digest), "{new_key}");
    assert_eq!(world.textract.calls_by_image().get(&new.digest), Some(&1));
}

#[tokio::test]
async fn a_replaced_image_of_a_dead_receipt_brings_it_back() {
    let world = World::new().await;
    let receipt = world.insert("nowhere.jpg").await;
    world.once().await;
    assert_eq!(world.status_of(&receipt).await, "ocr_failed");
    world.photo("here.jpg").await;
    world.execute("UPDATE receipts SET s3_key = 'here.jpg'").await;
    assert_eq!(world.count("receipt_queue_dlq").await, 0);
    let memory = "SELECT concat_ws('|', attempts, deaths, processed, s3_key) FROM receipt_queue";
    assert_eq!(world.text(memory, &[]).await, "0|1|f|here.jpg");
    world.once().await;
    assert_eq!(world.status_of(&receipt).await, "ocr_done");
    world.assert_settled(1).await;
}

#[tokio::test]
async fn an_image_that_is_replaced_while_it_is_read_is_read_anew() {
    let world = World::new().await;
    world.textract.faults().next(1, Fault::Delay(std::time::Duration::from_millis(1500)));
    let (receipt, old) = world.receipt("old.jpg").await;
    let new = world.photo("new.jpg").await;
    let mut host = world.run(&["--every", "1h", "--log", "debug"]).spawn();
    eventually("the first call", async || (world.textract.requests() == 1).then_some(())).await;
    world.execute("UPDATE receipts SET image_url = 'new.jpg'").await;
    world.becomes(&receipt, "ocr_done").await;
    host.logged("lease.lost").await;
    host.stop().await.ok();
    assert!(world.text("SELECT ocr_s3_key FROM receipts", &[]).await.contains(&new.digest));
    assert_eq!(world.textract.calls_by_image().get(&old.digest), Some(&1));
    assert_eq!(world.textract.calls_by_image().get(&new.digest), Some(&1));
    world.assert_settled(1).await;
}

/// What the queue's triggers do to receipts runs the app's own triggers, which expect the app's surroundings.
#[tokio::test]
async fn the_apps_own_triggers_go_on_working() {
    let world = World::new().await;
    world
        .execute(
            "CREATE TABLE audit (what text);
             CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN INSERT INTO audit VALUES (TG_OP || ' ' || NEW.status); RETURN NEW; END $$;
             CREATE TRIGGER note BEFORE INSERT OR UPDATE ON receipts FOR EACH ROW EXECUTE FUNCTION note()",
        )
        .await;
    world.receipt("a.jpg").await;
    world.once().await;
    world.photo("b.jpg").await;
    world.execute("UPDATE receipts SET image_url = 'b.jpg'").await;
    world.once().await;
    world.assert_settled(1).await;
    assert_eq!(world.count("audit WHERE what = 'UPDATE ocr_done'").await, 3);
}

#[tokio::test]
async fn setting_a_done_receipt_to_pending_reads_it_again_without_paying() {
    let world = World::new().await;
    let (receipt, photo) = world.receipt("a.jpg").await;
    world.once().await;
    world.execute("UPDATE receipts SET status = 'pending'").await;
    world.once().await;
    assert_eq!(world.status_of(&receipt).await, "ocr_done");
    assert_eq!(world.textract.calls_by_image().get(&photo.digest), Some(&1));
}

#[tokio::test]
async fn a_dead_receipt_that_a_person_finishes_is_no_dead_letter() {
    let world = World::new().await;
    world.insert("nowhere.jpg").await;
    world.once().await;
    world.execute("UPDATE receipts SET status = 'ocr_done', vendor_text = 'by hand'").await;
    assert_eq!(world.count("receipt_queue_dlq").await, 0);
}

#[tokio::test]
async fn the_apps_role_inserts_receipts_and_touches_nothing_else() {
    let world = World::new().await;
    world
        .execute(
            "DO $$ BEGIN
                 IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'test_app') THEN
                     CREATE ROLE test_app LOGIN PASSWORD 'secret';
                 END IF;
             END $$;
             GRANT SELECT, INSERT, UPDATE, DELETE ON receipts TO test_app",
        )
        .await;
    let app = world.db.connect_as("test_app").await;
    app.batch_execute("INSERT INTO receipts (image_url) VALUES ('a.jpg'); UPDATE receipts SET image_url = 'b.jpg'")
        .await
        .unwrap();
    assert_eq!(world.text("SELECT s3_key FROM receipt_queue", &[]).await, "b.jpg");
    app.batch_execute("UPDATE receipts SET status = 'ocr_done'; UPDATE receipts SET image_url = 'c.jpg'")
        .await
        .unwrap();
    assert_eq!(world.text("SELECT s3_key FROM receipt_queue", &[]).await, "c.jpg");
    for forbidden in [
        "SELECT * FROM receipt_queue",
        "SELECT * FROM receipt_queue_dlq",
        "SELECT * FROM vw_receipt_queue_status",
        "SELECT * FROM vw_receipt_queue_failures",
        "SELECT * FROM receipt_queue_schema",
        "INSERT INTO receipt_queue (receipt_id) SELECT id FROM receipts",
        "UPDATE receipt_queue SET processed = true",
        "DELETE FROM receipt_queue",
        "TRUNCATE receipt_queue",
        "SELECT receipt_queue_put(array_agg(id)) FROM receipts",
        "SELECT nextval('receipt_queue_token')",
        "SELECT setval('receipt_queue_token', 1)",
        "CREATE TRIGGER t AFTER INSERT ON receipt_queue EXECUTE FUNCTION receipts_enqueue()",
    ] {
        let error = app.batch_execute(forbidden).await.expect_err(forbidden);
        assert_eq!(error.code().unwrap().code(), "42501", "{forbidden}: {error:?}");
    }
    app.batch_execute("DELETE FROM receipts").await.unwrap();
    assert_eq!(world.count("receipt_queue").await, 0);
}
