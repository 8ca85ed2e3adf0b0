//! Row-level security on receipts: of our own table it keeps users apart, and of an app's it may hide rows from the owner of our
//! functions and from the role that migrates.

use tests::supabase::{ROLES, UID};
use tests::{HostCommand, TestDatabase, World, WorldSettings};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

const ANNA: &str = "11111111-1111-4111-8111-111111111111";
const BERT: &str = "22222222-2222-4222-8222-222222222222";

async fn world_of(db: TestDatabase) -> World {
    World::with(WorldSettings { db: Some(db), ..Default::default() }).await
}

async fn prepared(sql: &str) -> World {
    let db = TestDatabase::empty().await;
    db.connect().await.batch_execute(sql).await.unwrap();
    world_of(db).await
}

async fn session(world: &World, role: &str, user: &str) -> Client {
    let client = world.db.connect().await;
    client.batch_execute(&format!("SET ROLE {role}; SET request.jwt.claim.sub = '{user}'")).await.unwrap();
    client
}

/// What it sees of receipts.
async fn seen(client: &Client) -> i64 {
    client.query_one("SELECT count(*) FROM receipts", &[]).await.unwrap().get(0)
}

/// The migrations' files before the newest one, as somebody had them applied long ago.
async fn apply_all_but_the_newest(client: &Client) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files.iter().filter(|file| !file.to_string_lossy().contains("20261127")) {
        client.batch_execute(&std::fs::read_to_string(file).unwrap()).await.unwrap();
    }
}

#[tokio::test]
async fn our_own_table_is_closed_where_anybody_may_be_anon() {
    let world = prepared(&format!("{ROLES} {UID}")).await;
    world.host().arg("migrate").run().await.ok();
    world.photo("a.jpg").await;
    let (anna, bert) = (session(&world, "authenticated", ANNA).await, session(&world, "authenticated", BERT).await);
    let insert = format!("INSERT INTO receipts (user_id, image_url) VALUES ('{ANNA}', 'a.jpg')");
    anna.batch_execute(&insert).await.unwrap();
    assert_eq!(bert.batch_execute(&insert).await.unwrap_err().code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));
    assert_eq!(world.once().await["processed"], 1);
    let anon = session(&world, "anon", "").await;
    for (client, expected) in [(&anna, 1), (&bert, 0), (&anon, 0), (&session(&world, "service_role", "").await, 1)] {
        assert_eq!(seen(client).await, expected);
    }
    for client in [&anon, &bert] {
        for sql in ["UPDATE receipts SET vendor_text = 'stolen'", "DELETE FROM receipts"] {
            assert_eq!(client.execute(sql, &[]).await.unwrap(), 0, "{sql}");
        }
    }
    // Her own edit, and another image.
    world.photo("b.jpg").await;
    assert_eq!(anna.execute("UPDATE receipts SET image_url = 'b.jpg'", &[]).await.unwrap(), 1);
    assert_eq!(world.once().await["processed"], 1);
    assert!(!world.host().arg("doctor").run().await.ok().contains("warn"));
    // A second time changes nothing, also what the operator does later.
    world.execute("ALTER TABLE receipts DISABLE ROW LEVEL SECURITY").await;
    world.host().arg("migrate").run().await.ok();
    assert_eq!(seen(&anon).await, 1);
    let doctor = world.host().arg("doctor").run().await.ok();
    assert!(doctor.contains("warn  exposure") && doctor.contains("anon and authenticated"), "{doctor}");
}

