//! A worker whose role is not the owner: what `host doctor` asks for is enough for all that it does.

use host::queue::role::script;
use host::queue::status::missing_rights;
use host::queue::{Database, Lease, take_back};
use tests::{HostCommand, World};
use tokio_postgres::Client;

const ROLE: &str = "test_worker";

/// The role, and a connection as it, with exactly the grants that it is told to ask for.
async fn worker(world: &World) -> Client {
    world
        .execute(
            // The role is all databases', and tests run side by side.
            "DO $$ BEGIN
                 CREATE ROLE test_worker LOGIN BYPASSRLS PASSWORD 'secret';
             EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
             END $$",
        )
        .await;
    let client = Database::parse(&world.db.url_as(ROLE)).unwrap().connect().await.unwrap().into_driver();
    for grant in missing_rights(&client).await.unwrap() {
        world.execute(&format!("{grant} TO {ROLE}")).await;
    }
    assert_eq!(missing_rights(&client).await.unwrap(), Vec::<String>::new());
    client
}

fn host(world: &World) -> HostCommand {
    world.host().env("DATABASE_URL", world.db.url_as(ROLE))
}

#[tokio::test]
async fn a_role_that_hears_what_it_lacks_hears_all_of_it_at_once() {
    let world = World::new().await;
    drop(worker(&world).await);
    world.execute(&format!("REVOKE ALL ON receipt_queue_schema, receipt_queue, receipts FROM {ROLE}")).await;
    let finished = host(&world).arg("doctor").run().await;
    assert_eq!(finished.code, Some(1));
    for table in ["receipt_queue_schema", "receipt_queue", "receipts"] {
        let grant = format!("on {table}");
        let named = finished.stdout.contains(&grant) || finished.stdout.contains(&format!("on public.{table}"));
        assert!(named, "{table}: {}", finished.stdout);
    }
}

#[tokio::test]
async fn dead_letters_are_retried() {
    let world = World::new().await;
    drop(worker(&world).await);
    let (failed, waiting) = (world.insert("a.jpg").await, world.insert("b.jpg").await);
    assert_eq!(host(&world).args(["run", "--once"]).run().await.json()["dead"], 2);
    // By a hand that the trigger did not see.
    world
        .execute(&format!(
            "ALTER TABLE receipts DISABLE TRIGGER receipts_requeue;
             UPDATE receipts SET status = 'pending' WHERE id = '{waiting}';
             ALTER TABLE receipts ENABLE TRIGGER receipts_requeue"
        ))
        .await;
    let retried = host(&world).args(["dlq", "retry", "--all"]).run().await.ok();
    assert!(retried.contains(&failed) && retried.contains(&waiting), "{retried}");
    assert_eq!(
        (world.count("receipt_queue_dlq").await, world.count("receipt_queue WHERE NOT processed").await),
        (0, 2)
    );
    world.photo("a.jpg").await;
    world.photo("b.jpg").await;
    assert_eq!(host(&world).args(["run", "--once"]).run().await.json()["processed"], 2);
    world.assert_settled(2).await;
}

#[tokio::test]
async fn what_a_bad_component_buried_is_taken_back() {
    let world = World::new().await;
    let mut client = worker(&world).await;
    let (failed, archived) = (world.insert("a.jpg").await, world.insert("b.jpg").await);
    assert_eq!(host(&world).args(["run", "--once"]).run().await.json()["dead"], 2);
    world.execute(&format!("UPDATE receipts SET status = 'archived' WHERE id = '{archived}'")).await;
    let sql = "SELECT settled_token FROM receipt_queue_dlq";
    let rows = world.client.query(sql, &[]).await.unwrap();
    let leases: Vec<Lease> = rows.iter().map(|row| Lease { job: 0, token: row.get(0) }).collect();
    assert_eq!(take_back(&mut client, &leases).await.unwrap(), 1);
    assert_eq!(world.status_of(&failed).await, "pending");
    assert_eq!(world.status_of(&archived).await, "archived");
    assert_eq!(world.text("SELECT receipt_id::text FROM receipt_queue", &[]).await, failed);
    assert_eq!(world.text("SELECT receipt_id::text FROM receipt_queue_dlq", &[]).await, archived);
}

/// The app's own policy shows the worker some receipts, and the queue all jobs.
#[tokio::test]
async fn a_receipt_that_the_worker_may_not_see_waits_with_the_reason_and_is_paid_for_once() {
    waits_with_the_reason("test_half_blind", "FOR ALL").await;
}

/// A settle cannot lock it either, and for a while that looks as if somebody else had it locked.
#[tokio::test]
async fn a_receipt_that_the_worker_may_see_and_not_change_waits_with_the_reason_and_is_paid_for_once() {
    waits_with_the_reason("test_hands_off", "FOR UPDATE").await;
}

/// A policy of the app's lets this role do this with some receipts.
async fn waits_with_the_reason(role: &str, what: &str) {
    let world = World::new().await;
    world.execute(&script(&role.parse().unwrap())).await;
    world.execute(&format!("ALTER ROLE {role} PASSWORD 'secret'")).await;
    world
        .execute(&format!(
            "ALTER TABLE receipts ENABLE ROW LEVEL SECURITY;
             DROP POLICY IF EXISTS \"receipt queue: {role}\" ON receipts;
             CREATE POLICY a_few ON receipts {what} TO {role} USING (user_id = 'visible')"
        ))
        .await;
    if what == "FOR UPDATE" {
        world.execute(&format!("CREATE POLICY to_see ON receipts FOR SELECT TO {role} USING (true)")).await;
    }
    let (hidden, _) = world.receipt("a.jpg").await;
    world.insert("nowhere.jpg").await;
    let once = async || {
        let run = world.run(&["--once", "--admin", "off"]).env("DATABASE_URL", world.db.url_as(role));
        tokio::time::timeout(tests::PATIENCE, run.run()).await.expect("it ends")
    };
    let log = once().await.stderr;
    let hides = "row-level security hides rows of public.receipts from this role";
    assert!(tests::has_event_with(&log, "database.rights_missing", hides), "{log}");
    let waiting = "receipt_queue
        WHERE last_error_code = 'queue.ReceiptHidden' AND attempts = 0 AND lease_token IS NULL
          AND available_at > now() + interval '10 minutes'";
    assert_eq!(world.count(waiting).await, 2, "one that was read, and one that has no photo:\n{log}");
    assert_eq!(world.textract.calls(), 1);

    world
        .execute(&format!(
            "DROP POLICY a_few ON receipts;
             CREATE POLICY all_of_them ON receipts TO {role} USING (true);
             UPDATE receipt_queue SET available_at = now()"
        ))
        .await;
    let log = once().await.stderr;
    assert!(!tests::has_event(&log, "database.rights_missing"), "{log}");
    world.becomes(&hidden, "ocr_done").await;
    assert_eq!((world.count("receipt_queue_dlq").await, world.textract.calls()), (1, 1));
}
