//! The app's receipts in another schema than public, or by another spelling.

use host::queue::migrate::migrate;
use tests::{HostCommand, TestDatabase, World, WorldSettings, eventually, photo_bytes};

/// Nobody should; and somebody will.
const WEIRD: &str = "Weird \"Schema\" isn't";

fn quoted(schema: &str) -> String {
    format!("\"{}\"", schema.replace('"', "\"\""))
}

/// A database with an empty schema of that name, which the test's own connection looks into.
async fn world_in(schema: &str) -> World {
    let db = TestDatabase::empty().await;
    let world = World::with(WorldSettings { db: Some(db), ..Default::default() }).await;
    world.execute(&format!("CREATE SCHEMA {0}; SET search_path = {0}", quoted(schema))).await;
    world
}

fn host(world: &World, schema: &str) -> HostCommand {
    world.host().env("WORKER_SCHEMA", schema)
}

async fn in_public(world: &World) -> i64 {
    world
        .count(
            "(SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace
              UNION ALL SELECT oid FROM pg_proc WHERE pronamespace = 'public'::regnamespace) AS objects",
        )
        .await
}

#[tokio::test]
async fn every_verb_works_in_a_schema_of_whatever_name() {
    let world = world_in(WEIRD).await;
    let host = || host(&world, WEIRD);
    host().arg("migrate").run().await.ok();
    let again = host().arg("migrate").run().await;
    assert!(again.logged("migrate.up_to_date"), "{}", again.stderr);
    assert_eq!(in_public(&world).await, 0, "something was made in public");
    host().arg("doctor").run().await.ok();

    // A notification wakes the worker: it looks by itself in ten minutes.
    let running = host().args(["run", "--every", "10m", "--admin", "off"]).spawn();
    let idle =
        "SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN receipt_channel%'";
    eventually("the worker listens", async || (!world.client.query(idle, &[]).await.unwrap().is_empty()).then_some(()))
        .await;
    let (receipt, _) = world.receipt("a.jpg").await;
    world.becomes(&receipt, "ocr_done").await;
    let dead = world.insert("gone.jpg").await;
    world.becomes(&dead, "ocr_failed").await;
    assert_eq!(running.stop().await.code, Some(0));

    let photo = world.dir().join("b.jpg");
    std::fs::write(&photo, photo_bytes()).unwrap();
    let row = host().arg("enqueue").arg(&photo).args(["--json", "--user-id", "me"]).run().await.json();
    assert_eq!(row["status"], "pending");
    assert_eq!(host().args(["run", "--once"]).run().await.json()["processed"], 1);

    let status = host().args(["status", "--json"]).run().await.ok();
    assert!(status.contains("\"processed\""), "{status}");
    let components = host().args(["components", "--json"]).run().await.ok();
    assert!(components.contains("started"), "{components}");
    assert!(host().args(["dlq", "list", "--json"]).run().await.ok().contains(&dead));
    assert!(host().args(["dlq", "show", &dead]).run().await.ok().contains("gone.jpg"));
    host().args(["dlq", "retry", &dead]).run().await.ok();
    assert_eq!(world.status_of(&dead).await, "pending");
    host().args(["run", "--once"]).run().await.json();
    assert!(host().args(["dlq", "retry", "--all"]).run().await.ok().contains(&dead));
    host().args(["run", "--once"]).run().await.json();
    host().args(["dlq", "discard", &dead, "--yes"]).run().await.ok();
    assert_eq!(world.count("receipt_queue_dlq").await, 0);
    world.execute("UPDATE receipts SET ocr_component = 'another' WHERE status = 'ocr_done'").await;
    host().args(["reparse", "--yes"]).run().await.ok();
    assert_eq!(world.count("receipts WHERE ocr_component = 'another'").await, 0);
    world.execute("UPDATE receipt_queue SET processed_at = now() - interval '40 days', enqueued_at = now() - interval '40 days'").await;
    assert!(host().args(["prune"]).run().await.ok().starts_with("2 processed rows"));
    world.execute("SET session_replication_role = replica; INSERT INTO receipts (image_url) VALUES ('c.jpg'); RESET session_replication_role").await;
    assert_eq!(host().args(["reconcile", "--json"]).run().await.json()["queued"], 1);
    world.execute("UPDATE receipt_queue SET available_at = now() + interval '1 day' WHERE NOT processed").await;
    assert_eq!(host().args(["hurry", "--all", "--json"]).run().await.json_lines().len(), 1);
    assert_eq!(world.count("receipt_queue WHERE available_at > now()").await, 0);
    world.execute("ALTER TABLE receipts DROP COLUMN s3_key").await;
    assert!(host().arg("migrate").run().await.logged("migrate.mended"));
    host().arg("doctor").run().await.ok();
    assert_eq!(in_public(&world).await, 0, "something was made in public");
}

