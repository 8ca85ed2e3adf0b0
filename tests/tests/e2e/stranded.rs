//! Receipts that are pending and that no trigger saw: they are found by walking the table, and queued.

use tests::{HostCommand, TestDatabase, World, WorldSettings, eventually};

/// As logical replication and pg_restore write.
async fn unseen(world: &World, sql: &str) {
    world
        .execute(&format!("SET session_replication_role = replica; {sql}; SET session_replication_role = origin"))
        .await;
}

async fn reconcile(world: &World, args: &[&str]) -> serde_json::Value {
    world.host().args(["reconcile", "--json"]).args(args).run().await.json()
}

/// What is due now.
async fn waiting(world: &World) -> String {
    let sql = "SELECT coalesce(string_agg(s3_key, ',' ORDER BY s3_key), '') FROM receipt_queue WHERE NOT processed";
    world.text(sql, &[]).await
}

#[tokio::test]
async fn receipts_that_no_trigger_saw_are_counted_named_and_queued() {
    let world = World::new().await;
    world.photo("a.jpg").await;
    world.photo("b.jpg").await;
    unseen(&world, "INSERT INTO receipts (image_url) VALUES ('a.jpg'), ('b.jpg')").await;
    world.execute("INSERT INTO receipts (status, image_url) VALUES ('ocr_done', 'c.jpg'), ('draft', 'd.jpg')").await;
    // Nothing but reconciling does it: they are pending already.
    world.execute("UPDATE receipts SET status = 'pending' WHERE status = 'pending'").await;
    assert_eq!(world.once().await["processed"], 0);

    let status = world.host().arg("status").run().await.ok();
    assert!(status.contains("2 receipts are pending and were never queued: host reconcile"), "{status}");
    let lines = world.host().args(["status", "--json"]).run().await;
    assert!(
        lines.json_lines().iter().any(|line| line["stranded"] == 2 && line["complete"] == true),
        "{}",
        lines.stdout
    );
    let doctor = world.host().arg("doctor").run().await.ok();
    assert!(doctor.contains("warn  reconcile        2 receipts"), "{doctor}");

    let counted = reconcile(&world, &["--dry-run"]).await;
    assert_eq!((&counted["looked"], &counted["stranded"], &counted["queued"]), (&4.into(), &2.into(), &0.into()));
    assert_eq!(world.count("receipt_queue").await, 0);
    let text = world.host().arg("reconcile").run().await.ok();
    assert!(text.contains("2 of 4 receipts"), "{text}");
    assert_eq!(waiting(&world).await, "a.jpg,b.jpg");
    assert_eq!(reconcile(&world, &[]).await["stranded"], 0);
    assert_eq!(world.once().await["processed"], 2);
    let status = world.host().arg("status").run().await.ok();
    assert!(!status.contains("never queued"), "{status}");
}

#[tokio::test]
async fn what_was_changed_behind_the_triggers_is_queued_anew_and_a_dead_letter_once() {
    let world = World::new().await;
    for name in ["done.jpg", "new.jpg"] {
        world.photo(name).await;
    }
    let done = world.insert("done.jpg").await;
    let dead = world.insert("dead.jpg").await;
    assert_eq!(world.once().await["dead"], 1);
    let waits = world.insert("old.jpg").await;
    let edited = world.insert("edited.jpg").await;
    unseen(
        &world,
        &format!(
            "UPDATE receipts SET status = 'pending' WHERE id IN ('{done}', '{dead}');
             UPDATE receipts SET image_url = 'new.jpg' WHERE id = '{waits}';
             UPDATE receipts SET vendor_text = 'no reason to begin anew' WHERE id = '{edited}';
             UPDATE receipt_queue SET attempts = 3 WHERE receipt_id IN ('{waits}', '{edited}')"
        ),
    )
    .await;
    assert_eq!(reconcile(&world, &[]).await["queued"], 3);
    assert_eq!(waiting(&world).await, "dead.jpg,done.jpg,edited.jpg,new.jpg");
    assert_eq!(world.count("receipt_queue WHERE attempts = 3").await, 1, "what waits for its image goes on waiting");
    assert_eq!((world.count("receipt_queue_dlq").await, world.count("receipt_queue WHERE deaths = 1").await), (0, 1));
    world.execute(&format!("DELETE FROM receipts WHERE id = '{edited}'")).await;
    let summary = world.once().await;
    assert_eq!((&summary["processed"], &summary["dead"]), (&2.into(), &1.into()), "{summary}");
    // It died twice: whatever sets it to pending, nothing pays for it once an hour.
    unseen(&world, &format!("UPDATE receipts SET status = 'pending' WHERE id = '{dead}'")).await;
    let found = reconcile(&world, &[]).await;
    assert_eq!((&found["stranded"], &found["queued"], &found["dead"]), (&0.into(), &0.into(), &1.into()), "{found}");
    assert_eq!(world.count("receipt_queue_dlq").await, 1);
    let status = world.host().arg("status").run().await.ok();
    assert!(status.contains("1 receipts are pending and dead letters: host dlq retry"), "{status}");
}

