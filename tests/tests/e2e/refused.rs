//! A database that takes no result: found out before anything is paid for, and nothing is claimed until it does.

use tests::{TestDatabase, World, WorldSettings, eventually};

/// The app's table of statuses lacks the worker's words.
const STATUSES: &str = "CREATE TABLE receipt_statuses (code text PRIMARY KEY);
    INSERT INTO receipt_statuses VALUES ('pending'), ('approved');
    CREATE TABLE receipts (id bigserial PRIMARY KEY, image_url text,
        status text NOT NULL DEFAULT 'pending' REFERENCES receipt_statuses (code))";
const DEFERRED: &str = "CREATE TABLE receipt_statuses (code text PRIMARY KEY);
    INSERT INTO receipt_statuses VALUES ('pending'), ('approved');
    CREATE TABLE receipts (id bigserial PRIMARY KEY, image_url text,
        status text NOT NULL DEFAULT 'pending' REFERENCES receipt_statuses (code) DEFERRABLE INITIALLY DEFERRED)";
const RAISES: &str = "CREATE TABLE receipts (id bigserial PRIMARY KEY, image_url text, status text NOT NULL DEFAULT 'pending');
    CREATE FUNCTION app() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.status NOT IN ('pending', 'approved') THEN RAISE EXCEPTION 'status % of receipt % is not ours', NEW.status, NEW.id; END IF;
        RETURN NEW; END $$;
    CREATE TRIGGER app BEFORE UPDATE ON receipts FOR EACH ROW EXECUTE FUNCTION app()";
const SKIPS: &str =
    "CREATE TABLE receipts (id bigserial PRIMARY KEY, image_url text, status text NOT NULL DEFAULT 'pending');
    CREATE FUNCTION app() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN OLD; END $$;
    CREATE TRIGGER app BEFORE UPDATE ON receipts FOR EACH ROW EXECUTE FUNCTION app()";

async fn world(schema: &str) -> World {
    let db = TestDatabase::empty().await;
    db.connect().await.batch_execute(schema).await.unwrap();
    let world = World::with(WorldSettings { db: Some(db), ..Default::default() }).await;
    world.host().arg("migrate").run().await.ok();
    world.photo("a.jpg").await;
    world
}

async fn wait(world: &World, count: usize) {
    world.execute(&format!("INSERT INTO receipts (image_url) SELECT 'a.jpg' FROM generate_series(1, {count}) n")).await;
}

#[tokio::test]
async fn what_refuses_every_result_is_found_out_before_anything_is_paid() {
    for (schema, mend) in [
        (STATUSES, "INSERT INTO receipt_statuses VALUES ('ocr_done'), ('ocr_failed')"),
        (DEFERRED, "INSERT INTO receipt_statuses VALUES ('ocr_done'), ('ocr_failed')"),
        (RAISES, "DROP TRIGGER app ON receipts"),
        (SKIPS, "DROP TRIGGER app ON receipts"),
    ] {
        let world = world(schema).await;
        let host = async |args: &[&str]| world.host().args(args).run().await;
        // Nothing to try it on.
        assert!(host(&["doctor"]).await.stdout.contains("settle           not tried"));
        let mut running = world.run(&["--every", "100ms"]).spawn();
        running.logged("worker.started").await;
        wait(&world, 12).await;
        running.logged_with("breaker.opened", "breaker=\"settles\"").await;
        let doctor = host(&["doctor"]).await;
        assert!(doctor.stdout.contains("FAIL  settle"), "{}", doctor.stdout);
        assert_eq!(doctor.code, Some(1));
        let error = host(&["migrate"]).await.error();
        assert!(error.contains("no receipt could be settled"), "{error}");
        eventually("it is shown", async || {
            let status = world.host().arg("status").run().await.stdout;
            status.contains("the database refuses every result").then_some(())
        })
        .await;
        // Probes are not paid for, either.
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        assert_eq!(world.textract.calls(), 0, "{schema}");
        assert_eq!(world.count("receipt_queue WHERE NOT processed AND attempts > 1").await, 0);
        world.execute(mend).await;
        eventually("all are done", async || {
            host(&["hurry", "--all"]).await.ok();
            (world.count("receipts WHERE status = 'ocr_done'").await == 12).then_some(())
        })
        .await;
        running.stop().await.ok();
        world.assert_settled(12).await;
        assert_eq!(world.textract.calls(), 12, "{schema}");
        assert_eq!(world.count("receipt_component_changes WHERE change IN ('paused', 'resumed')").await, 2);
        assert!(host(&["doctor"]).await.stdout.contains("ok    settle"), "{schema}");
    }
}