#[tokio::test]
async fn a_role_for_the_host_alone_works_in_the_schema() {
    let world = world_in("tenant").await;
    host(&world, "tenant").arg("migrate").run().await.ok();
    let script = HostCommand::bare().args(["rights", "--role", "schema_worker", "--schema", "tenant"]).run().await.ok();
    world.execute(&script).await;
    world.execute("ALTER ROLE schema_worker PASSWORD 'secret'").await;
    world.receipt("a.jpg").await;
    let worker = || host(&world, "tenant").env("DATABASE_URL", world.db.url_as("schema_worker"));
    worker().arg("doctor").run().await.ok();
    assert_eq!(worker().args(["run", "--once"]).run().await.json()["processed"], 1);
    world.assert_settled(1).await;
    // Without a look into the schema nothing can be done; the hint says which right that is.
    world.execute("REVOKE USAGE ON SCHEMA tenant FROM schema_worker").await;
    let error = worker().arg("status").run().await.error();
    assert!(error.contains("GRANT USAGE ON SCHEMA"), "{error}");
}

#[tokio::test]
async fn prismas_schema_means_the_same_and_the_flag_wins() {
    let world = world_in("app").await;
    let url = |schema: &str| {
        let joint = if world.db.url().contains('?') { '&' } else { '?' };
        format!("{}{joint}schema={schema}", world.db.url())
    };
    world.host().env("DATABASE_URL", url("app")).arg("migrate").run().await.ok();
    world.receipt("a.jpg").await;
    let once = world.host().env("DATABASE_URL", url("elsewhere")).args(["run", "--once", "--schema", "app"]);
    assert_eq!(once.run().await.json()["processed"], 1);
    // An empty variable is one that is not set.
    world.host().env("DATABASE_URL", url("app")).env("WORKER_SCHEMA", "").arg("status").run().await.ok();
    // A direct URL need not say it again, and may not say another.
    let direct = |schema: &str| world.host().env("DATABASE_URL", url("app")).env("DATABASE_DIRECT_URL", url(schema));
    world
        .host()
        .env("DATABASE_URL", url("app"))
        .env("DATABASE_DIRECT_URL", world.db.url())
        .arg("doctor")
        .run()
        .await
        .ok();
    direct("app").arg("migrate").run().await.ok();
    let error = direct("other").arg("migrate").run().await.error();
    assert!(error.contains("other") && error.contains("app"), "{error}");
}

#[tokio::test]
async fn who_looks_into_the_wrong_schema_hears_of_the_right_one() {
    let world = world_in("app").await;
    host(&world, "app").arg("migrate").run().await.ok();
    let error = world.run(&["--once"]).run().await.error();
    assert!(error.contains("public") && error.contains("--schema: app"), "{error}");
    let error = host(&world, "nowhere").arg("migrate").run().await.error();
    assert!(error.contains("CREATE SCHEMA \"nowhere\""), "{error}");
    let error = host(&world, "pg_catalog").arg("status").run().await;
    assert_ne!(error.code, Some(0));
    assert!(error.stderr.contains("WORKER_SCHEMA") && error.stderr.contains("pg_catalog"), "{}", error.stderr);
}

/// `host migrate` on a database with this in it.
async fn migrated_beside(sql: &str, args: &[&str]) -> (World, tests::Finished) {
    let db = TestDatabase::empty().await;
    let world = World::with(WorldSettings { db: Some(db), ..Default::default() }).await;
    world.execute(sql).await;
    let finished = world.host().arg("migrate").args(args).run().await;
    (world, finished)
}

