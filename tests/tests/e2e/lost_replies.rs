//! Statements that were committed and whose replies never came.

use std::sync::Arc;
use std::time::Duration;

use host::queue::{Counts, Job, Pump, PumpSettings};
use tests::wire::{Ambush, Fault, Link, Moment, Step, Wire};
use tests::{World, eventually};
use tokio::sync::oneshot;

use crate::pump::{self, complete, settings, take};

/// A world, and a link to it.
async fn wired() -> (Arc<Wire>, Link) {
    let wire = Wire::new(Arc::new(World::new().await));
    let link = wire.link(0).await;
    (wire, link)
}

/// The next reply to such a step is lost.
fn lose_reply(wire: &Wire, step: Step) -> oneshot::Receiver<usize> {
    wire.set_trap(Ambush { point: step.at(Moment::Answered), fault: Fault::Cut, nth: 1 })
}

/// The commit happened, its reply never came: the settle is looked up, not done again and not given up as lost.
#[tokio::test]
async fn a_settle_whose_reply_was_lost_is_neither_lost_nor_done_twice() {
    for (step, outcome) in [(Step::Complete, complete("V", "1.00")), (Step::DeadLetter, pump::dead_letter())] {
        let (wire, link) = wired().await;
        wire.world.insert("a.jpg").await;
        let pump = pump::start_with(link.database(), settings()).await;
        let job = take(&pump).await;
        let lost = lose_reply(&wire, step);
        pump.settle(&job, outcome, None).await.unwrap();
        lost.await.unwrap();
        wire.world.assert_settled(1).await;
        let counts = pump.counts();
        assert_eq!((counts.processed + counts.dead, counts.lost), (1, 0));
    }
}

/// The same for a job that was put back: its row waits like any other, and only the settled token tells.
#[tokio::test]
async fn a_retry_whose_reply_was_lost_is_put_back_once() {
    let (wire, link) = wired().await;
    wire.world.insert("a.jpg").await;
    let pump = pump::start_with(link.database(), settings()).await;
    let job = take(&pump).await;
    let lost = lose_reply(&wire, Step::PutBack);
    pump.settle(&job, pump::retry(pump::HOUR, false), None).await.unwrap();
    lost.await.unwrap();
    assert_eq!(wire.world.text("SELECT concat_ws('|', attempts, claims) FROM receipt_queue", &[]).await, "0|1");
    assert_eq!(pump.counts().retried, 1);
}

/// And for one that another worker has settled since then.
#[tokio::test]
async fn a_retry_whose_reply_was_lost_is_known_after_another_worker_settled_the_job() {
    let worked = settled_by_another_meanwhile(async |pump, job| {
        pump.settle(&job, pump::retry(Duration::ZERO, false), None).await.unwrap();
    });
    let counts = worked.await;
    assert_eq!((counts.retried, counts.lost), (1, 0));
}

/// A job given back leaves no trace then. It was not lost: nobody wanted it any more.
#[tokio::test]
async fn a_job_given_back_whose_reply_was_lost_is_not_called_lost_after_another_worker_settled_it() {
    let worked = settled_by_another_meanwhile(async |pump, job| {
        pump.release(&job);
        assert!(pump.finish(Duration::from_secs(10)).await);
    });
    let counts = worked.await;
    assert_eq!((counts.released, counts.lost), (1, 0));
}

