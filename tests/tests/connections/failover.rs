//! A primary, a standby that follows it, and the day on which the standby takes over. Replication is asynchronous: what
//! was committed last is lost with the old primary.

use std::time::Duration;

use tests::{Running, TestDatabase, World, WorldSettings, events, eventually};
use tokio_postgres::Client;

use crate::forwarder::Forwarder;
use crate::server::Server;

struct Pair {
    primary: Server,
    standby: Server,
    world: World,
}

impl Pair {
    async fn start() -> Self {
        let primary = Server::start().await;
        let db = TestDatabase::within(&primary.postgres).await;
        let world = World::with(WorldSettings { db: Some(db), ..Default::default() }).await;
        let standby = primary.standby().await;
        Self { primary, standby, world }
    }
}

/// Returns when the standby has everything that the primary has.
async fn replicated(primary: &Server, standby: &Server) {
    let primary = primary.connect("app").await;
    let standby = standby.connect("app").await;
    let written = text(&primary, "SELECT pg_current_wal_lsn()::text").await;
    let replayed = format!("SELECT (pg_last_wal_replay_lsn() >= '{written}'::pg_lsn)::text");
    eventually("the standby follows", async || (text(&standby, &replayed).await == "true").then_some(())).await;
}

/// From now on what the primary commits is lost with it.
async fn stop_replication(standby: &Server) {
    let standby = standby.connect("app").await;
    standby.batch_execute("ALTER SYSTEM SET primary_conninfo = ''").await.unwrap();
    standby.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    let receivers = "SELECT count(*)::text FROM pg_stat_wal_receiver";
    eventually("nothing is received", async || (text(&standby, receivers).await == "0").then_some(())).await;
}

async fn text(client: &Client, sql: &str) -> String {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

async fn insert(world: &World, photos: std::ops::Range<usize>) {
    for number in photos {
        world.receipt(&format!("{number}.jpg")).await;
    }
}

async fn done(world: &World, count: i64) {
    eventually(&format!("{count} receipts are done"), async || {
        (world.count("receipts WHERE status = 'ocr_done'").await == count).then_some(())
    })
    .await;
}

fn told(host: &Running, words: &str) -> usize {
    events(&host.log(), "queue.unreachable").iter().filter(|line| line.contains(words)).count()
}

#[tokio::test]
async fn a_failover_loses_and_doubles_nothing_and_pays_nothing_twice() {
    let Pair { primary, standby, mut world } = Pair::start().await;
    let forwarder = Forwarder::start(primary.postgres.port()).await;
    let (head, tail) = world.db.url().rsplit_once('/').unwrap();
    let several = format!("{head},127.0.0.1:{}/{tail}", standby.postgres.port());
    let start = |url: &str| {
        world.run(&["--every", "200ms", "--lease", "5s", "--admin", "off"]).env("DATABASE_URL", url).spawn()
    };
    let mut hosts = [start(&forwarder.url(world.db.url())), start(&several)];
    for host in &mut hosts {
        // Before that a server that takes no writes is an error of configuration.
        host.logged("worker.started").await;
    }
    insert(&world, 0..10).await;
    done(&world, 10).await;

    // Five that the standby knows as waiting, and that are worked after it has stopped to hear.
    for number in 10..15 {
        world.photo(&format!("{number}.jpg")).await;
    }
    world
        .execute(
            "BEGIN;
             INSERT INTO receipts (user_id, status, image_url)
             SELECT 'u', 'pending', number || '.jpg' FROM generate_series(10, 14) AS number;
             UPDATE receipt_queue SET available_at = now() + interval '1 hour' WHERE NOT processed;
             COMMIT",
        )
        .await;
    replicated(&primary, &standby).await;
    stop_replication(&standby).await;
    let wake = "UPDATE receipt_queue SET available_at = now() WHERE NOT processed; NOTIFY receipt_channel";
    world.execute(wake).await;
    done(&world, 15).await;
    assert_eq!(world.textract.calls(), 15);

    primary.crash();
    forwarder.switch(standby.postgres.port());
    for host in &mut hosts {
        host.logged_with("queue.unreachable", "is read-only").await;
    }
    // Time for more tries, which say nothing new.
    tokio::time::sleep(Duration::from_secs(2)).await;
    for host in &hosts {
        let lines = told(host, "is read-only");
        assert!(lines <= 4, "claiming, settling, renewing and listening tell it once each:\n{}", host.log());
    }

    world.client = standby.connect("app").await;
    assert_eq!(text(&world.client, "SELECT pg_promote()::text").await, "true");
    assert_eq!(world.count("receipts WHERE status = 'pending'").await, 5, "the commits that were lost");
    world.execute(wake).await;
    insert(&world, 15..20).await;
    done(&world, 20).await;
    world.assert_settled(20).await;
    assert_eq!(world.textract.calls(), 20, "what was paid for on the old primary was found in S3");
    assert_eq!(world.count("receipt_queue WHERE attempts = 1").await, 20);
    for mut host in hosts {
        host.logged("queue.reachable").await;
        host.stop().await.ok();
    }
    primary.stop().await;
    standby.stop().await;
}

#[tokio::test]
async fn a_server_that_takes_no_writes_is_named_and_refused() {
    let Pair { primary, standby, world } = Pair::start().await;
    let standby_url = standby.postgres.url("app");
    // A role that may only read by default, as some give to people.
    world.execute("CREATE ROLE reader LOGIN SUPERUSER PASSWORD 'secret'; ALTER ROLE reader SET default_transaction_read_only = on").await;
    let address = format!("127.0.0.1:{}/app", standby.postgres.port());
    for (url, at) in [(standby_url, address.as_str()), (world.db.url_as("reader"), "/app")] {
        for verb in [&["run", "--once"][..], &["run"], &["status"], &["migrate"], &["dlq", "retry", "--all"]] {
            let error = world.host().env("DATABASE_URL", &url).args(verb).run().await.error();
            assert!(
                error.contains(at) && error.contains("is read-only (a replica?); the worker needs the primary"),
                "{error}"
            );
        }
    }
    // Of several the primary is found, wherever it stands.
    let (head, tail) =
        standby.postgres.url("app").rsplit_once('/').map(|(head, tail)| (head.to_owned(), tail.to_owned())).unwrap();
    let several = format!("{head},127.0.0.1:{}/{tail}", primary.postgres.port());
    world.host().env("DATABASE_URL", several).arg("status").run().await.ok();
    standby.stop().await;
    primary.stop().await;
}
