//! What the app's operators do with their database beside the worker: backups, two-phase commits, many inserts at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use host::queue::connect;
use tests::{TestDatabase, World, WorldSettings, eventually};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::server::{Server, folder};

const BACKUP: &str = "CREATE ROLE backup LOGIN PASSWORD 'secret' IN ROLE pg_read_all_data";
const APP: &str = "CREATE ROLE app LOGIN PASSWORD 'secret'; GRANT INSERT, SELECT ON receipts TO app";

/// `pg_dump` as the backup's role; what it wrote, or why it did not.
async fn dump(server: &Server, db: &TestDatabase) -> Result<String, String> {
    let mut command = server.program("pg_dump");
    command.arg("--dbname").arg(db.url_as("backup"));
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

#[tokio::test]
async fn a_role_that_may_read_everything_dumps_everything() {
    let server = Server::start().await;
    let db = TestDatabase::within(&server.postgres).await;
    let client = db.connect().await;
    client.batch_execute(&format!("{BACKUP}; {APP}; INSERT INTO receipts (image_url) VALUES ('a.jpg')")).await.unwrap();
    let dumped = dump(&server, &db).await.unwrap();
    assert!(dumped.contains("COPY public.receipt_queue ") && dumped.contains("a.jpg"), "{dumped}");
    // The app's role touches the queue as little as ever.
    let app = db.connect_as("app").await;
    for table in ["receipt_queue", "receipt_queue_dlq", "receipt_component_changes"] {
        let error = app.batch_execute(&format!("SELECT FROM {table}")).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{table}");
    }
    server.stop().await;
}

#[tokio::test]
async fn where_a_platform_has_roles_for_everybody_the_queue_has_row_level_security() {
    let server = Server::start().await;
    server.connect("postgres").await.batch_execute("CREATE ROLE anon; CREATE ROLE authenticated").await.unwrap();
    let db = TestDatabase::within(&server.postgres).await;
    let client = db.connect().await;
    client.batch_execute(BACKUP).await.unwrap();
    let error = dump(&server, &db).await.unwrap_err();
    assert!(error.contains("row-level security"), "{error}");
    client.batch_execute("ALTER ROLE backup BYPASSRLS").await.unwrap();
    dump(&server, &db).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn who_was_granted_the_queue_by_hand_sees_no_more_of_it_than_before() {
    let server = Server::start().await;
    let db = TestDatabase::within(&server.postgres).await;
    let client = db.connect().await;
    // As an earlier migration left it, and somebody granted everything afterwards.
    client
        .batch_execute(&format!(
            "{APP}; GRANT ALL ON ALL TABLES IN SCHEMA public TO app;
             INSERT INTO receipts (image_url) VALUES ('a.jpg');
             ALTER TABLE receipt_queue ENABLE ROW LEVEL SECURITY;
             DELETE FROM receipt_queue_schema WHERE version = 20261127000000"
        ))
        .await
        .unwrap();
    let world = World::with(WorldSettings { db: Some(db), ..Default::default() }).await;
    world.host().arg("migrate").run().await.ok();
    let app = world.db.connect_as("app").await;
    assert!(app.query("SELECT FROM receipt_queue", &[]).await.unwrap().is_empty());
    // Where it was granted later, nothing hides the rows, and the doctor names the role.
    world.execute("ALTER TABLE receipt_queue DISABLE ROW LEVEL SECURITY").await;
    let finished = world.host().arg("doctor").run().await;
    assert!(finished.stdout.contains("FAIL  queue tables") && finished.stdout.contains("app"), "{}", finished.stdout);
    world.execute("REVOKE ALL ON receipt_queue, receipt_queue_dlq, receipt_component_changes FROM app").await;
    world.host().arg("doctor").run().await.ok();
    server.stop().await;
}

/// Counts what is heard on the channel, and remembers nothing else.
async fn listener(db: &TestDatabase) -> (Client, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let (client, _) = connect(&db.database(), move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
    })
    .await
    .unwrap();
    let client = client.into_driver();
    client.batch_execute("LISTEN receipt_channel").await.unwrap();
    (client, count)
}

/// How many notifications came until now.
async fn heard(client: &Client, (listener, count): &(Client, Arc<AtomicUsize>)) -> usize {
    let before = count.load(Ordering::SeqCst);
    client.batch_execute("NOTIFY receipt_channel, 'somebody else'").await.unwrap();
    eventually("the last notification", async || (count.load(Ordering::SeqCst) > before).then_some(())).await;
    listener.batch_execute("SELECT 1").await.unwrap();
    count.swap(0, Ordering::SeqCst) - 1
}

const INSERT: &str = "INSERT INTO receipts (image_url) VALUES ('a.jpg')";

#[tokio::test]
async fn the_trigger_tells_nobody_where_the_app_says_so() {
    let world = World::new().await;
    let listener = listener(&world.db).await;
    world.execute(INSERT).await;
    assert_eq!(heard(&world.client, &listener).await, 1);
    // For a transaction, ...
    world.execute(&format!("BEGIN; SET LOCAL receipt_worker.notify = 'off'; {INSERT}; COMMIT")).await;
    assert_eq!(heard(&world.client, &listener).await, 0);
    world.execute(INSERT).await;
    assert_eq!(heard(&world.client, &listener).await, 1, "the transaction is over");
    // ... for everybody, ...
    world.execute("UPDATE receipt_queue_settings SET notify = 'off'").await;
    world
        .execute(&format!("{INSERT}; UPDATE receipts SET status = 'ocr_done'; UPDATE receipts SET status = 'pending'"))
        .await;
    assert_eq!(heard(&world.client, &listener).await, 0);
    let doctor = world.host().arg("doctor").run().await.ok();
    assert!(doctor.contains("receipt_queue_settings.notify is 'off'"), "{doctor}");
    // ... but for this transaction.
    world.execute(&format!("BEGIN; SET LOCAL receipt_worker.notify = 'on'; {INSERT}; COMMIT")).await;
    assert_eq!(heard(&world.client, &listener).await, 1);
    // At most once in a while.
    world.execute("UPDATE receipt_queue_settings SET notify = '9000 ms'").await;
    for _ in 0..5 {
        world.execute(INSERT).await;
    }
    assert_eq!(heard(&world.client, &listener).await, 1);
    // A word that it does not know is no reason to fail the app's insert, nor to be silent.
    world.execute(&format!("BEGIN; SET LOCAL receipt_worker.notify = 'sometimes'; {INSERT}; COMMIT")).await;
    assert_eq!(heard(&world.client, &listener).await, 1);
    let error = world.client.batch_execute("UPDATE receipt_queue_settings SET notify = 'sometimes'").await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::CHECK_VIOLATION));
}