/// A receipt or two that the app lets nobody change stop nobody.
#[tokio::test]
async fn refusals_that_are_some_receipts_own_stop_nobody() {
    let world = world(
        "CREATE TABLE receipts (id bigserial PRIMARY KEY, image_url text, status text NOT NULL DEFAULT 'pending', n integer);
         CREATE FUNCTION app() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF NEW.n < 3 THEN RAISE EXCEPTION 'closed'; END IF; RETURN NEW; END $$;
         CREATE TRIGGER app BEFORE UPDATE ON receipts FOR EACH ROW EXECUTE FUNCTION app()",
    )
    .await;
    world.execute("INSERT INTO receipts (image_url, n) SELECT 'a.jpg', n FROM generate_series(1, 20) n").await;
    let summary = world.once().await;
    assert_eq!(summary["processed"], 18, "{summary}");
    assert_eq!(world.count("receipt_queue WHERE NOT processed AND attempts = 0").await, 2);
    assert_eq!(world.count("receipt_component_changes WHERE change = 'paused'").await, 0);
}

/// The app's schema changes while the host works.
#[tokio::test]
async fn a_host_at_work_stops_claiming_when_results_are_refused() {
    let world = world(STATUSES).await;
    world.execute("INSERT INTO receipt_statuses VALUES ('ocr_done'), ('ocr_failed')").await;
    wait(&world, 2).await;
    let mut host = world.run(&["--every", "100ms", "--concurrency", "2"]).spawn();
    eventually("two are done", async || (world.count("receipts WHERE status = 'ocr_done'").await == 2).then_some(()))
        .await;
    world
        .execute(
            "UPDATE receipts SET status = 'approved';
             DELETE FROM receipt_statuses WHERE code IN ('ocr_done', 'ocr_failed')",
        )
        .await;
    wait(&world, 30).await;
    host.logged_with("breaker.opened", "breaker=\"settles\"").await;
    let paid = world.textract.requests();
    assert!(paid < 15, "{paid} receipts were paid for, of which nothing could be kept");
    world.execute("INSERT INTO receipt_statuses VALUES ('ocr_done'), ('ocr_failed')").await;
    eventually("the others are done", async || {
        world.host().args(["hurry", "--all", "--json"]).run().await.ok();
        (world.count("receipts WHERE status = 'ocr_done'").await == 30).then_some(())
    })
    .await;
    host.stop().await.ok();
    assert_eq!(world.textract.calls(), 32, "what was paid for is kept");
}

#[tokio::test]
async fn what_was_put_off_is_made_due_by_a_verb() {
    let world = World::new().await;
    let (mine, other, parked) = (world.insert("a.jpg").await, world.insert("b.jpg").await, world.insert("c.jpg").await);
    world
        .execute(&format!(
            "UPDATE receipt_queue SET available_at = now() + interval '15 minutes', last_error_code = 'queue.ResultRefused';
             UPDATE receipt_queue SET available_at = 'infinity' WHERE receipt_id = '{parked}'"
        ))
        .await;
    let due = async || world.count("receipt_queue WHERE available_at <= now()").await;
    let hurried = world.host().args(["hurry", "--json", mine.as_str()]).run().await;
    let line = hurried.json();
    assert_eq!((&line["receipt_id"], &line["error_code"]), (&mine.clone().into(), &"queue.ResultRefused".into()));
    assert_eq!(due().await, 1);
    let again = world.host().args(["hurry", mine.as_str()]).run().await.error();
    assert!(again.contains("not put off"), "{again}");
    assert_eq!(world.host().args(["hurry", "--all"]).run().await.ok().trim(), other);
    assert_eq!(due().await, 2);
    world.host().args(["hurry", parked.as_str()]).run().await.ok();
    assert_eq!(due().await, 3);
}

