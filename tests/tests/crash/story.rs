//! How hosts come to a fault point with neighbours around it, and what happens afterwards.

use std::sync::Arc;

use host::ocr::local::{Fault as OcrFault, Reader, Recordings, sha256};
use tests::wire::{Ambush, Fault, Moment, Step, Wire};
use tests::{PATIENCE, World, WorldSettings, answer, eventually, photo_bytes};
use tokio::sync::{OnceCell, oneshot};

use crate::case::{Case, Stage};
use crate::fleet::Fleet;
use crate::oracle::{self, Expected};

/// So large that half of a photo is not all of it.
const PHOTO_BYTES: usize = 20_000;

/// Receipts whose photos and answers are all different.
pub(crate) struct Receipt {
    pub(crate) key: String,
    pub(crate) digest: String,
    pub(crate) total: String,
}

struct Story {
    case: Case,
    wire: Arc<Wire>,
    fleet: Fleet,
    receipts: Vec<Receipt>,
    /// One of the hosts was.
    killed: bool,
}

pub(crate) async fn run(case: Case) {
    let receipts = if case.stage == Stage::GiveBack { 4 * case.hosts } else { 6 };
    let (world, receipts) = world(receipts).await;
    // The component is compiled once, not by all hosts of the first cases at the same time.
    static COMPILED: OnceCell<()> = OnceCell::const_new();
    COMPILED.get_or_init(async || drop(world.once().await)).await;
    let wire = Wire::new(Arc::new(world));
    let fleet = Fleet::start(&wire, case.hosts, arguments(case)).await;
    let mut story = Story { case, wire, fleet, receipts, killed: false };
    let told = tokio::time::timeout(2 * PATIENCE, story.tell()).await;
    assert!(told.is_ok(), "it never ended:\n{}", story.fleet.log());
    let expected = story.expected();
    story.fleet.terminate();
    let ends = story.fleet.ends().await;
    oracle::check(&story.wire, &story.receipts, &expected, &ends).await;
}

/// Nothing happens by the clock but heartbeats: a dead worker's leases are ended by hand (see [`Story::hurry`]).
fn arguments(case: Case) -> Vec<&'static str> {
    let lease = if case.stage == Stage::Heartbeat { "6s" } else { "60s" };
    let concurrency = if case.stage == Stage::GiveBack { "1" } else { "2" };
    let attempts = if case.stage == Stage::Exhausted { "1" } else { "5" };
    let mut arguments = vec!["--admin", "off", "--every", "1h", "--lease", lease];
    arguments.extend(["--concurrency", concurrency, "--max-attempts", attempts]);
    arguments
}

async fn world(count: usize) -> (World, Vec<Receipt>) {
    let (mut recordings, mut photos, mut receipts) = (Recordings::new(), Vec::new(), Vec::new());
    for number in 0..count {
        let mut photo = photo_bytes();
        photo.resize(PHOTO_BYTES, b'.');
        let (digest, total) = (sha256(&photo), format!("{}.50", number + 1));
        recordings = recordings.with_image(&digest, answer("Blue Bottle Cafe", &total, "2024-03-15"));
        receipts.push(Receipt { key: format!("photo-{number}.jpg"), digest, total });
        photos.push(photo);
    }
    let world = World::with(WorldSettings { reader: Some(Reader::Recorded(recordings)), db: None }).await;
    for (receipt, photo) in receipts.iter().zip(photos) {
        world.put(&receipt.key, photo).await;
    }
    (world, receipts)
}

impl Story {
    async fn tell(&mut self) {
        let (ambush, faults) = (self.case.ambush(), self.world().textract.faults().clone());
        match self.case.stage {
            Stage::FindArtifact | Stage::OpenArtifact => {
                self.insert().await;
                self.settle().await;
            }
            Stage::Heartbeat => faults.next(1, OcrFault::Held),
            Stage::RetryAfter => faults.next(1, OcrFault::throttled()),
            Stage::DeadLetter => faults.next(1, OcrFault::error("UnsupportedDocumentException", 400)),
            Stage::GiveBack => faults.next(self.case.hosts, OcrFault::Held),
            _ => {}
        }
        oracle::watch(self.world()).await;
        match self.case.stage {
            Stage::FindArtifact | Stage::OpenArtifact => {
                let ambushed = self.wire.set_trap(ambush);
                self.world().execute("UPDATE receipts SET status = 'pending'").await;
                self.suffer(ambush, ambushed).await;
            }
            Stage::TakeIn => {
                let lost = Ambush { point: Step::Claim.at(Moment::Answered), fault: Fault::Cut, nth: 2 };
                self.insert_and_suffer(&[lost, ambush]).await;
            }
            Stage::LookUp => {
                let lost = Ambush { point: Step::Complete.at(Moment::Answered), fault: Fault::Cut, nth: 2 };
                self.insert_and_suffer(&[lost, ambush]).await;
            }
            Stage::Exhausted => {
                let lost = Ambush { point: Step::StoreArtifact.at(Moment::Before), fault: Fault::Kill, nth: 2 };
                self.insert_and_suffer(&[lost]).await;
                // Not before: until it is killed, the first victim may look for what is exhausted, too.
                let ambushed = self.wire.set_trap(ambush);
                self.bury().await;
                self.suffer(ambush, ambushed).await;
            }
            Stage::Heartbeat => {
                self.insert_and_suffer(&[ambush]).await;
                faults.clear();
            }
            Stage::GiveBack => {
                let ambushed = self.wire.set_trap(ambush);
                self.insert().await;
                let all = i64::try_from(self.receipts.len()).unwrap();
                eventually("every receipt claimed", async || {
                    (self.world().count("receipt_queue WHERE lease_token IS NOT NULL").await == all).then_some(())
                })
                .await;
                self.fleet.terminate();
                self.suffer(ambush, ambushed).await;
                self.world().textract.faults().clear();
                self.fleet.add().await;
            }
            _ => self.insert_and_suffer(&[ambush]).await,
        }
        self.case.reached();
        self.settle().await;
    }

