//! PgBouncer in transaction mode: claims, settles and verbs go through it; LISTEN has a direct connection, or there is none.

use serde_json::Value;
use tests::{Running, TestDatabase, World, events, eventually};

use crate::pgbouncer::PgBouncer;

const NO_OTHER_LOOK: &str = "1h";

async fn pooled(pool_size: u32) -> Option<(World, PgBouncer)> {
    let world = World::new().await;
    let bouncer = PgBouncer::start(&world.db, pool_size).await?;
    Some((world, bouncer))
}

/// Receipts of one photo, inserted at once; each is read for itself.
async fn insert(world: &World, count: usize) {
    world.photo("one.jpg").await;
    world
        .execute(&format!(
            "INSERT INTO receipts (user_id, status, image_url)
             SELECT 'u', 'pending', 'one.jpg' FROM generate_series(1, {count})"
        ))
        .await;
}

async fn done(world: &World, count: i64) {
    eventually(&format!("{count} receipts are done"), async || {
        (world.count("receipts WHERE status = 'ocr_done'").await == count).then_some(())
    })
    .await;
}

/// What a host says at its end.
async fn processed(host: Running) -> u64 {
    let log = host.stop().await.stderr;
    let line = events(&log, "worker.stopped").pop().unwrap_or_else(|| panic!("{log}"));
    let word = line.split_whitespace().find_map(|word| word.strip_prefix("processed="));
    word.unwrap_or_else(|| panic!("{line}")).parse().unwrap()
}

#[tokio::test]
async fn five_hundred_receipts_of_two_hosts_share_two_sessions() {
    let Some((world, bouncer)) = pooled(2).await else { return };
    let start = || {
        let args = ["--every", NO_OTHER_LOOK, "--concurrency", "8", "--admin", "off"];
        world.run(&args).env("DATABASE_URL", bouncer.url()).env("DATABASE_DIRECT_URL", world.db.url()).spawn()
    };
    let mut hosts = [start(), start()];
    for host in &mut hosts {
        host.logged("worker.started").await;
    }
    // Nobody looks on its own: that they are worked at all is the notification's doing.
    insert(&world, 500).await;
    done(&world, 500).await;
    let [one, other] = hosts;
    assert_eq!(processed(one).await + processed(other).await, 500);
    world.assert_settled(500).await;
    assert_eq!(world.count("receipt_queue WHERE attempts = 1 AND claims = 1").await, 500);
    assert_eq!(world.textract.calls(), 500);
}

#[tokio::test]
async fn a_pooler_that_restarts_in_the_middle_loses_and_doubles_nothing() {
    let Some((world, mut bouncer)) = pooled(1).await else { return };
    let args = ["--every", "200ms", "--concurrency", "2", "--lease", "10s", "--no-listen", "--admin", "off"];
    let start = || world.run(&args).env("DATABASE_URL", bouncer.url()).spawn();
    let mut hosts = [start(), start()];
    for host in &mut hosts {
        // Before that a lost connection is an error of configuration.
        host.logged("worker.started").await;
    }
    insert(&world, 60).await;
    for restart in 1..=2 {
        eventually("some are done", async || {
            (world.count("receipts WHERE status = 'ocr_done'").await >= 15 * restart).then_some(())
        })
        .await;
        bouncer.restart().await;
    }
    done(&world, 60).await;
    let [one, other] = hosts;
    // Whose reply was lost, the host found out.
    assert_eq!(processed(one).await + processed(other).await, 60);
    world.assert_settled(60).await;
    assert_eq!(world.textract.calls(), 60);
}

/// Behind a pooler nobody notices that the server has become another one, which may have lost what was committed last.
#[tokio::test]
async fn what_a_failover_behind_a_pooler_has_lost_is_not_paid_for_again() {
    let Some((world, bouncer)) = pooled(4).await else { return };
    let args = ["--every", "100ms", "--no-listen", "--admin", "off"];
    let host = world.run(&args).env("DATABASE_URL", bouncer.url()).spawn();
    insert(&world, 1).await;
    done(&world, 1).await;
    // As the new primary knows it: waiting, never claimed, and inserted after the host had connected.
    world
        .execute(
            "SET session_replication_role = replica;
             UPDATE receipts SET status = 'pending', vendor_text = NULL, total_amount = NULL, currency = NULL,
                 receipt_date = NULL, ocr_confidence = NULL, ocr_s3_key = NULL, ocr_component = NULL;
             UPDATE receipt_queue SET processed = false, processed_at = NULL, attempts = 0, claims = 0,
                 settled_token = NULL, history = '[]', enqueued_at = now(), available_at = now();
             RESET session_replication_role",
        )
        .await;
    assert_eq!(world.count("receipts WHERE status = 'pending'").await, 1);
    done(&world, 1).await;
    assert_eq!(world.textract.calls(), 1);
    host.stop().await.ok();
}

#[tokio::test]
async fn listen_through_a_transaction_pooler_is_found_out() {
    let Some((world, bouncer)) = pooled(2).await else { return };
    let host = world.run(&["--every", "100ms", "--admin", "off"]).env("DATABASE_URL", bouncer.url()).spawn();
    let mut host = host;
    host.logged_with("listen.unavailable", "DATABASE_DIRECT_URL").await;
    let (receipt, _) = world.receipt("a.jpg").await;
    world.becomes(&receipt, "ocr_done").await;
    let log = host.stop().await.stderr;
    assert_eq!(log.lines().filter(|line| line.contains("WARN")).count(), 1, "{log}");
}