/// A publication without a replica identity refuses every update, by a code that others use for what passes.
#[tokio::test]
async fn a_publication_that_lets_nothing_be_updated_stops_a_host_at_work() {
    let world = World::new().await;
    world.photo("a.jpg").await;
    let wait = async |count: usize| {
        world
            .execute(&format!("INSERT INTO receipts (image_url) SELECT 'a.jpg' FROM generate_series(1, {count}) n"))
            .await;
    };
    wait(2).await;
    let mut host = world.run(&["--every", "100ms", "--concurrency", "2", "--batch-size", "1"]).spawn();
    let done = async || world.count("receipts WHERE status = 'ocr_done'").await;
    eventually("two are done", async || (done().await == 2).then_some(())).await;
    world.execute("ALTER TABLE receipts REPLICA IDENTITY NOTHING; CREATE PUBLICATION app FOR TABLE receipts").await;
    wait(30).await;
    host.logged_with("breaker.opened", "breaker=\"settles\"").await;
    let doctor = world.host().arg("doctor").run().await.stdout;
    assert!(doctor.contains("FAIL  settle") && doctor.contains("replica identity"), "{doctor}");
    assert!(world.textract.calls() < 17, "{} were paid for", world.textract.calls());
    world.execute("DROP PUBLICATION app").await;
    eventually("the others are done", async || {
        world.host().args(["hurry", "--all", "--json"]).run().await.ok();
        (done().await == 32).then_some(())
    })
    .await;
    host.stop().await.ok();
    assert_eq!(world.textract.calls(), 32, "what was paid for is kept");
}

/// Results are taken, and that a receipt fails is not: it would be tried again for ever.
#[tokio::test]
async fn a_schema_in_which_no_receipt_can_fail_is_found_out() {
    let world = world(STATUSES).await;
    world.execute("INSERT INTO receipt_statuses VALUES ('ocr_done')").await;
    wait(&world, 2).await;
    world.execute("INSERT INTO receipts (image_url) VALUES ('gone.jpg')").await;
    let doctor = world.host().arg("doctor").run().await;
    assert!(
        doctor.stdout.contains("FAIL  settle") && doctor.stdout.contains("receipts_status_fkey"),
        "{}",
        doctor.stdout
    );
    let error = world.host().arg("migrate").run().await.error();
    assert!(error.contains("no receipt that fails could be given up"), "{error}");
    // The others are none the worse for it.
    let once = world.run(&["--once"]).run().await;
    assert!(once.logged("rehearsal.dead_letter_refused"), "{}", once.stderr);
    assert_eq!(once.json()["processed"], 2);
    world.execute("INSERT INTO receipt_statuses VALUES ('ocr_failed')").await;
    assert!(world.host().arg("doctor").run().await.stdout.contains("ok    settle"));
    world.host().args(["hurry", "--all"]).run().await.ok();
    assert_eq!(world.once().await["dead"], 1);
    world.assert_settled(3).await;
}

/// What a column's type does not take is told before there is a receipt.
#[tokio::test]
async fn a_column_that_cannot_take_a_result_is_found_out_in_an_empty_table() {
    for (column, named) in [
        ("currency currency", "currency"),
        ("vendor_text jsonb", "vendor_text"),
        ("cents integer, total_amount numeric GENERATED ALWAYS AS (cents / 100.0) STORED", "total_amount"),
        ("status varchar(9) NOT NULL DEFAULT 'pending'", "character varying(9)"),
    ] {
        let db = TestDatabase::empty().await;
        let schema = format!(
            "CREATE TYPE currency AS ENUM ('USD', 'EUR'); CREATE TABLE receipts (id bigserial PRIMARY KEY, {column})"
        );
        db.connect().await.batch_execute(&schema).await.unwrap();
        let world = World::with(WorldSettings { db: Some(db), ..Default::default() }).await;
        let error = world.host().arg("migrate").run().await.error();
        assert!(error.contains("no receipt could be settled") && error.contains(named), "{column}: {error}");
        let doctor = world.host().arg("doctor").run().await.stdout;
        assert!(doctor.contains("FAIL  settle") && doctor.contains(named), "{column}: {doctor}");
    }
}