    fn world(&self) -> &World {
        &self.wire.world
    }

    async fn insert_and_suffer(&mut self, ambushes: &[Ambush]) {
        let ambushed: Vec<_> = ambushes.iter().map(|ambush| (*ambush, self.wire.set_trap(*ambush))).collect();
        self.insert().await;
        for (ambush, ambushed) in ambushed {
            self.suffer(ambush, ambushed).await;
        }
    }

    /// All at once, as they are claimed.
    async fn insert(&self) {
        let keys: Vec<&str> = self.receipts.iter().map(|receipt| receipt.key.as_str()).collect();
        let sql = "INSERT INTO receipts (image_url) SELECT unnest($1::text[])";
        self.world().client.execute(sql, &[&keys]).await.unwrap();
    }

    async fn suffer(&mut self, ambush: Ambush, ambushed: oneshot::Receiver<usize>) {
        let victim = match tokio::time::timeout(PATIENCE, ambushed).await {
            Ok(victim) => victim.unwrap(),
            Err(_) => panic!("no host came to {:?}:\n{}", ambush.point, self.fleet.log()),
        };
        if ambush.fault == Fault::Kill {
            self.fleet.kill(victim).await;
            self.killed = true;
            if self.case.hosts == 1 {
                self.fleet.add().await;
            }
        }
    }

    /// Ends the leases of the worker that was killed, as time would.
    async fn bury(&self) {
        eventually("leases of a dead worker", async || (self.hurry().await > 0).then_some(())).await;
    }

    /// Waits until nothing is left to do.
    async fn settle(&self) {
        eventually("an empty queue", async || {
            self.hurry().await;
            (self.world().count("receipt_queue WHERE NOT processed").await == 0).then_some(())
        })
        .await;
    }

    /// Makes what waits due at once: what was put off, and where one was killed, what is leased by a worker that has no
    /// session any more. Nobody waits for backoff or for a lease to run out here. Returns how much it was.
    async fn hurry(&self) -> usize {
        let sql = "WITH hurried AS (
                UPDATE receipt_queue SET available_at = now()
                WHERE NOT processed AND available_at > now() + interval '50 ms' AND CASE
                    WHEN lease_token IS NULL THEN true
                    ELSE $1 AND NOT EXISTS (
                        SELECT FROM pg_stat_activity WHERE application_name = 'receipt-worker ' || leased_by
                    )
                END
                RETURNING id
            )
            SELECT pg_notify('receipt_channel', ''), id FROM hurried";
        self.world().client.query(sql, &[&self.killed]).await.unwrap().len()
    }

    fn expected(&self) -> Expected {
        let case = self.case;
        let (cut, kill) = (case.fault == Fault::Cut, case.fault == Fault::Kill);
        // A worker killed beforehand is what exhausts their attempts.
        let killed = u32::from(kill) + u32::from(case.stage == Stage::Exhausted);
        let read_before = matches!(case.stage, Stage::FindArtifact | Stage::OpenArtifact);
        let answer_lost = case.stage == Stage::Recognize && case.is_done();
        Expected {
            killed,
            done_before: if read_before { i64::try_from(self.receipts.len()).unwrap() } else { 0 },
            dead: match case.stage {
                // Whoever has it next finds Textract in a better mood.
                Stage::DeadLetter if kill && !case.is_done() => 0..=0,
                Stage::DeadLetter => 1..=1,
                // What the one that was killed had in its hands: two runs of up to four jobs.
                Stage::Exhausted => 1..=8 * killed,
                _ => 0..=0,
            },
            // An answer that broke off was paid for: that is charged, so that it has an end (docs/failures.md).
            charged: u32::from(cut && answer_lost && case.moment == Moment::MidAnswer),
            paid_again: match read_before {
                true => 0,
                // What was being read in the runs of the one that was killed.
                false => 2 * killed + u32::from(cut && answer_lost),
            },
            max_attempts: if case.stage == Stage::Exhausted { 1 } else { 5 },
        }
    }
}
