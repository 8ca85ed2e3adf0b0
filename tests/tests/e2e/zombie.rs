//! A process that is stopped for longer than its lease, and wakes up when another has its receipts: whatever it does then
//! changes nothing, and it says so. (The same for one statement after another: `invariants::fencing`.)

use host::ocr::local::Fault;
use rustix::process::Signal;
use tests::{Running, World, candidates, events, eventually};

use crate::invariants::everything;
use crate::pump::HOUR;

/// The database takes no settle for now, by its own word: what a trigger raises would be the app's.
const REFUSE: &str = "
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN ALTER TABLE receipt_queue ADD COLUMN x integer; END $$;
    CREATE TRIGGER refuse_update BEFORE UPDATE ON receipt_queue FOR EACH ROW
        WHEN (NEW.settled_token IS DISTINCT FROM OLD.settled_token) EXECUTE FUNCTION refuse();
    CREATE TRIGGER refuse_delete BEFORE DELETE ON receipt_queue FOR EACH ROW EXECUTE FUNCTION refuse();";
const TAKE_AGAIN: &str = "DROP FUNCTION refuse() CASCADE";

/// Stops it, and waits until the database has answered what it sent last.
async fn stop(world: &World, zombie: &Running) {
    zombie.signal(Signal::STOP);
    let busy = "pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'receipt-worker%'
        AND state <> 'idle'";
    eventually("its last statement is answered", async || (world.count(busy).await == 0).then_some(())).await;
}

/// Another host works everything that waits, once the leases have run out.
async fn overtake(world: &World) {
    let other = world.run(&["--lease", "3s", "--every", "100ms"]).spawn();
    eventually("the other host is done", async || {
        (world.count("receipts WHERE status = 'pending'").await == 0).then_some(())
    })
    .await;
    other.stop().await.ok();
}

fn lost(log: &str, receipt: &str, token: &str) -> bool {
    let (receipt, token) = (format!("receipt=\"{receipt}\""), format!("token={token}"));
    events(log, "lease.lost").iter().any(|line| line.contains(&receipt) && line.contains(&token))
}

async fn token(world: &World, receipt: &str) -> String {
    world.text("SELECT lease_token::text FROM receipt_queue WHERE receipt_id::text = $1", &[&receipt]).await
}

#[tokio::test]
async fn zombie_changes_nothing_by_any_settle_and_says_so() {
    for (component, doing) in [
        (candidates::honest(1), "completing"),
        (candidates::puts_back(), "retrying"),
        // Here it is the host that settles, after the run has failed.
        (candidates::traps(), "retrying"),
        (candidates::gives_up(), "dead-lettering"),
    ] {
        let world = World::new().await;
        let file = world.dir().join("zombie.wasm");
        std::fs::write(&file, component).unwrap();
        world.execute(REFUSE).await;
        let (receipt, _) = world.receipt("a.jpg").await;
        let mut zombie = world.run(&["--lease", "3s", "--every", "1h", "--component"]).arg(&file).spawn();
        zombie.logged_with("queue.unreachable", "what=\"settle\"").await;
        stop(&world, &zombie).await;
        let token = token(&world, &receipt).await;
        world.execute(TAKE_AGAIN).await;
        overtake(&world).await;
        assert_eq!(world.status_of(&receipt).await, "ocr_done");
        let before = everything(&world).await;
        zombie.signal(Signal::CONT);
        zombie.logged_with("lease.lost", doing).await;
        let finished = zombie.stop().await;
        assert!(lost(&finished.stderr, &receipt, &token), "{}", finished.stderr);
        assert!(finished.logged_with("worker.stopped", "lost=1"), "{}", finished.stderr);
        assert_eq!(everything(&world).await, before, "{doing}");
        finished.ok();
    }
}

#[tokio::test]
async fn zombie_changes_nothing_by_its_heartbeat_and_says_so() {
    let world = World::new().await;
    world.textract.faults().next(1, Fault::Delay(HOUR));
    let (receipt, _) = world.receipt("a.jpg").await;
    let mut zombie = world.run(&["--lease", "3s", "--every", "1h", "--drain-timeout", "1s"]).spawn();
    eventually("its call", async || (world.textract.requests() == 1).then_some(())).await;
    stop(&world, &zombie).await;
    let token = token(&world, &receipt).await;
    overtake(&world).await;
    let before = everything(&world).await;
    zombie.signal(Signal::CONT);
    // It waits for its answer yet, and finds out all the same.
    zombie.logged_with("lease.lost", "another worker has the job now").await;
    assert!(lost(&zombie.log(), &receipt, &token), "{}", zombie.log());
    assert_eq!(everything(&world).await, before);
    zombie.stop().await.ok();
    assert_eq!(everything(&world).await, before);
}

/// One process may be both: it claims a job anew whose lease has run out.
#[tokio::test]
async fn a_host_that_claims_its_own_job_anew_says_that_it_lost_it() {
    let world = World::new().await;
    world.textract.faults().next(1, Fault::Held);
    let (receipt, _) = world.receipt("a.jpg").await;
    let mut host = world.run(&["--lease", "1h", "--every", "1h"]).spawn();
    eventually("its call", async || (world.textract.requests() == 1).then_some(())).await;
    let token = token(&world, &receipt).await;
    world.execute("UPDATE receipt_queue SET available_at = now(); NOTIFY receipt_channel").await;
    host.logged_with("lease.lost", "this host has claimed the job anew").await;
    assert!(lost(&host.log(), &receipt, &token), "{}", host.log());
    world.becomes(&receipt, "ocr_done").await;
    world.textract.faults().clear();
    let finished = host.stop().await;
    assert!(finished.logged_with("worker.stopped", "processed=1 retried=0 dead=0 lost=1"), "{}", finished.stderr);
}

#[tokio::test]
async fn zombie_changes_nothing_when_it_gives_back_and_says_so() {
    let world = World::new().await;
    // One is in hand, and one is leased and not begun.
    world.textract.faults().next(1, Fault::Delay(HOUR));
    let receipts = world.receipts(2).await;
    let flags = ["--lease", "3s", "--every", "1h", "--concurrency", "1", "--batch-size", "1", "--drain-timeout", "1s"];
    let zombie = world.run(&flags).spawn();
    let leased = "receipt_queue WHERE lease_token IS NOT NULL";
    eventually("both are leased, and one is begun", async || {
        (world.count(leased).await == 2 && world.textract.requests() == 1).then_some(())
    })
    .await;
    stop(&world, &zombie).await;
    let mut tokens = Vec::new();
    for (receipt, _) in &receipts {
        tokens.push(token(&world, receipt).await);
    }
    overtake(&world).await;
    let before = everything(&world).await;
    // The first that it does when it wakes is to drain.
    zombie.signal(Signal::TERM);

    zombie.signal(Signal::CONT);
    let finished = zombie.wait().await;
    for ((receipt, _), token) in receipts.iter().zip(&tokens) {
        assert!(lost(&finished.stderr, receipt, token), "{receipt}: {}", finished.stderr);
    }
    assert!(finished.logged_with("worker.stopped", "lost=2"), "{}", finished.stderr);
    assert_eq!(everything(&world).await, before);
    finished.ok();
}