#[tokio::test]
async fn a_direct_url_of_another_database_is_found_out() {
    let Some((world, bouncer)) = pooled(2).await else { return };
    let another = TestDatabase::migrated().await;
    let host = world.run(&["--every", "100ms", "--admin", "off"]).env("DATABASE_URL", bouncer.url());
    let mut host = host.env("DATABASE_DIRECT_URL", another.url()).spawn();
    host.logged_with("queue.unreachable", "what=\"listen\"").await;
    let (receipt, _) = world.receipt("a.jpg").await;
    world.becomes(&receipt, "ocr_done").await;
    host.stop().await.ok();
}

#[tokio::test]
async fn doctor_tells_what_stands_in_between() {
    let Some((world, bouncer)) = pooled(2).await else { return };
    let checks = async |direct: Option<&str>, no_listen: &str| {
        let host = world.host().args(["doctor", "--json"]).env("DATABASE_URL", bouncer.url());
        let host = host.env("WORKER_NO_LISTEN", no_listen).env("DATABASE_DIRECT_URL", direct.unwrap_or_default());
        host.run().await.json_lines()
    };
    let check = |lines: &[Value], name: &str| {
        let line = lines.iter().find(|line| line["check"] == name).unwrap();
        (line["ok"].as_bool().unwrap(), line["detail"].as_str().unwrap().to_owned())
    };
    let lines = checks(None, "").await;
    assert!(check(&lines, "pooler").1.contains("there is one"), "{lines:?}");
    let (ok, detail) = check(&lines, "listen");
    assert!(!ok && detail.contains("DATABASE_DIRECT_URL"), "{detail}");
    assert!(check(&checks(Some(world.db.url()), "").await, "listen").0);
    let (ok, detail) = check(&checks(None, "1").await, "listen");
    assert!(ok && detail.contains("polled"), "{detail}");
    let direct = world.host().args(["doctor", "--json"]).run().await.json_lines();
    assert!(check(&direct, "pooler").1.contains("none") && check(&direct, "listen").0, "{direct:?}");
}

/// Every verb that speaks to the database, one after another on one session.
#[tokio::test]
async fn verbs_work_through_a_pool_of_one() {
    let world = World::with(tests::WorldSettings { db: Some(TestDatabase::empty().await), ..Default::default() }).await;
    let Some(bouncer) = PgBouncer::start(&world.db, 1).await else { return };
    let host = || world.host().env("DATABASE_URL", bouncer.url());
    host().arg("migrate").run().await.ok();
    host().arg("migrate").run().await.ok();

    let photo = world.dir().join("photo.jpg");
    std::fs::write(&photo, tests::photo_bytes()).unwrap();
    host().arg("enqueue").arg(&photo).run().await.ok();
    let lost = world.insert("is-not-there.jpg").await;
    let once = host().args(["run", "--once"]).run().await.json();
    assert_eq!((&once["processed"], &once["dead"]), (&1.into(), &1.into()), "{once}");

    let status = host().args(["status", "--json"]).run().await.ok();
    assert!(status.contains("processed") && status.contains("dlq"), "{status}");
    assert!(host().args(["dlq", "list"]).run().await.ok().contains(&lost));
    assert!(host().args(["dlq", "show", &lost]).run().await.ok().contains("not-found"));
    host().args(["dlq", "retry", &lost]).run().await.ok();
    assert_eq!(world.status_of(&lost).await, "pending");
    assert_eq!(host().args(["run", "--once"]).run().await.json()["dead"], 1);
    host().args(["dlq", "discard", "--all", "--yes"]).run().await.ok();
    assert_eq!(world.count("receipt_queue_dlq").await, 0);

    // As another component would have read it.
    let old = "0".repeat(64);
    world
        .execute(&format!(
            "UPDATE receipts SET ocr_component = '{old}', vendor_text = 'Blue' WHERE vendor_text IS NOT NULL"
        ))
        .await;
    host().args(["reparse", "--yes"]).run().await.ok();
    assert_eq!(world.count("receipts WHERE vendor_text = 'Blue Bottle Cafe'").await, 1);
}

/// The ledger knows what a worker runs, though its sessions are the pooler's; and what a person allows gets in.
#[tokio::test]
async fn the_ledger_of_components_is_kept_through_a_pool_of_one() {
    let Some((world, bouncer)) = pooled(1).await else { return };
    let components = || world.host().args(["components", "--json"]).env("DATABASE_URL", bouncer.url());
    let mut worker =
        world.run(&["--no-listen", "--every", "200ms", "--admin", "off"]).env("DATABASE_URL", bouncer.url()).spawn();
    worker.logged("worker.started").await;
    eventually("the worker is in the ledger", async || {
        let text = components().run().await.ok();
        text.contains("started").then_some(())
    })
    .await;
    let bad = "b".repeat(64);
    let rolled_back =
        format!("INSERT INTO receipt_component_changes (worker, change, digest) VALUES ('w', 'rolled-back', '{bad}')");
    world.execute(&rolled_back).await;
    let allow = world.host().args(["components", "allow", &bad]).env("DATABASE_URL", bouncer.url());
    allow.run().await.ok();
    worker.stop().await.ok();
    let changes = "SELECT string_agg(change, ' ' ORDER BY id) FROM receipt_component_changes";
    assert_eq!(world.text(changes, &[]).await, "started rolled-back allowed stopped");
}
