//! A role with what `host rights` grants: enough for every verb of the host, and no right too much.

use std::time::SystemTime;

use host::ocr::local::Fault;
use host::queue::backlog::backlog;
use host::queue::components::{self, Change, LedgerEntry};
use host::queue::dead_letters::{self, DeadLetterSelection};
use host::queue::prune::Pruner;
use host::queue::reconcile;
use host::queue::reparse::{self, Reparser};
use host::queue::role::{RoleName, script};
use host::queue::status::{missing_rights, status};
use host::queue::{Database, Lease, QueueError, receipts, take_back};
use tests::{HostCommand, World, photo_bytes};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

macro_rules! sql {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../host/src/queue/sql/", $name, ".sql")))
    };
}

/// A world whose app has a column and a table of its own, with row-level security as Supabase has it; and the role, which
/// is the test's own (roles are all databases').
async fn world_with(role: &str) -> World {
    let world = World::new().await;
    world
        .execute(
            "ALTER TABLE receipts ADD COLUMN private_note text DEFAULT 'not the worker''s business';
             ALTER TABLE receipts ENABLE ROW LEVEL SECURITY;
             CREATE POLICY own ON receipts USING (user_id = current_user);
             CREATE TABLE salaries (amount integer)",
        )
        .await;
    world.execute(&script(&role.parse().unwrap())).await;
    world.execute(&format!("ALTER ROLE {role} PASSWORD 'secret'")).await;
    world
}

fn host(world: &World, role: &str) -> HostCommand {
    world.host().env("DATABASE_URL", world.db.url_as(role))
}

#[tokio::test]
async fn every_verb_of_the_host_works_with_what_host_rights_grants() {
    const ROLE: &str = "test_every_verb";
    let world = world_with(ROLE).await;
    let verb = |args: &[&str]| host(&world, ROLE).args(args);
    // A second time changes nothing.
    let printed = HostCommand::bare().args(["rights", "--role", ROLE]).run().await.ok();
    world.execute(&printed).await;
    assert_eq!(missing_rights(&world.db.connect_as(ROLE).await).await.unwrap(), Vec::<String>::new());
    assert!(verb(&["doctor"]).run().await.ok().contains("may work the queue"));

    // Done, retried, dead, and dead by the last attempt.
    let (done, _) = world.receipt("a.jpg").await;
    let dead = world.insert("nowhere.jpg").await;
    let spent = world.insert("spent.jpg").await;
    world
        .execute("UPDATE receipt_queue SET attempts = 5, claims = 5, lease_token = 1 WHERE s3_key = 'spent.jpg'")
        .await;
    world.textract.faults().next(1, Fault::throttled());
    let mut running = verb(&["run", "--every", "200ms"]).spawn();
    for (receipt, status) in [(&done, "ocr_done"), (&dead, "ocr_failed"), (&spent, "ocr_failed")] {
        world.becomes(receipt, status).await;
    }
    running.logged("receipt.retried").await;
    running.stop().await.ok();
    world.assert_settled(3).await;
    assert!(world.count("receipt_component_changes").await >= 2);

    assert!(verb(&["status", "--json"]).run().await.ok().contains("\"dlq\",\"count\":2"));
    assert!(verb(&["dlq", "list"]).run().await.ok().contains(&dead));
    assert!(verb(&["dlq", "show", dead.as_str()]).run().await.ok().contains("nowhere.jpg"));
    verb(&["components"]).run().await.ok();
    verb(&["reconcile"]).run().await.ok();
    world.photo("nowhere.jpg").await;
    verb(&["dlq", "retry", dead.as_str()]).run().await.ok();
    assert_eq!(verb(&["run", "--once"]).run().await.json()["processed"], 1);
    verb(&["dlq", "discard", spent.as_str(), "--yes"]).run().await.ok();

    world.execute("UPDATE receipts SET ocr_component = 'another' WHERE status = 'ocr_done'").await;
    verb(&["reparse", "--yes"]).run().await.ok();
    assert_eq!(world.count("receipts WHERE ocr_component = 'another'").await, 0);

    world
        .execute(
            "UPDATE receipt_queue SET enqueued_at = now() - interval '2 days', processed_at = now() - interval '1 day'",
        )
        .await;
    assert_eq!(verb(&["prune", "--keep", "12h", "--dlq", "12h", "--json"]).run().await.json()["processed"], 2);
    // Inserting receipts is the app's.
    let photo = world.dir().join("photo.jpg");
    std::fs::write(&photo, photo_bytes()).unwrap();
    let error = verb(&["enqueue"]).arg(&photo).run().await.error();
    assert!(error.contains("permission denied"), "{error}");
}