#[tokio::test]
async fn what_a_notification_was_spared_for_is_seen_when_the_time_is_over() {
    let world = World::new().await;
    world.execute("UPDATE receipt_queue_settings SET notify = '2000 ms'").await;
    let running = world.run(&["--every", "10m", "--admin", "off"]).spawn();
    let listens = "pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN receipt_channel%'";
    eventually("the worker listens", async || (world.count(listens).await > 0).then_some(())).await;
    let (first, _) = world.receipt("a.jpg").await;
    world.becomes(&first, "ocr_done").await;
    let (second, _) = world.receipt("b.jpg").await;
    world.becomes(&second, "ocr_done").await;
    // Nobody polls: what is not announced at all waits.
    assert_eq!(running.stop().await.code, Some(0));
}

#[tokio::test]
async fn a_host_that_polls_needs_no_notification() {
    let world = World::new().await;
    world.execute("UPDATE receipt_queue_settings SET notify = 'off'").await;
    let running = world.run(&["--every", "200ms", "--no-listen", "--admin", "off"]).spawn();
    let (receipt, _) = world.receipt("a.jpg").await;
    world.becomes(&receipt, "ocr_done").await;
    assert_eq!(running.stop().await.code, Some(0));
}

#[tokio::test]
async fn a_prepared_transaction_may_insert_receipts_that_are_announced_to_nobody() {
    let server = Server::start_in(folder(), &["max_prepared_transactions=4"]).await;
    let db = TestDatabase::within(&server.postgres).await;
    let client = db.connect().await;
    let prepared = format!("BEGIN; {INSERT}; PREPARE TRANSACTION 'p'");
    assert!(client.batch_execute(&prepared).await.is_err(), "Postgres prepares no transaction that notifies");
    client.batch_execute("ROLLBACK; SET receipt_worker.notify = 'off'").await.unwrap();
    client.batch_execute(&prepared).await.unwrap();
    client.batch_execute("COMMIT PREPARED 'p'").await.unwrap();
    let queued: i64 = client.query_one("SELECT count(*) FROM receipt_queue", &[]).await.unwrap().get(0);
    assert_eq!(queued, 1);
    server.stop().await;
}

#[tokio::test]
async fn a_tests_truncate_needs_the_word_cascade() {
    let world = World::new().await;
    world.receipt("a.jpg").await;
    assert!(world.client.batch_execute("TRUNCATE receipts").await.is_err());
    world.execute("TRUNCATE receipts CASCADE").await;
    assert_eq!(world.count("receipt_queue").await, 0);
    world.receipt("b.jpg").await;
    world.execute("DELETE FROM receipts").await;
    assert_eq!(world.count("receipt_queue").await, 0);
}
