//! Statements that take too long, and sessions that Postgres ends for being idle.

use std::time::Duration;

use host::ocr::local::Fault;
use tests::{Running, World, events, eventually, has_event, has_event_with};
use tokio_postgres::Client;

use crate::forwarder::Forwarder;

/// A host that polls and listens, and is at work.
async fn worker(world: &World, url: &str, args: &[&str]) -> Running {
    let args = [&["--every", "200ms", "--admin", "off"], args].concat();
    let mut host = world.run(&args).env("DATABASE_URL", url).spawn();
    host.logged("worker.started").await;
    host
}

/// Somebody else's transaction that holds a table, as a migration of the app's does.
async fn lock(world: &World, table: &str) -> Client {
    let client = world.db.connect().await;
    client.batch_execute(&format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")).await.unwrap();
    client
}

/// A receipt that is claimed, and whose settle will find `receipts` locked: it is not read before.
async fn claimed_then_locked(world: &World) -> (String, Client) {
    world.textract.faults().always(Fault::Held);
    let (receipt, _) = world.receipt("a.jpg").await;
    eventually("it is read", async || (world.textract.requests() > 0).then_some(())).await;
    let locker = lock(world, "receipts").await;
    world.textract.faults().clear();
    (receipt, locker)
}

/// How many statements of hosts wait for a lock on the server.
async fn waiting(world: &World) -> i64 {
    world
        .count(
            "pg_stat_activity
             WHERE datname = current_database() AND wait_event_type = 'Lock'
               AND application_name LIKE 'receipt-worker%'",
        )
        .await
}

fn told(log: &str, what: &str) -> usize {
    let what = format!("what=\"{what}\"");
    events(log, "queue.unreachable").iter().filter(|line| line.contains(&what)).count()
}

#[tokio::test]
async fn a_claim_that_the_server_times_out_is_told_once_and_costs_nothing() {
    let world = World::new().await;
    world.execute(&format!("ALTER DATABASE {} SET statement_timeout = '2s'", name(&world).await)).await;
    let mut host = worker(&world, world.db.url(), &["--no-listen"]).await;
    let client = world.db.connect().await;
    client
        .batch_execute("SET statement_timeout = 0; BEGIN; LOCK TABLE receipt_queue IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    host.logged("queue.unreachable").await;
    host.logged_with("queue.unreachable", "statement timeout").await;
    client.batch_execute("COMMIT").await.unwrap();
    host.logged("queue.reachable").await;
    let (receipt, _) = world.receipt("a.jpg").await;
    world.becomes(&receipt, "ocr_done").await;
    assert_eq!(world.count("receipt_queue WHERE attempts = 1 AND claims = 1").await, 1);
    let log = host.stop().await.stderr;
    assert_eq!(told(&log, "reach the queue"), 1, "{log}");
}

#[tokio::test]
async fn a_settle_that_the_server_times_out_goes_on_afterwards() {
    let world = World::new().await;
    world.execute(&format!("ALTER DATABASE {} SET statement_timeout = '2s'", name(&world).await)).await;
    let mut host = worker(&world, world.db.url(), &[]).await;
    let (receipt, locker) = claimed_then_locked(&world).await;
    host.logged_with("queue.unreachable", "what=\"settle\"").await;
    host.logged_with("queue.unreachable", "statement timeout").await;
    locker.batch_execute("COMMIT").await.unwrap();
    world.becomes(&receipt, "ocr_done").await;
    assert_eq!(world.count("receipt_queue WHERE processed AND attempts = 1 AND claims = 1").await, 1);
    assert_eq!(world.textract.calls(), 1);
    let log = host.stop().await.stderr;
    assert_eq!(told(&log, "settle"), 1, "{log}");
    assert!(has_event_with(&log, "worker.stopped", "processed=1 retried=0 dead=0 lost=0"), "{log}");
}

/// Without a bound on the server's side the host has its own, and takes back what it asked for: statements that nobody
/// waits for would pile up behind the lock.
#[tokio::test]
async fn a_settle_that_the_host_times_out_is_cancelled_on_the_server() {
    let world = World::new().await;
    let mut host = worker(&world, world.db.url(), &["--statement-timeout", "1s", "--no-listen"]).await;
    let (receipt, locker) = claimed_then_locked(&world).await;
    host.logged_with("queue.unreachable", "what=\"settle\"").await;
    host.logged_with("queue.unreachable", "no answer within 1s").await;
    // Several tries later.
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let found = waiting(&world).await;
        assert!(found <= 1, "{found} statements wait on the server");
    }
    locker.batch_execute("COMMIT").await.unwrap();
    world.becomes(&receipt, "ocr_done").await;
    assert_eq!(world.count("receipt_queue WHERE processed AND attempts = 1 AND claims = 1").await, 1);
    let log = host.stop().await.stderr;
    assert!(has_event_with(&log, "worker.stopped", "processed=1 retried=0 dead=0 lost=0"), "{log}");
}

/// A cancel has a connection of its own, which takes its time: longer than this statement may take. It is waited for all the
/// same: a session that was given up before would wait for the lock on, and another one behind it.
#[tokio::test]
async fn a_short_statement_is_cancelled_though_that_takes_longer() {
    let world = World::new().await;
    let forwarder = Forwarder::before(world.db.url()).await;
    let url = forwarder.url(world.db.url());
    let host = worker(&world, &url, &["--statement-timeout", "500ms", "--no-listen", "--lease", "5m"]).await;
    forwarder.delay(Duration::from_millis(750));
    let (receipt, locker) = claimed_then_locked(&world).await;
    world.execute("CREATE TABLE seen (pid integer, query_start timestamptz, UNIQUE (pid, query_start))").await;
    eventually("the session that settles is kept from try to try", async || {
        world
            .execute(
                "INSERT INTO seen SELECT pid, query_start FROM pg_stat_activity
                 WHERE datname = current_database() AND wait_event_type = 'Lock'
                   AND application_name LIKE 'receipt-worker%'
                 ON CONFLICT DO NOTHING",
            )
            .await;
        (world.count("(SELECT FROM seen GROUP BY pid HAVING count(*) > 1) AS kept").await > 0).then_some(())
    })
    .await;
    locker.batch_execute("COMMIT").await.unwrap();
    world.becomes(&receipt, "ocr_done").await;
    host.stop().await.ok();
}

/// The connection is lost while the server still works on the settle; it commits after the host has asked what was settled
/// and found nothing. The second write finds the lease gone, and it was the first that took it.
#[tokio::test]
async fn a_settle_that_commits_late_is_not_taken_for_a_lost_lease() {
    let world = World::new().await;
    let forwarder = Forwarder::before(world.db.url()).await;
    let host = worker(&world, &forwarder.url(world.db.url()), &["--lease", "5m"]).await;
    let (receipt, locker) = claimed_then_locked(&world).await;
    eventually("the settle waits", async || (waiting(&world).await == 1).then_some(())).await;
    forwarder.abandon();
    eventually("a second one waits behind it", async || (waiting(&world).await == 2).then_some(())).await;
    locker.batch_execute("COMMIT").await.unwrap();
    world.becomes(&receipt, "ocr_done").await;
    let log = host.stop().await.stderr;
    assert!(!has_event(&log, "lease.lost"), "{log}");
    assert!(has_event_with(&log, "worker.stopped", "processed=1 retried=0 dead=0 lost=0"), "{log}");
    assert_eq!(world.count("receipt_queue WHERE processed AND attempts = 1 AND claims = 1").await, 1);
}

/// The connection is lost while it is tried whether a result would be taken, and the server believes it alive.
#[tokio::test]
async fn a_settle_that_is_tried_holds_nothing_for_long() {
    let world = World::new().await;
    world
        .execute(
            "CREATE FUNCTION app_slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1); RETURN NEW; END';
             CREATE TRIGGER app_slow BEFORE UPDATE ON receipts FOR EACH ROW EXECUTE FUNCTION app_slow()",
        )
        .await;
    let forwarder = Forwarder::before(world.db.url()).await;
    let host = worker(&world, &forwarder.url(world.db.url()), &["--lease", "5m"]).await;
    let (receipt, _) = world.receipt("a.jpg").await;
    eventually("it is tried", async || {
        let asleep =
            world.count("pg_stat_activity WHERE wait_event = 'PgSleep' AND application_name LIKE 'receipt-worker%'");
        (asleep.await == 1).then_some(())
    })
    .await;
    forwarder.abandon();
    world.becomes(&receipt, "ocr_done").await;
    host.stop().await.ok();
    assert_eq!(world.count("receipt_queue WHERE processed AND attempts = 1").await, 1);
}

/// Postgres 14 and newer end sessions that are idle for long.
#[tokio::test]
async fn sessions_that_are_ended_for_being_idle_are_made_anew_without_noise() {
    let world = World::new().await;
    world.execute(&format!("ALTER DATABASE {} SET idle_session_timeout = '3s'", name(&world).await)).await;
    let mut host = world.run(&["--every", "10s", "--admin", "off"]).env("WORKER_LOG", "info,host=debug").spawn();
    host.logged("listen.started").await;
    // The listener's, the claimer's and the settler's.
    host.logged("listen.idle_ended").await;
    eventually("the others were ended too", async || {
        let log = host.log();
        let ended = events(&log, "database.connection_ended");
        (ended.iter().filter(|line| line.contains("idle-session timeout")).count() >= 3).then_some(())
    })
    .await;
    let (receipt, _) = world.receipt("a.jpg").await;
    world.becomes(&receipt, "ocr_done").await;
    let log = host.stop().await.stderr;
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
}

async fn name(world: &World) -> String {
    world.text("SELECT current_database()::text", &[]).await
}