/// The same, found by a heartbeat between the commit and the look at what became of it.
#[tokio::test]
async fn a_job_given_back_whose_reply_was_lost_is_not_called_lost_by_a_heartbeat() {
    let ways: [fn(&Pump, Job); 3] =
        [|pump, job| pump.release(&job), |pump, _| pump.release_held(), |pump, job| pump.put_back(vec![job])];
    for (number, give_back) in ways.into_iter().enumerate() {
        let (wire, link) = wired().await;
        let world = &wire.world;
        world.insert("a.jpg").await;
        let short = PumpSettings { lease: Duration::from_secs(1), ..settings() };
        let pump = pump::start_with(link.database(), short).await;
        let job = take(&pump).await;
        pump.stop_claiming();
        admit(world, false).await;
        let lost = lose_reply(&wire, Step::PutBack);
        give_back(&pump, job);
        lost.await.unwrap();
        assert_eq!(world.count("receipt_queue WHERE lease_token IS NULL").await, 1, "it is committed");
        world.execute("CREATE TABLE given_back AS SELECT clock_timestamp() AS at").await;
        let beats = "pg_stat_activity, given_back WHERE query LIKE '-- Renews leases%' AND query_start > at";
        for beat in ["a heartbeat", "another one: the job is held yet"] {
            eventually(beat, async || (world.count(beats).await == 1).then_some(())).await;
            world.execute("UPDATE given_back SET at = clock_timestamp()").await;
        }
        admit(world, true).await;
        assert!(pump.finish(Duration::from_secs(10)).await);
        let counts = pump.counts();
        assert_eq!((counts.released, counts.lost), (1, 0), "way {number}");
    }
}

/// Whether new connections to the database are let in.
async fn admit(world: &World, whether: bool) {
    world.execute(&format!("UPDATE pg_database SET datallowconn = {whether} WHERE datname = current_database()")).await;
}

/// Puts a job back with a reply that is lost; before that can be looked up, another worker has completed the job. What the
/// first one counted.
async fn settled_by_another_meanwhile(put_back: impl AsyncFnOnce(&Pump, Job)) -> Counts {
    let (wire, link) = wired().await;
    let world = &wire.world;
    world.insert("a.jpg").await;
    let pump = pump::start_with(link.database(), settings()).await;
    let job = take(&pump).await;
    pump.stop_claiming();
    let mut soon = settings();
    soon.every = Duration::from_millis(50);
    let other = pump::start_with(world.db.database(), soon).await;
    // Meanwhile nobody can connect to look up what was settled.
    admit(world, false).await;
    let lost = lose_reply(&wire, Step::PutBack);
    let meanwhile = async {
        lost.await.unwrap();
        let job = take(&other).await;
        other.settle(&job, complete("V", "1.00"), None).await.unwrap();
        admit(world, true).await;
    };
    tokio::join!(put_back(&pump, job), meanwhile);
    world.assert_settled(1).await;
    pump.counts()
}

/// What a claim leased although its reply never came is worked all the same: it costs no attempt.
#[tokio::test]
async fn a_claim_whose_reply_was_lost_is_worked_as_if_it_had_come() {
    let (wire, link) = wired().await;
    wire.world.insert("a.jpg").await;
    let lost = lose_reply(&wire, Step::Claim);
    let pump = pump::start_with(link.database(), settings()).await;
    let job = take(&pump).await;
    lost.await.unwrap();
    assert_eq!((job.attempt, job.claims), (1, 1));
    pump.settle(&job, complete("V", "1.00"), None).await.unwrap();
    wire.world.assert_settled(1).await;
}

/// It may leave no room for another claim, which would say that the queue can be reached again.
#[tokio::test]
async fn a_claim_whose_reply_was_lost_ends_the_outage_when_it_is_found() {
    let (wire, link) = wired().await;
    wire.world.insert("a.jpg").await;
    let lost = lose_reply(&wire, Step::Claim);
    let pump = pump::start_with(link.database(), PumpSettings { capacity: 1, ..settings() }).await;
    lost.await.unwrap();
    eventually("its job is found", async || (*pump.ready().borrow() == 1).then_some(())).await;
    assert_eq!(pump.failing(), None);
}

#[tokio::test]
async fn a_claim_whose_reply_was_lost_is_given_back_by_a_drain() {
    let (wire, link) = wired().await;
    wire.world.insert("a.jpg").await;
    let lost = lose_reply(&wire, Step::Claim);
    let pump = pump::start_with(link.database(), settings()).await;
    lost.await.unwrap();
    pump.stop_claiming();
    assert!(pump.finish(Duration::from_secs(10)).await);
    let row = "SELECT concat_ws('|', attempts, coalesce(leased_by, 'nobody')) FROM receipt_queue";
    assert_eq!(wire.world.text(row, &[]).await, "0|nobody");
}