#[tokio::test]
async fn a_running_host_reconciles_and_does_not_where_it_is_told_so() {
    let world = World::new().await;
    let (receipt, _) = world.receipt("a.jpg").await;
    unseen(&world, "DELETE FROM receipt_queue").await;
    let run = |args: &[&str]| world.run(&["--admin", "off", "--every", "200ms", "--reconcile-every", "1s"]).args(args);
    let host = run(&["--no-reconcile"]).spawn();
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    host.stop().await.ok();
    assert_eq!(world.status_of(&receipt).await, "pending");
    let mut host = run(&[]).spawn();
    world.becomes(&receipt, "ocr_done").await;
    host.logged("reconcile.queued").await;
    host.stop().await.ok();
    world.assert_settled(1).await;
}

#[tokio::test]
async fn one_pass_reconciles_when_it_is_due() {
    let world = World::new().await;
    world.receipt("a.jpg").await;
    unseen(&world, "DELETE FROM receipt_queue").await;
    assert_eq!(world.once().await["processed"], 0, "the first pass is an hour after the migration");
    world.execute("UPDATE receipt_queue_pass SET ended_at = now() - interval '2 hours'").await;
    assert_eq!(world.once().await["processed"], 1);
}

/// Hosts share one pass an hour. The one that has it is followed by another when it goes away.
#[tokio::test]
async fn of_several_hosts_one_does_a_pass_and_another_takes_over_where_it_stopped() {
    let world = World::new().await;
    unseen(&world, "INSERT INTO receipts (image_url) SELECT 'p-' || n FROM generate_series(1, 25) n").await;
    world.execute("UPDATE receipt_queue_pass SET ended_at = now() - interval '2 hours'").await;
    let step = async |host: &str| {
        let sql = "SELECT concat_ws(' ', state, looked, queued) FROM receipt_queue_reconcile_step($1, '1 hour', 10)";
        world.text(sql, &[&host]).await
    };
    assert_eq!(step("a").await, "more 10 10");
    assert_eq!(step("b").await, "busy");
    // In the middle of a step, too.
    let client = world.db.connect().await;
    client.batch_execute("BEGIN; SELECT FROM receipt_queue_reconcile_step('a', '1 hour', 10)").await.unwrap();
    assert_eq!(step("b").await, "busy");
    client.batch_execute("ROLLBACK").await.unwrap();
    world.execute("UPDATE receipt_queue_pass SET beat_at = now() - interval '2 minutes'").await;
    assert_eq!(step("b").await, "more 20 20");
    assert_eq!(step("a").await, "busy");
    assert_eq!(step("b").await, "ended 25 25");
    for host in ["a", "b"] {
        assert!(step(host).await.starts_with("resting"));
    }
    assert_eq!(world.count("receipt_queue").await, 25);
}

/// Beside an app that holds some of them, and beside one that inserts meanwhile.
#[tokio::test]
async fn what_somebody_has_in_hand_is_left_and_what_is_being_inserted_is_not_queued_twice() {
    let world = World::new().await;
    unseen(&world, "INSERT INTO receipts (image_url) VALUES ('held'), ('free')").await;
    let app = world.db.connect().await;
    app.batch_execute("BEGIN; UPDATE receipts SET user_id = 'me' WHERE image_url = 'held'; INSERT INTO receipts (image_url) VALUES ('mine')")
        .await
        .unwrap();
    let found = reconcile(&world, &[]).await;
    assert_eq!((&found["stranded"], &found["queued"]), (&2.into(), &1.into()), "{found}");
    app.batch_execute("COMMIT").await.unwrap();
    assert_eq!(reconcile(&world, &[]).await["queued"], 1);
    assert_eq!(waiting(&world).await, "free,held,mine");
}

