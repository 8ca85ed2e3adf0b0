//! The migration on every kind of database that an app may have.

use std::path::{Path, PathBuf};

use host::queue::migrate::migrate;
use tests::{TestDatabase, World, WorldSettings};
use tokio_postgres::Client;

/// The files of `migrations/`, in the order of their names, which is how supabase takes them.
fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn texts() -> Vec<String> {
    files().iter().map(|file| std::fs::read_to_string(file).unwrap()).collect()
}

async fn app_database(schema: &str) -> (TestDatabase, Client) {
    let db = TestDatabase::empty().await;
    let client = db.connect().await;
    client.batch_execute(schema).await.unwrap();
    (db, client)
}

async fn migrated(schema: &str) -> World {
    let (db, _) = app_database(schema).await;
    let world = World::with(WorldSettings { db: Some(db), ..Default::default() }).await;
    world.host().arg("migrate").run().await.ok();
    world
}

/// A database on which `host migrate` must fail, and does it without leaving anything behind. Returns the error.
async fn refused(schema: &str) -> String {
    let (db, client) = app_database(schema).await;
    let objects = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    let before: i64 = client.query_one(objects, &[]).await.unwrap().get(0);
    let world = World::with(WorldSettings { db: Some(db), ..Default::default() }).await;
    let error = world.host().arg("migrate").run().await.error();
    let after: i64 = client.query_one(objects, &[]).await.unwrap().get(0);
    assert_eq!(before, after, "half a migration was left behind");
    error
}

#[tokio::test]
async fn an_empty_database_gets_everything() {
    let world = migrated("").await;
    let (receipt, _) = world.receipt("a.jpg").await;
    assert_eq!(world.once().await["processed"], 1);
    assert_eq!(world.status_of(&receipt).await, "ocr_done");
}

#[tokio::test]
async fn a_second_time_changes_nothing() {
    let (db, _) = app_database("").await;
    let mut client = db.connect().await;
    let applied = migrate(&mut client).await.unwrap();
    // All of them, by their names and in their order.
    let names: Vec<_> = files().iter().map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(applied, names);
    assert!(migrate(&mut client).await.unwrap().is_empty());
    // The file itself is idempotent too, with receipts in every state.
    client
        .batch_execute(
            "INSERT INTO receipts (status, image_url) VALUES ('pending', 'a'), ('ocr_done', 'b'), ('mine', 'c');
             UPDATE receipt_queue SET attempts = 3, claims = 4",
        )
        .await
        .unwrap();
    let state = "SELECT string_agg(q::text, ';') FROM receipt_queue q";
    let before: Option<String> = client.query_one(state, &[]).await.unwrap().get(0);
    for text in texts() {
        client.batch_execute(&text).await.unwrap();
    }
    let after: Option<String> = client.query_one(state, &[]).await.unwrap().get(0);
    assert_eq!(before, after);
}

#[tokio::test]
async fn two_migrators_at_once_do_it_once() {
    let (db, _) = app_database("").await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(db.connect().await);
    }
    let migrations: Vec<_> = clients
        .into_iter()
        .map(|mut client| tokio::spawn(async move { migrate(&mut client).await.unwrap().len() }))
        .collect();
    let mut applied = 0;
    for migration in migrations {
        applied += migration.await.unwrap();
    }
    assert_eq!(applied, files().len());
}

#[tokio::test]
async fn what_supabase_applied_is_not_applied_again() {
    let world = migrated_by_file().await;
    let finished = world.host().arg("migrate").run().await;
    assert!(finished.logged("migrate.up_to_date"), "{}", finished.stderr);
    finished.ok();
    world.receipt("a.jpg").await;
    assert_eq!(world.once().await["processed"], 1);
}

async fn migrated_by_file() -> World {
    let (db, client) = app_database("").await;
    for text in texts() {
        client.batch_execute(&text).await.unwrap();
    }
    World::with(WorldSettings { db: Some(db), ..Default::default() }).await
}

#[tokio::test]
async fn psql_takes_the_files() {
    let (db, _) = app_database(
        "CREATE TABLE receipts (
             id uuid PRIMARY KEY DEFAULT gen_random_uuid(), image_url text, status text DEFAULT 'pending'
         );
        INSERT INTO receipts (image_url) VALUES ('a.jpg')",
    )
    .await;
    let mut psql = tokio::process::Command::new("psql");
    // supabase, too, has each file in a transaction.
    psql.args(["-X", "-q", "-1", "-v", "ON_ERROR_STOP=1"]);
    for file in files() {
        psql.arg("-f").arg(file);
    }
    // Postgres's server packages bring psql along on Linux; where it is missing there is nothing to test.
    let Ok(psql) = psql.arg(db.url()).output().await else { return };
    assert!(psql.status.success(), "{}", String::from_utf8_lossy(&psql.stderr));
    let mut client = db.connect().await;
    assert!(migrate(&mut client).await.unwrap().is_empty());
    let queued: i64 = client.query_one("SELECT count(*) FROM receipt_queue", &[]).await.unwrap().get(0);
    assert_eq!(queued, 1);
}

