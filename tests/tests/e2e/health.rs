//! What a platform asks of a host: is it there, does it work, how much waits.

use serde_json::Value;
use tests::{HostCommand, TestDatabase, World, eventually};

fn health(address: &str, args: &[&str]) -> HostCommand {
    HostCommand::bare().args(["health", "--admin", address]).args(args)
}

async fn ready(address: &str) -> Value {
    eventually("it is ready", async || {
        let finished = health(address, &["--json"]).run().await;
        (finished.code == Some(0)).then(|| serde_json::from_str(finished.stdout.trim()).unwrap())
    })
    .await
}

#[tokio::test]
async fn a_host_that_works_is_ready_and_says_what_waits() {
    let world = World::new().await;
    // One dead letter, one that is parked, and two that wait longer than this test.
    let (dead, _) = world.receipt("dead.jpg").await;
    world.receipts(3).await;
    world
        .execute(
            "UPDATE receipt_queue SET available_at = now() + interval '1 hour', enqueued_at = now() - interval '90 s';
             UPDATE receipt_queue SET available_at = 'infinity' WHERE id = (SELECT max(id) FROM receipt_queue);
             UPDATE receipts SET image_url = NULL WHERE id = (SELECT receipt_id FROM receipt_queue ORDER BY id LIMIT 1);
             UPDATE receipt_queue SET available_at = now() WHERE id = (SELECT min(id) FROM receipt_queue)",
        )
        .await;
    // On all addresses, as in a container.
    let mut host = world.run(&["--admin", "0.0.0.0:0"]).spawn();
    host.logged("worker.started").await;
    let address = host.admin();
    world.becomes(&dead, "ocr_failed").await;
    let told = eventually("the dead letter is counted", async || {
        let told = ready(&address).await;
        (told["queue"]["dead_letters"] == 1).then_some(told)
    })
    .await;
    assert_eq!((&told["queue"]["backlog"], &told["queue"]["estimated"]), (&2.into(), &false.into()), "{told}");
    assert!(told["queue"]["oldest_age_seconds"].as_i64().unwrap() >= 90, "{told}");
    assert!(told["component"].as_str().unwrap().len() == 64 && told["last_poll_seconds"].is_number(), "{told}");
    assert_eq!(health(&address, &[]).run().await.ok(), "ready\n");
    assert_eq!(health(&address, &["--live"]).run().await.ok(), "live\n");
    host.stop().await.ok();
    let error = health(&address, &[]).run().await.error();
    assert!(error.contains("no host listens on"), "{error}");
}

#[tokio::test]
async fn a_host_that_waits_for_its_database_is_live_and_not_ready() {
    let world = World::new().await;
    let unreachable = "postgres://worker:secret@127.0.0.1:1/app";
    let mut host = world.run(&["--admin", "127.0.0.1:0"]).env("DATABASE_URL", unreachable).spawn();
    host.logged("worker.start_waits").await;
    let address = host.admin();
    assert_eq!(health(&address, &["--live"]).run().await.ok(), "live\n");
    let error = health(&address, &[]).run().await.error();
    assert!(error.contains("not ready") && error.contains("database: ") && error.contains("127.0.0.1:1"), "{error}");
    assert!(!error.contains("secret"), "{error}");
    host.stop().await.ok();
}

#[tokio::test]
async fn neither_a_home_that_cannot_be_written_nor_a_taken_port_stops_the_work() {
    let world = World::new().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    // No folder can be made below a file.
    let file = world.dir().join("a-file");
    std::fs::write(&file, "").unwrap();
    let command = world.run(&["--admin", &address, "--every", "300ms"]);
    let mut host = command.env("XDG_CACHE_HOME", &file).env("HOME", &file).spawn();
    let (receipt, _) = world.receipt("a.jpg").await;
    world.becomes(&receipt, "ocr_done").await;
    host.logged("admin.unavailable").await;
    drop(taken);
    ready(&address).await;
    let error = world.host().args(["shadow", "--admin", &address]).run().await.error();
    assert!(error.contains("no token"), "{error}");
    host.stop().await.ok();
}

#[tokio::test]
async fn a_database_that_goes_away_is_told_and_receipts_go_on_afterwards() {
    let world = World::new().await;
    let mut host = world.run(&["--admin", "127.0.0.1:0", "--every", "200ms"]).spawn();
    host.logged("worker.started").await;
    let address = host.admin();
    ready(&address).await;
    let elsewhere = TestDatabase::empty().await;
    let other = elsewhere.connect().await;
    let name = world.text("SELECT current_database()::text", &[]).await;
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname::text = $1 AND pid <> pg_backend_pid()";
    other.batch_execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await.unwrap();
    other.query(end, &[&name]).await.unwrap();
    let why = eventually("it is not ready", async || {
        let finished = health(&address, &[]).run().await;
        (finished.code == Some(1)).then(|| finished.error())
    })
    .await;
    assert!(why.contains("database: "), "{why}");
    other.batch_execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")).await.unwrap();
    ready(&address).await;
    host.stop().await.ok();
}

#[tokio::test]
async fn what_waits_is_counted_to_ten_thousand_and_then_estimated() {
    let world = World::new().await;
    let fill = "INSERT INTO receipts (image_url) SELECT n || '.jpg' FROM generate_series(1, $1::bigint) AS n";
    let row = async || {
        let sql = "SELECT backlog, estimated FROM vw_receipt_queue_backlog";
        let row = world.client.query_one(sql, &[]).await.unwrap();
        (row.get::<_, i64>(0), row.get::<_, bool>(1))
    };
    assert_eq!(row().await, (0, false));
    world.client.execute(fill, &[&10_000_i64]).await.unwrap();
    assert_eq!(row().await, (10_000, false));
    world.client.execute(fill, &[&50_000_i64]).await.unwrap();
    let (fresh, estimated) = row().await;
    assert!(estimated && (30_000..120_000).contains(&fresh), "{fresh}");
    world.execute("VACUUM ANALYZE receipt_queue").await;
    let (known, _) = row().await;
    assert!((54_000..66_000).contains(&known), "{known}");
}