/// Everything that the host asks of the database, in its own statements: settles and claims are planned, which asks for the
/// same rights as running them.
async fn everything(database: &Database, client: &mut Client) -> Result<(), String> {
    let named = |what: &str| {
        let what = what.to_owned();
        move |error: QueueError| format!("{what}: {error}")
    };
    let ids = [Type::INT8_ARRAY, Type::INT8_ARRAY];
    const T: Type = Type::TEXT_ARRAY;
    for ((name, sql), types) in [
        (sql!("claim"), vec![Type::INT8, Type::INT8, Type::TEXT, Type::INT4, Type::TIMESTAMPTZ]),
        (sql!("next_due"), vec![]),
        (sql!("exhausted"), vec![Type::INT4, Type::INT8]),
        (sql!("heartbeat"), [&ids[..], &[Type::INT8]].concat()),
        (sql!("complete"), [&ids[..], &[T, T, T, T, Type::FLOAT8_ARRAY, T, T]].concat()),
        (sql!("retry"), [&ids[..], &[Type::INT8_ARRAY, Type::BOOL_ARRAY, T, T, T, T]].concat()),
        (sql!("dead_letter"), [&ids[..], &[T, T, T, T, T]].concat()),
        (sql!("settled_before"), ids.to_vec()),
    ] {
        let types = types.iter().map(|kind| kind.name().trim_start_matches('_').to_owned() + array(kind));
        let types: Vec<String> = types.collect();
        let nulls = vec!["NULL"; types.len()].join(", ");
        let (types, nulls) = if types.is_empty() {
            (String::new(), nulls)
        } else {
            (format!("({})", types.join(", ")), format!("({nulls})"))
        };
        let prepare = format!("DEALLOCATE ALL; PREPARE it{types} AS {sql}");
        for sql in [prepare, format!("EXPLAIN EXECUTE it{nulls}")] {
            client
                .batch_execute(&sql)
                .await
                .map_err(|error| format!("{name}: {}", error.as_db_error().unwrap().message()))?;
        }
    }
    // Planning a claim takes no token.
    let claim = format!(
        "DEALLOCATE ALL; PREPARE it (bigint, bigint, text, integer, timestamptz) AS {};
         BEGIN; EXECUTE it (1, 1000, 'w', 5, '-infinity')",
        sql!("claim").1
    );
    let claimed = client.batch_execute(&claim).await.map_err(|error| error.as_db_error().unwrap().message().to_owned());
    client.batch_execute("ROLLBACK").await.unwrap();
    claimed?;
    // What a settle asks of an app's column of another type than these.
    client
        .execute("SELECT receipt_queue_value(1.5::double precision)", &[])
        .await
        .map_err(|error| format!("value: {}", error.as_db_error().unwrap().message()))?;
    drop(database.connect_checked().await.map_err(named("connect"))?);
    status(client).await.map_err(named("status"))?;
    backlog(client).await.map_err(named("backlog"))?;
    dead_letters::list(client, &DeadLetterSelection::All, 1).await.map_err(named("dlq list"))?;
    dead_letters::retry(client, &DeadLetterSelection::Receipts(Vec::new())).await.map_err(named("dlq retry"))?;
    dead_letters::discard(client, &DeadLetterSelection::Receipts(Vec::new())).await.map_err(named("dlq discard"))?;
    take_back(client, &[Lease { job: 0, token: 0 }]).await.map_err(named("take back"))?;
    receipts::query(client, &[]).await.map_err(named("look"))?;
    components::history(client, 1).await.map_err(named("history"))?;
    let entry = LedgerEntry {
        worker: "w".to_owned(),
        change: Change::Stopped,
        digest: "d".to_owned(),
        previous: None,
        reason: None,
        source: None,
    };
    components::record(client, &entry).await.map_err(named("record"))?;
    let reparser = Reparser::connect(database, "digest").await.map_err(named("reparse"))?;
    let which = reparse::ReparseSelection { since: Some(SystemTime::now()), ..Default::default() };
    reparser.count(&which).await.map_err(named("reparse"))?;
    let pruner = Pruner::connect(database, 1, std::time::Duration::ZERO).await.map_err(named("prune"))?;
    pruner.processed(SystemTime::UNIX_EPOCH, |_| {}).await.map_err(named("prune"))?;
    pruner.dead(SystemTime::UNIX_EPOCH, |_| {}).await.map_err(named("prune"))?;
    reconcile::glance(client, std::time::Duration::ZERO).await.map_err(named("reconcile"))?;
    client
        .execute("SELECT receipt_queue_reconcile_step('w', '1 hour', 1)", &[])
        .await
        .map_err(|error| format!("reconcile: {}", error.as_db_error().unwrap().message()))?;
    Ok(())
}