#[tokio::test]
async fn receipts_may_have_any_kind_of_key() {
    for (key, value) in [
        ("uuid PRIMARY KEY DEFAULT gen_random_uuid()", "DEFAULT"),
        ("bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "DEFAULT"),
        ("serial PRIMARY KEY", "DEFAULT"),
        ("text PRIMARY KEY", "'receipt one/../é'"),
        ("varchar(40) PRIMARY KEY", "'r-1'"),
    ] {
        let world = migrated(&format!("CREATE TABLE receipts (id {key}, image_url text)")).await;
        world.photo("a.jpg").await;
        let id = world
            .text(&format!("INSERT INTO receipts (id, image_url) VALUES ({value}, 'a.jpg') RETURNING id::text"), &[])
            .await;
        let summary = world.once().await;
        assert_eq!(summary["processed"], 1, "{key}: {summary}");
        assert_eq!(world.status_of(&id).await, "ocr_done", "{key}");
        // A dead letter has the key's type too.
        world.execute("UPDATE receipts SET image_url = 'nowhere.jpg'").await;
        world.once().await;
        assert_eq!(world.status_of(&id).await, "ocr_failed", "{key}");
        world.assert_settled(1).await;
        let retried = world.host().args(["dlq", "retry", id.as_str()]).run().await.ok();
        assert_eq!(retried.trim(), id);
        world.execute("DELETE FROM receipts").await;
        assert_eq!(world.count("receipt_queue").await, 0);
    }
}

#[tokio::test]
async fn an_apps_own_table_is_completed_and_its_rows_are_kept() {
    let world = migrated(
        "CREATE TABLE receipts (
             id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
             user_id uuid NOT NULL DEFAULT gen_random_uuid(),
             status text NOT NULL DEFAULT 'pending',
             image_url text NOT NULL,
             folder text NOT NULL DEFAULT 'inbox',
             vendor_text varchar(50),
             total_amount numeric(10,2),
             tags jsonb NOT NULL DEFAULT '[]',
             created_at timestamptz NOT NULL DEFAULT now()
         );
         INSERT INTO receipts (status, image_url, folder) VALUES
             ('pending', 'waits.jpg', 'a'), ('ocr_done', 'done.jpg', 'b'), ('archived', 'old.jpg', 'c')",
    )
    .await;
    assert_eq!(world.count("receipts").await, 3);
    assert_eq!(world.text("SELECT string_agg(s3_key, ',') FROM receipt_queue", &[]).await, "waits.jpg");
    world.photo("waits.jpg").await;
    assert_eq!(world.once().await["processed"], 1);
    let result = "SELECT concat_ws('|', status, folder, vendor_text, total_amount, tags) FROM receipts WHERE image_url = 'waits.jpg'";
    assert_eq!(world.text(result, &[]).await, "ocr_done|a|Blue Bottle Cafe|4.50|[]");
    assert_eq!(
        world.text("SELECT string_agg(status, ',' ORDER BY status) FROM receipts", &[]).await,
        "archived,ocr_done,ocr_done"
    );
}

#[tokio::test]
async fn a_status_may_be_an_enum() {
    let world = migrated(
        "CREATE TYPE receipt_status AS ENUM ('draft', 'pending', 'approved');
         CREATE TABLE receipts (
             id bigserial PRIMARY KEY, status receipt_status NOT NULL DEFAULT 'pending', image_url text
         );
         INSERT INTO receipts (status, image_url) VALUES ('pending', 'a.jpg'), ('draft', 'b.jpg')",
    )
    .await;
    world.photo("a.jpg").await;
    world.execute("INSERT INTO receipts (image_url) VALUES ('nowhere.jpg')").await;
    let summary = world.once().await;
    assert_eq!((&summary["processed"], &summary["dead"]), (&1.into(), &1.into()), "{summary}");
    let statuses = "SELECT string_agg(status::text, ',' ORDER BY id) FROM receipts";
    assert_eq!(world.text(statuses, &[]).await, "ocr_done,draft,ocr_failed");
}

#[tokio::test]
async fn a_status_check_that_allows_too_little_is_refused_by_name() {
    let error = refused(
        "CREATE TABLE receipts (
             id uuid PRIMARY KEY, image_url text,
             status text NOT NULL CONSTRAINT known_status CHECK (status IN ('pending', 'done'))
         )",
    )
    .await;
    assert!(error.contains("known_status") && error.contains("ocr_done"), "{error}");
    assert!(error.contains("hint: "), "{error}");
}

#[tokio::test]
async fn a_status_check_that_allows_enough_is_kept() {
    let world = migrated(
        "CREATE TABLE receipts (
             id uuid PRIMARY KEY DEFAULT gen_random_uuid(), image_url text,
             status text NOT NULL CHECK (status IN ('pending', 'ocr_done', 'ocr_failed', 'mine'))
         )",
    )
    .await;
    world.photo("a.jpg").await;
    world.execute("INSERT INTO receipts (status, image_url) VALUES ('pending', 'a.jpg'), ('mine', 'b.jpg')").await;
    assert_eq!(world.once().await["processed"], 1);
}