/// With many more receipts than a slice has, and with any kind of key.
#[tokio::test]
async fn any_kind_of_key_is_walked_to_its_end() {
    let keys = [
        ("uuid PRIMARY KEY DEFAULT gen_random_uuid()", "gen_random_uuid()"),
        ("bigint PRIMARY KEY", "n - 1000"),
        ("text PRIMARY KEY", "'é''\\ ' || n"),
        ("varchar(9) PRIMARY KEY", "'v' || n"),
        ("char(12) PRIMARY KEY", "n::text"),
        ("numeric PRIMARY KEY", "n / 7.0"),
        ("timestamptz PRIMARY KEY", "timestamptz '2024-01-01' + n * interval '1 minute 1 microsecond'"),
        ("receipt_key PRIMARY KEY", "'k' || n"),
    ];
    for (key, value) in keys {
        let db = TestDatabase::empty().await;
        let client = db.connect().await;
        client.batch_execute("CREATE DOMAIN receipt_key AS text CHECK (value <> '')").await.unwrap();
        client.batch_execute(&format!("CREATE TABLE receipts (id {key}, image_url text)")).await.unwrap();
        let world = World::with(WorldSettings { db: Some(db), ..Default::default() }).await;
        world.host().arg("migrate").run().await.ok();
        let insert =
            format!("INSERT INTO receipts (id, image_url) SELECT {value}, 'p' FROM generate_series(1, 2500) n");
        unseen(&world, &insert).await;
        let found = reconcile(&world, &[]).await;
        assert_eq!((&found["looked"], &found["queued"]), (&2500.into(), &2500.into()), "{key}: {found}");
        assert_eq!(world.count("receipt_queue q JOIN receipts r ON r.id = q.receipt_id").await, 2500, "{key}");
        // The other functions take it as well.
        world.execute("UPDATE receipts SET status = 'ocr_failed'; UPDATE receipts SET status = 'pending'").await;
        assert_eq!(world.count("receipt_queue WHERE NOT processed").await, 2500, "{key}");
    }
}

/// One that the database refuses does not keep the others from the queue, and is named.
#[tokio::test]
async fn one_that_cannot_be_queued_is_named_and_holds_up_nobody() {
    let world = World::new().await;
    unseen(&world, "INSERT INTO receipts (image_url) VALUES ('good'), ('bad'), ('fine')").await;
    world.execute("ALTER TABLE receipt_queue ADD CONSTRAINT no_bad CHECK (s3_key <> 'bad')").await;
    let finished = world.host().arg("reconcile").run().await;
    assert_eq!(finished.code, Some(1));
    assert!(
        finished.stdout.contains("1 could not be queued") && finished.stdout.contains("no_bad"),
        "{}",
        finished.stdout
    );
    assert_eq!(waiting(&world).await, "fine,good");
}

/// A pooler gives each statement another session.
#[tokio::test]
async fn a_table_is_read_in_slices_along_its_key() {
    let world = World::new().await;
    unseen(
        &world,
        "INSERT INTO receipts (image_url, status) SELECT 'p', 'ocr_done' FROM generate_series(1, 50000); ANALYZE receipts",
    )
    .await;
    let read = "SELECT coalesce(seq_scan, 0)::text FROM pg_stat_user_tables WHERE relname = 'receipts'";
    let flush = "SELECT pg_stat_clear_snapshot(), pg_sleep(1.1)";
    world.execute(flush).await;
    let before = world.text(read, &[]).await;
    assert_eq!(reconcile(&world, &[]).await["looked"], 50000);
    world.execute(flush).await;
    eventually("statistics", async || {
        let walked = "SELECT (idx_scan >= 50)::text FROM pg_stat_user_tables WHERE relname = 'receipts'";
        (world.text(walked, &[]).await == "true").then_some(())
    })
    .await;
    assert_eq!(world.text(read, &[]).await, before, "no slice reads the table as a whole");
}

/// The role that host rights makes does all of it; one of before is told what to do.
#[tokio::test]
async fn a_workers_role_reconciles_and_one_of_before_is_told_what_it_lacks() {
    const ROLE: &str = "test_reconciles";
    let world = World::new().await;
    world.execute(&HostCommand::bare().args(["rights", "--role", ROLE]).run().await.ok()).await;
    world.execute(&format!("ALTER ROLE {ROLE} PASSWORD 'secret'")).await;
    unseen(&world, "INSERT INTO receipts (image_url) VALUES ('a.jpg')").await;
    let host = || world.host().env("DATABASE_URL", world.db.url_as(ROLE));
    world
        .execute(&format!(
            "REVOKE EXECUTE ON FUNCTION receipt_queue_reconcile(text, integer, boolean, boolean) FROM {ROLE}"
        ))
        .await;
    host().arg("status").run().await.ok();
    let doctor = host().arg("doctor").run().await;
    assert!(doctor.stdout.contains("grant EXECUTE on function public.receipt_queue_reconcile("), "{}", doctor.stdout);
    assert!(host().arg("reconcile").run().await.error().contains("permission denied"));
    world.execute(&HostCommand::bare().args(["rights", "--role", ROLE]).run().await.ok()).await;
    assert_eq!(host().args(["reconcile", "--json"]).run().await.json()["queued"], 1);
}
