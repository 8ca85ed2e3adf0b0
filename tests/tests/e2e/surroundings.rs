//! What `host migrate` and `host doctor` say of the database around the queue.

use tests::{Finished, TestDatabase, World, WorldSettings};

async fn world_with(sql: &str) -> World {
    let db = TestDatabase::empty().await;
    let world = World::with(WorldSettings { db: Some(db), ..Default::default() }).await;
    world.execute(sql).await;
    world
}

async fn migrate(sql: &str) -> (World, Finished) {
    let world = world_with(sql).await;
    let finished = world.host().arg("migrate").run().await;
    (world, finished)
}

#[tokio::test]
async fn receipts_that_are_no_plain_table_are_refused_by_name() {
    let cases = [
        ("CREATE VIEW receipts AS SELECT 1 AS id, 'pending' AS status", "a view"),
        ("CREATE MATERIALIZED VIEW receipts AS SELECT 1 AS id, 'pending' AS status", "a materialized view"),
        (
            "CREATE FOREIGN DATA WRAPPER nobody; CREATE SERVER elsewhere FOREIGN DATA WRAPPER nobody;
             CREATE FOREIGN TABLE receipts (id bigint, status text) SERVER elsewhere",
            "a foreign table",
        ),
        (
            "CREATE TABLE receipts (id bigint, created_at timestamptz, status text, PRIMARY KEY (id, created_at))
                 PARTITION BY RANGE (created_at)",
            "partitioned by RANGE (created_at)",
        ),
    ];
    for (sql, named) in cases {
        let (world, finished) = migrate(sql).await;
        let error = finished.error();
        assert!(error.contains("receipts is ") && error.contains(named), "{sql}: {error}");
        assert_eq!(world.count("pg_class WHERE relname LIKE 'receipt\\_queue%'").await, 0, "{sql}: something was made");
    }
}

#[tokio::test]
async fn receipts_partitioned_by_their_id_are_worked() {
    let (world, finished) = migrate(
        "CREATE TABLE receipts (id bigint PRIMARY KEY, status text, image_url text) PARTITION BY HASH (id);
         CREATE TABLE receipts_0 PARTITION OF receipts FOR VALUES WITH (MODULUS 2, REMAINDER 0);
         CREATE TABLE receipts_1 PARTITION OF receipts FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
    )
    .await;
    finished.ok();
    for id in 1..=4 {
        let photo = world.photo(&format!("{id}.jpg")).await;
        world.execute(&format!("INSERT INTO receipts VALUES ({id}, 'pending', '{}')", photo.key)).await;
    }
    assert_eq!(world.once().await["processed"], 4);
    world.assert_settled(4).await;
}

#[tokio::test]
async fn what_a_migration_has_to_say_is_shown() {
    let (_, finished) = migrate("CREATE TABLE receipts (id bigint PRIMARY KEY); INSERT INTO receipts VALUES (1)").await;
    assert!(finished.logged_with("migrate.notice", "not_queued"), "{}", finished.stderr);
    // That something is there already is not worth a line.
    let world = World::new().await;
    world.execute("DELETE FROM receipt_queue_schema").await;
    let finished = world.host().arg("migrate").run().await;
    assert!(
        !finished.stderr.contains("already exists") && !finished.stderr.contains("skipping"),
        "{}",
        finished.stderr
    );
    finished.ok();
}

#[tokio::test]
async fn a_status_that_is_never_pending_by_itself_is_named() {
    let table = |column: &str| format!("CREATE TABLE receipts (id bigint PRIMARY KEY, status {column})");
    for column in ["text NOT NULL DEFAULT 'draft'", "text", "varchar(20) DEFAULT 'new'"] {
        let (world, finished) = migrate(&table(column)).await;
        assert!(finished.logged("migrate.default_not_queued"), "{column}: {}", finished.stderr);
        finished.ok();
        let doctor = world.host().arg("doctor").run().await.ok();
        assert!(doctor.contains("only where the app writes the status 'pending'"), "{column}: {doctor}");
    }
    let enumerated = format!("CREATE TYPE s AS ENUM ('pending', 'draft'); {}", table("s DEFAULT 'draft'"));
    assert!(migrate(&enumerated).await.1.logged("migrate.default_not_queued"));
    for column in ["text DEFAULT 'pending'", "text NOT NULL", "text DEFAULT current_setting('app.status', true)"] {
        let (_, finished) = migrate(&table(column)).await;
        assert!(!finished.logged("migrate.default_not_queued"), "{column}: {}", finished.stderr);
        finished.ok();
    }
}

#[tokio::test]
async fn a_role_that_may_make_nothing_hears_which_right_it_lacks() {
    let world = world_with(
        "DO $$ BEGIN CREATE ROLE makes_nothing LOGIN PASSWORD 'secret';
         EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$",
    )
    .await;
    let error = world.host().env("DATABASE_URL", world.db.url_as("makes_nothing")).arg("migrate").run().await.error();
    assert!(error.contains("permission denied for schema public") && error.contains("CREATE"), "{error}");
}

#[tokio::test]
async fn a_limit_of_connections_that_is_too_low_is_named() {
    let world = World::new().await;
    let most = host::queue::place::HOST_CONNECTIONS;
    world
        .execute(&format!(
            "CREATE ROLE few_connections LOGIN PASSWORD 'secret' CONNECTION LIMIT {} IN ROLE pg_read_all_data, pg_write_all_data",
            most - 1
        ))
        .await;
    let doctor =
        async || world.host().env("DATABASE_URL", world.db.url_as("few_connections")).arg("doctor").run().await;
    let said = doctor().await.stdout;
    assert!(said.contains("FAIL  connections") && said.contains("few_connections"), "{said}");
    world.execute(&format!("ALTER ROLE few_connections CONNECTION LIMIT {most}")).await;
    let said = doctor().await.stdout;
    assert!(said.contains("ok    connections") && said.contains(&format!("may have {most}")), "{said}");
    world.execute("DROP ROLE few_connections").await;
}

/// As many as the documentation says, and no more.
#[tokio::test]
async fn a_host_holds_as_many_connections_as_it_is_said_to_need() {
    let world = World::new().await;
    let running = world.run(&["--admin", "off"]).spawn();
    let sessions = "pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'receipt-worker%'";
    let (mut most, mut worked) = (0, 0);
    while worked < 20 {
        let (receipt, _) = world.receipt(&format!("{worked}.jpg")).await;
        while world.status_of(&receipt).await == "pending" {
            most = most.max(world.count(sessions).await);
        }
        worked += 1;
    }
    assert!((4..=host::queue::place::HOST_CONNECTIONS).contains(&most), "{most} connections");
    assert_eq!(running.stop().await.code, Some(0));
}