#[tokio::test]
async fn a_table_that_an_earlier_migration_made_is_closed_and_its_workers_see_all() {
    const ROLE: &str = "test_closed_worker";
    let world = prepared(&format!("{ROLES} {UID}")).await;
    apply_all_but_the_newest(&world.client).await;
    // What host rights printed then, as far as receipts are concerned, and a role of the operator's.
    world
        .execute(&format!(
            "DO $$ BEGIN
                 CREATE ROLE {ROLE} LOGIN PASSWORD 'secret';
                 CREATE ROLE test_closed_analyst LOGIN PASSWORD 'secret';
             END $$;
             GRANT SELECT (id, status), UPDATE (status) ON receipts TO {ROLE};
             GRANT SELECT, UPDATE, DELETE ON receipt_queue TO {ROLE};
             GRANT SELECT ON receipts TO test_closed_analyst;
             INSERT INTO receipts (user_id, image_url) VALUES ('{ANNA}', 'a.jpg'), (NULL, 'b.jpg')"
        ))
        .await;
    let anon = session(&world, "anon", "").await;
    assert_eq!(seen(&anon).await, 2, "the hole");
    world.host().arg("migrate").run().await.ok();
    assert_eq!((seen(&anon).await, seen(&session(&world, "authenticated", ANNA).await).await), (0, 1));
    for role in [ROLE, "test_closed_analyst"] {
        assert_eq!(seen(&world.db.connect_as(role).await).await, 2, "{role}");
    }
    assert_eq!(world.db.connect_as(ROLE).await.execute("UPDATE receipts SET status = 'mine'", &[]).await.unwrap(), 2);
    // What host rights prints afterwards has one for its role too.
    world.execute(&HostCommand::bare().args(["rights", "--role", ROLE]).run().await.ok()).await;
    let host = world.host().env("DATABASE_URL", world.db.url_as(ROLE));
    let doctor = host.arg("doctor").run().await.ok();
    assert!(doctor.contains("may work the queue"), "{doctor}");
}

#[tokio::test]
async fn without_auth_uid_nobody_from_outside_sees_anything() {
    let world = prepared(ROLES).await;
    world.host().arg("migrate").run().await.ok();
    world.insert("a.jpg").await;
    for role in ["anon", "authenticated"] {
        assert_eq!(seen(&session(&world, role, ANNA).await).await, 0);
    }
    assert_eq!(world.once().await["dead"], 1);
}

#[tokio::test]
async fn an_apps_own_table_is_not_touched_and_doctor_warns() {
    for difference in [
        "folder text",
        "vendor_text varchar(50)",
        "user_id uuid",
        "status text NOT NULL DEFAULT 'draft'",
        "s3_key text NOT NULL",
    ] {
        let world = prepared(&format!(
            "{ROLES} {UID} CREATE TABLE receipts (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), image_url text, {difference})"
        ))
        .await;
        world.host().arg("migrate").run().await.ok();
        let state = "SELECT concat_ws(' ', relrowsecurity, (SELECT count(*) FROM pg_policy)) FROM pg_class WHERE oid = 'receipts'::regclass";
        assert_eq!(world.text(state, &[]).await, "f 0", "{difference}");
        let doctor = world.host().arg("doctor").run().await.ok();
        assert!(doctor.contains("warn  exposure") && doctor.contains("ENABLE ROW LEVEL SECURITY"), "{doctor}");
        let json = world.host().args(["doctor", "--json"]).run().await.json_lines();
        assert!(json.iter().any(|line| line["check"] == "exposure" && line["warning"] == true && line["ok"] == true));
        world.execute("REVOKE ALL ON receipts FROM anon, authenticated").await;
        assert!(!world.host().arg("doctor").run().await.ok().contains("warn"), "{difference}");
    }
}

#[tokio::test]
async fn on_plain_postgres_our_own_table_stays_open() {
    // Its database was migrated before any test has made Supabase's roles.
    let world = World::new().await;
    let sql = "SELECT relrowsecurity::text FROM pg_class WHERE oid = 'receipts'::regclass";
    assert_eq!(world.text(sql, &[]).await, "false");
    assert!(!world.host().arg("doctor").run().await.ok().contains("warn"));
}

/// An app with tenants: the policy binds the owner of the table too, and shows it, in a session of ours, nothing.
async fn tenants(owner: &str, extra: &str) -> World {
    let db = TestDatabase::empty().await;
    let client = db.connect().await;
    client
        .batch_execute(&format!(
            "DO $$ BEGIN
                 CREATE ROLE {owner} LOGIN PASSWORD 'secret';
             EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
             END $$;
             DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET app.tenant = 0', current_database()); END $$;
             ALTER SCHEMA public OWNER TO {owner};
             SET ROLE {owner};
             CREATE TABLE receipts (
                 id serial PRIMARY KEY, tenant_id int NOT NULL DEFAULT 1, image_url text,
                 status text NOT NULL DEFAULT 'pending'
             );
             CREATE POLICY tenant ON receipts USING (tenant_id = current_setting('app.tenant')::int);
             ALTER TABLE receipts ENABLE ROW LEVEL SECURITY;
             RESET ROLE;
             {extra}"
        ))
        .await
        .unwrap();
    world_of(db).await
}