fn array(kind: &Type) -> &'static str {
    if kind.name().starts_with('_') { "[]" } else { "" }
}

#[tokio::test]
async fn every_right_that_host_rights_grants_is_needed() {
    const ROLE: &str = "test_needed";
    let world = world_with(ROLE).await;
    let database = Database::parse(&world.db.url_as(ROLE)).unwrap();
    let mut client = world.db.connect_as(ROLE).await;
    world.insert("a.jpg").await;
    everything(&database, &mut client).await.unwrap();
    // What it has, from the catalogue, each with what takes it away.
    let grants = format!(
        "SELECT format('%s ON %s%s', acl.privilege_type, CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE '' END, c.oid::regclass)
         FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
         WHERE acl.grantee = '{ROLE}'::regrole
         UNION ALL
         SELECT format('%s (%I) ON %s', acl.privilege_type, a.attname, a.attrelid::regclass)
         FROM pg_attribute a CROSS JOIN LATERAL aclexplode(a.attacl) AS acl
         WHERE acl.grantee = '{ROLE}'::regrole
         UNION ALL
         SELECT format('%s ON FUNCTION %s', acl.privilege_type, p.oid::regprocedure)
         FROM pg_proc p CROSS JOIN LATERAL aclexplode(p.proacl) AS acl
         WHERE acl.grantee = '{ROLE}'::regrole"
    );
    let grants: Vec<String> = world.client.query(&grants, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(grants.len(), 3 + 3 + 2 + 1 + 1 + 1 + 1 + 10 + 8 + 2 + 4, "{grants:#?}");
    for grant in grants {
        world.execute(&format!("REVOKE {grant} FROM {ROLE}")).await;
        let error = everything(&database, &mut client).await.expect_err(&grant);
        assert!(error.contains("permission denied"), "{grant}: {error}");
        assert!(!missing_rights(&client).await.unwrap().is_empty(), "{grant} is not missed by host doctor");
        world.execute(&format!("GRANT {grant} TO {ROLE}")).await;
    }
    // Without a policy the table is empty for it, and nothing fails: doctor must say so. Where a platform has roles for
    // everybody, all of them have row-level security.
    world
        .execute(
            "ALTER TABLE receipt_queue ENABLE ROW LEVEL SECURITY;
             ALTER TABLE receipt_queue_dlq ENABLE ROW LEVEL SECURITY;
             ALTER TABLE receipt_component_changes ENABLE ROW LEVEL SECURITY",
        )
        .await;
    for table in ["receipts", "receipt_queue", "receipt_queue_dlq", "receipt_component_changes"] {
        world.execute(&format!("ALTER POLICY \"receipt queue: {ROLE}\" ON {table} TO postgres")).await;
        let missing = missing_rights(&client).await.unwrap().join("; ");
        assert!(missing.contains("row-level security") && missing.contains(table), "{table}: {missing}");
        world.execute(&format!("ALTER POLICY \"receipt queue: {ROLE}\" ON {table} TO {ROLE}")).await;
    }
    assert_eq!(missing_rights(&client).await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn it_may_do_nothing_else() {
    const ROLE: &str = "test_nothing_else";
    let world = world_with(ROLE).await;
    world.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC").await;
    let client = world.db.connect_as(ROLE).await;
    for forbidden in [
        "SELECT private_note FROM receipts",
        "SELECT image_url, user_id FROM receipts",
        "SELECT * FROM receipts",
        "UPDATE receipts SET private_note = ''",
        "UPDATE receipts SET user_id = 'me'",
        "INSERT INTO receipts (image_url) VALUES ('a.jpg')",
        "DELETE FROM receipts",
        "TRUNCATE receipts",
        "SELECT * FROM salaries",
        "INSERT INTO receipt_queue (receipt_id) SELECT id FROM receipts",
        "UPDATE receipt_queue_dlq SET notes = ''",
        "DELETE FROM receipt_component_changes",
        "UPDATE receipt_component_changes SET change = 'allowed'",
        "SELECT setval('receipt_queue_token', 1)",
        "SELECT receipt_queue_put(array_agg(id)) FROM receipts",
        "SELECT * FROM receipt_queue_pass",
        "UPDATE receipt_queue_pass SET ended_at = now()",
        "INSERT INTO receipt_queue_schema VALUES (1)",
        "CREATE TABLE mine (n integer)",
        "ALTER TABLE receipt_queue DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE receipts DISABLE TRIGGER receipts_enqueue",
        "DROP POLICY own ON receipts",
        "CREATE ROLE another",
    ] {
        let error = client.batch_execute(forbidden).await.expect_err(forbidden);
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{forbidden}: {error:?}");
    }
    let attributes = format!(
        "SELECT concat_ws(',', rolsuper, rolbypassrls, rolcreaterole, rolcreatedb) FROM pg_roles WHERE rolname = '{ROLE}'"
    );
    assert_eq!(world.text(&attributes, &[]).await, "f,f,f,f");
}

#[tokio::test]
async fn what_was_granted_beyond_it_is_taken_away() {
    const ROLE: &str = "test_beyond";
    let world = world_with(ROLE).await;
    world
        .execute(&format!(
            "GRANT ALL ON receipts, receipt_queue, receipt_component_changes, receipt_queue_dlq TO {ROLE}"
        ))
        .await;
    world.execute(&script(&ROLE.parse().unwrap())).await;
    let client = world.db.connect_as(ROLE).await;
    for forbidden in
        ["SELECT private_note FROM receipts", "TRUNCATE receipt_queue", "DELETE FROM receipt_component_changes"]
    {
        let error = client.batch_execute(forbidden).await.expect_err(forbidden);
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{forbidden}");
    }
    everything(&Database::parse(&world.db.url_as(ROLE)).unwrap(), &mut world.db.connect_as(ROLE).await).await.unwrap();
}

#[tokio::test]
async fn a_name_is_a_name_whatever_is_in_it() {
    let world = World::new().await;
    for name in [r#"x"; DROP TABLE salaries; --"#, "x'; DROP TABLE salaries; --", r"x\'; $$ DROP $$", "$1 {ROLE} %I"] {
        world.execute("CREATE TABLE IF NOT EXISTS salaries (amount integer)").await;
        let role: RoleName = name.parse().unwrap();
        world.execute(&script(&role)).await;
        world.execute(&script(&role)).await;
        let made = "SELECT count(*)::text FROM pg_roles WHERE rolname = $1 AND has_table_privilege(oid, 'receipt_queue', 'DELETE')";
        assert_eq!(world.text(made, &[&name]).await, "1", "{name}");
        assert_eq!(world.count("salaries").await, 0);
    }
    let refused = HostCommand::bare().args(["rights", "--role", "anon"]).run().await;
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""), "{}", refused.stderr);
}