#[tokio::test]
async fn a_table_without_a_key_is_refused() {
    let error = refused("CREATE TABLE receipts (id uuid, image_url text)").await;
    assert!(error.contains("no primary key") && error.contains("ADD PRIMARY KEY"), "{error}");
}

#[tokio::test]
async fn another_makes_queue_is_refused_with_advice() {
    let error = refused(
        "CREATE TABLE receipt_queue (id bigserial PRIMARY KEY, receipt_id uuid, s3_key text, attempts int, processed bool)",
    )
    .await;
    assert!(error.contains("another make") && error.contains("RENAME TO"), "{error}");
}

#[tokio::test]
async fn a_result_column_of_another_type_is_no_trap() {
    // What an app may have there: an integer of cents would be a silent factor of 100, a date as text is fine.
    let world = migrated(
        "CREATE TABLE receipts (
             id uuid PRIMARY KEY DEFAULT gen_random_uuid(), image_url text, status text NOT NULL DEFAULT 'pending',
             vendor_text varchar(200), total_amount numeric(12,2), ocr_confidence numeric(5,2), currency char(3)
         )",
    )
    .await;
    world.photo("a.jpg").await;
    world.execute("INSERT INTO receipts (image_url) VALUES ('a.jpg')").await;
    assert_eq!(world.once().await["processed"], 1);
}

#[tokio::test]
async fn an_apps_float_columns_take_the_results_too() {
    let world = migrated(
        "CREATE TABLE receipts (
             id uuid PRIMARY KEY DEFAULT gen_random_uuid(), image_url text, status text NOT NULL DEFAULT 'pending',
             total_amount double precision, ocr_confidence real, receipt_date timestamptz
         )",
    )
    .await;
    world.photo("a.jpg").await;
    world.execute("INSERT INTO receipts (image_url) VALUES ('a.jpg')").await;
    assert_eq!(world.once().await["processed"], 1);
    assert_eq!(world.text("SELECT total_amount::text FROM receipts", &[]).await, "4.5");
}

#[tokio::test]
async fn a_database_of_the_first_migrations_is_taken_along() {
    let (db, client) = app_database("").await;
    for text in &texts()[..2] {
        client.batch_execute(text).await.unwrap();
    }
    client
        .batch_execute(
            "INSERT INTO receipts (status, image_url) VALUES
                 ('pending', 'waits.jpg'), ('pending', 'dead.jpg'), ('ocr_done', 'done.jpg');
             WITH dead AS (DELETE FROM receipt_queue WHERE s3_key = 'dead.jpg' RETURNING *)
             INSERT INTO receipt_queue_dlq
                 (receipt_id, s3_key, error_kind, error_code, error_message, attempts, claims, enqueued_at, settled_token, deaths)
             SELECT receipt_id, s3_key, 'internal', 'c', 'm', 5, 5, enqueued_at, 1, 1 FROM dead;
             UPDATE receipts SET status = 'ocr_failed' WHERE image_url = 'dead.jpg'",
        )
        .await
        .unwrap();
    let world = World::with(WorldSettings { db: Some(db), ..Default::default() }).await;
    // This host needs the newer one, and says so.
    let error = world.host().arg("status").run().await.error();
    assert!(error.contains("host migrate"), "{error}");
    world.host().arg("migrate").run().await.ok();
    assert_eq!(world.count("receipts WHERE ocr_component IS NULL").await, 3);
    assert_eq!(world.count("receipt_queue WHERE history = '[]'").await, 1);
    assert_eq!(world.count("receipt_queue_dlq WHERE history = '[]'").await, 1);
    world.photo("waits.jpg").await;
    world.photo("dead.jpg").await;
    world.host().args(["dlq", "retry", "--all"]).run().await.ok();
    assert_eq!(world.once().await["processed"], 2);
    assert_eq!(world.count("receipts WHERE status = 'ocr_done' AND ocr_component IS NOT NULL").await, 2);
    // Nobody but the host may call it, now as before.
    let acl = "SELECT coalesce(bool_or(a.grantee = 0), false)::text
        FROM pg_proc p CROSS JOIN LATERAL aclexplode(p.proacl) AS a WHERE p.proname = 'receipt_queue_put'";
    assert_eq!(world.text(acl, &[]).await, "false");
}

/// The newer migration replaces the function; what an extension's type needs must be there afterwards too.
#[tokio::test]
async fn an_id_of_an_extensions_type_keeps_its_operators() {
    let (db, client) = app_database("").await;
    if client.batch_execute("CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext").await.is_err() {
        // Not every installation of Postgres brings the extensions along.
        return;
    }
    client.batch_execute("CREATE TABLE receipts (id ext.citext PRIMARY KEY, image_url text)").await.unwrap();
    let world = World::with(WorldSettings { db: Some(db), ..Default::default() }).await;
    world.host().arg("migrate").run().await.ok();
    world.execute("INSERT INTO receipts (id, image_url) VALUES ('r-1', 'nowhere.jpg')").await;
    assert_eq!(world.once().await["dead"], 1);
    world.photo("nowhere.jpg").await;
    world.host().args(["dlq", "retry", "--all"]).run().await.ok();
    assert_eq!(world.once().await["processed"], 1);
}