#[tokio::test]
async fn who_may_not_see_what_waits_may_not_migrate() {
    const OWNER: &str = "test_blind_owner";
    let fill = "INSERT INTO receipts (image_url) SELECT 'p-' || n FROM generate_series(1, 5) n";
    let force = "ALTER TABLE receipts FORCE ROW LEVEL SECURITY";
    let world = tenants(OWNER, &format!("{fill}; {force}")).await;
    let migrate = || world.host().env("DATABASE_URL", world.db.url_as(OWNER)).arg("migrate");
    let error = migrate().run().await.error();
    assert!(error.contains("row-level security hides receipts") && error.contains(OWNER), "{error}");
    assert!(error.contains("NO FORCE"), "{error}");
    let made = "SELECT count(*)::text FROM pg_class WHERE relname LIKE 'receipt_queue%'";
    assert_eq!(world.text(made, &[]).await, "0", "nothing is left behind");
    // The files by themselves refuse as well, and what they queue is queued once they may.
    let owner = world.db.connect_as(OWNER).await;
    apply_all_but_the_newest(&owner).await;
    let error = migrate().run().await.error();
    assert!(error.contains("row-level security may hide receipts"), "{error}");
    world.execute("ALTER TABLE receipts NO FORCE ROW LEVEL SECURITY").await;
    migrate().run().await.ok();
    assert_eq!(world.count("receipt_queue").await, 5);
    world.execute(force).await;
    migrate().run().await.ok();
}

#[tokio::test]
async fn dead_letters_of_receipts_that_the_functions_owner_cannot_see_are_queued_and_none_is_lost() {
    const OWNER: &str = "test_hidden_owner";
    const ROLE: &str = "test_hidden_worker";
    for unset in [false, true] {
        let world = tenants(OWNER, "").await;
        let owner = world.db.connect_as(OWNER).await;
        world.host().env("DATABASE_URL", world.db.url_as(OWNER)).arg("migrate").run().await.ok();
        world.execute("ALTER TABLE receipts FORCE ROW LEVEL SECURITY").await;
        let rights = HostCommand::bare().args(["rights", "--role", ROLE]).run().await.ok();
        world.execute(&rights).await;
        world.execute(&format!("ALTER ROLE {ROLE} PASSWORD 'secret'")).await;
        if unset {
            // Then the policy fails wherever the app has not said who asks.
            world
                .execute("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET app.tenant', current_database()); END $$")
                .await;
        }
        let host = || world.host().env("DATABASE_URL", world.db.url_as(ROLE));
        owner
            .batch_execute("SET app.tenant = 1; INSERT INTO receipts (image_url) VALUES ('a.jpg'), ('b.jpg')")
            .await
            .unwrap();
        assert_eq!(host().args(["run", "--once"]).run().await.json()["dead"], 2);
        let retried = host().args(["dlq", "retry", "--all"]).run().await;
        assert!(retried.logged_with("dlq.finished", "count=2"), "{}", retried.stderr);
        retried.ok();
        let queued = "receipt_queue WHERE NOT processed AND deaths = 1 AND s3_key IN ('a.jpg', 'b.jpg')";
        assert_eq!((world.count(queued).await, world.count("receipt_queue_dlq").await), (2, 0));
        world.photo("a.jpg").await;
        world.photo("b.jpg").await;
        assert_eq!(host().args(["run", "--once"]).run().await.json()["processed"], 2);
        // The app's own statements, in the app's own session.
        world.photo("c.jpg").await;
        owner.batch_execute("UPDATE receipts SET image_url = 'c.jpg' WHERE image_url = 'a.jpg'").await.unwrap();
        assert_eq!(host().args(["run", "--once"]).run().await.json()["processed"], 1);
        world.assert_settled(2).await;

        // Reconciling reads the table in the owner's name: it says that it cannot, and so does doctor.
        let doctor = host().arg("doctor").run().await;
        assert_eq!(doctor.code, Some(1));
        assert!(
            doctor.stdout.contains(OWNER) && doctor.stdout.contains("owns the queue's functions"),
            "{}",
            doctor.stdout
        );
        let error = host().arg("reconcile").run().await.error();
        assert!(error.contains(OWNER) && error.contains("BYPASSRLS"), "{error}");
        world.execute(&format!("ALTER ROLE {OWNER} BYPASSRLS")).await;
        host().arg("reconcile").run().await.ok();
        assert!(host().arg("doctor").run().await.ok().contains("may work the queue"));
        world.execute(&format!("ALTER ROLE {OWNER} NOBYPASSRLS")).await;
    }
}