const ELSEWHERE: &str =
    "CREATE SCHEMA app; CREATE TABLE app.receipts (id bigint PRIMARY KEY, status text, image_url text)";
const SPELLED: &str = "CREATE TABLE \"Receipts\" (id bigint PRIMARY KEY, status text, image_url text)";

#[tokio::test]
async fn the_like_of_receipts_elsewhere_is_named_and_nothing_is_made() {
    let cases = [
        (ELSEWHERE, "app.receipts", "--schema 'app'"),
        (SPELLED, "public.\"Receipts\"", "ALTER TABLE public.\"Receipts\" RENAME TO receipts"),
        ("CREATE TABLE receipt (id int PRIMARY KEY)", "public.receipt", "RENAME TO receipts"),
        ("CREATE TABLE \"Receipt\" (id int PRIMARY KEY)", "public.\"Receipt\"", "RENAME TO receipts"),
        (
            "CREATE SCHEMA \"My app\"; CREATE TABLE \"My app\".receipts (id int)",
            "\"My app\".receipts",
            "--schema 'My app'",
        ),
        ("CREATE SCHEMA app; CREATE VIEW app.receipts AS SELECT 1 AS id", "app.receipts", "--schema 'app'"),
    ];
    for (sql, named, advice) in cases {
        let (world, finished) = migrated_beside(sql, &[]).await;
        let error = finished.error();
        assert!(error.contains(named) && error.contains(advice), "{sql}: {error}");
        assert_eq!(world.count("pg_class WHERE relname LIKE 'receipt\\_queue%'").await, 0, "{sql}: something was made");
    }
}

#[tokio::test]
async fn an_empty_table_beside_the_like_of_it_is_made_when_somebody_says_so() {
    let (_, finished) = migrated_beside(ELSEWHERE, &["--schema", "public"]).await;
    finished.ok();
    let (_, finished) = migrated_beside(ELSEWHERE, &["--new-table"]).await;
    finished.ok();
    // Who names the schema has not said anything about the spelling.
    let (_, finished) = migrated_beside(SPELLED, &["--schema", "public"]).await;
    assert!(finished.error().contains("--new-table"));
    let (world, finished) = migrated_beside(SPELLED, &["--new-table"]).await;
    finished.ok();
    world.receipt("a.jpg").await;
    assert_eq!(world.once().await["processed"], 1);
    // Where there is a table, another one is nobody's business.
    let (world, finished) =
        migrated_beside(&format!("{ELSEWHERE}; CREATE TABLE receipts (id int PRIMARY KEY)"), &[]).await;
    finished.ok();
    world.host().arg("migrate").run().await.ok();
}

#[tokio::test]
async fn the_apps_own_table_in_another_schema_is_completed() {
    let (world, finished) = migrated_beside(ELSEWHERE, &["--schema", "app"]).await;
    finished.ok();
    world.execute("SET search_path = app").await;
    let photo = world.photo("a.jpg").await;
    world
        .execute(&format!("INSERT INTO receipts (id, status, image_url) VALUES (7, 'pending', '{}')", photo.key))
        .await;
    assert_eq!(host(&world, "app").args(["run", "--once"]).run().await.json()["processed"], 1);
    assert_eq!(world.status_of("7").await, "ocr_done");
}

#[tokio::test]
async fn two_schemas_of_one_database_are_two_queues() {
    let world = world_in("one").await;
    world.execute("CREATE SCHEMA two").await;
    for schema in ["one", "two"] {
        let database = world.db.database().with_schema(schema.parse().unwrap());
        migrate(&mut database.connect().await.unwrap()).await.unwrap();
    }
    let (receipt, _) = world.receipt("a.jpg").await;
    assert_eq!(host(&world, "two").args(["run", "--once"]).run().await.json()["processed"], 0);
    assert_eq!(world.status_of(&receipt).await, "pending");
    assert_eq!(host(&world, "one").args(["run", "--once"]).run().await.json()["processed"], 1);
}