#[tokio::test]
async fn a_retry_that_would_queue_nothing_changes_nothing() {
    let world = World::new().await;
    let receipt = world.insert("a.jpg").await;
    assert_eq!(world.once().await["dead"], 1);
    let before = (world.row("receipts", &receipt).await, world.row("receipt_queue_dlq", &receipt).await);
    for off in ["DISABLE TRIGGER receipts_requeue", "ENABLE REPLICA TRIGGER receipts_requeue"] {
        world.execute(&format!("ALTER TABLE receipts {off}")).await;
        let error = world.host().args(["dlq", "retry", "--all"]).run().await.error();
        assert!(
            error.contains("1 of 1 receipts") && error.contains("not queued") && error.contains("doctor"),
            "{error}"
        );
        assert_eq!((world.row("receipts", &receipt).await, world.row("receipt_queue_dlq", &receipt).await), before);
        let doctor = world.host().arg("doctor").run().await;
        assert!(doctor.stdout.contains("trigger receipts_requeue is off"), "{}", doctor.stdout);
    }
    world.execute("ALTER TABLE receipts ENABLE TRIGGER receipts_requeue; ALTER TABLE receipt_queue ADD CONSTRAINT none CHECK (processed)").await;
    let error = world.host().args(["dlq", "retry", receipt.as_str()]).run().await.error();
    assert!(error.contains("not queued"), "{error}");
    assert_eq!((world.row("receipts", &receipt).await, world.row("receipt_queue_dlq", &receipt).await), before);
}

#[tokio::test]
async fn what_cannot_be_queued_is_not_counted_as_taken_back() {
    let mut world = World::new().await;
    let receipt = world.insert("a.jpg").await;
    assert_eq!(world.once().await["dead"], 1);
    world.execute("ALTER TABLE receipts DISABLE TRIGGER receipts_requeue").await;
    let token: i64 = world.client.query_one("SELECT settled_token FROM receipt_queue_dlq", &[]).await.unwrap().get(0);
    let leases = [host::queue::Lease { job: 0, token }];
    assert_eq!(host::queue::take_back(&mut world.client, &leases).await.unwrap(), 0);
    assert_eq!((world.status_of(&receipt).await, world.count("receipt_queue_dlq").await), ("ocr_failed".to_owned(), 1));
    world.execute("ALTER TABLE receipts ENABLE TRIGGER receipts_requeue").await;
    assert_eq!(host::queue::take_back(&mut world.client, &leases).await.unwrap(), 1);
    assert_eq!((world.status_of(&receipt).await, world.count("receipt_queue_dlq").await), ("pending".to_owned(), 0));
}

/// A worker that sees some receipts leaves the dead letters of the others alone, and says so.
#[tokio::test]
async fn dead_letters_of_receipts_that_the_worker_cannot_see_stay_and_are_counted() {
    const ROLE: &str = "test_sees_some";
    let world = World::new().await;
    world.execute("INSERT INTO receipts (user_id, image_url) VALUES ('mine', 'a.jpg'), ('theirs', 'b.jpg'), ('theirs', 'c.jpg')").await;
    assert_eq!(world.once().await["dead"], 3);
    world.execute(&HostCommand::bare().args(["rights", "--role", ROLE]).run().await.ok()).await;
    world
        .execute(&format!(
            "ALTER ROLE {ROLE} PASSWORD 'secret';
             ALTER TABLE receipts ENABLE ROW LEVEL SECURITY;
             CREATE POLICY only_mine ON receipts AS RESTRICTIVE TO {ROLE} USING (user_id = 'mine')"
        ))
        .await;
    let host = || world.host().env("DATABASE_URL", world.db.url_as(ROLE));
    // A policy that takes away beside one that gives.
    let doctor = host().arg("doctor").run().await;
    assert!(doctor.stdout.contains("row-level security hides rows of public.receipts"), "{}", doctor.stdout);
    for verb in [&["retry", "--all"][..], &["discard", "--all", "--yes"]] {
        let finished = host().arg("dlq").args(verb).run().await;
        assert_eq!(finished.code, Some(1));
        assert!(finished.stderr.contains("2 dead letters were left alone"), "{}", finished.stderr);
        assert_eq!(world.count("receipt_queue_dlq").await, 2);
    }
    assert_eq!(world.count("receipt_queue WHERE NOT processed AND s3_key = 'a.jpg'").await, 1);
}
