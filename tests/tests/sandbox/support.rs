//! A world in which a receipt's id says how it is to be worked, and passes of the schedule in this process.

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use host::breaker::{BreakerSettings, SharedBreaker};
use host::ocr::local::Reader;
use host::ocr::{OcrApi, OcrSource, Textract};
use host::queue::migrate::migrate;
use host::queue::{Counts, Pump, PumpSettings};
use host::sandbox::{Limits, Observer, Sandbox, Services};
use host::schedule::{self, AdmissionControl, Runs, ScheduleSettings, Stop, Term};
use host::storage::{Artifacts, Images};
use host::trace::Recorder;
use tests::{
    ARTIFACTS, Finished, HostCommand, PATIENCE, SOURCE, TestDatabase, World, WorldSettings, cache_dir, eventually,
};
use tokio::sync::{Notify, watch};

/// A page with one line.
pub(crate) const RESPONSE: &str = r#"{"DocumentMetadata":{"Pages":1},"Blocks":[
    {"BlockType":"PAGE","Id":"p","Page":1,"Geometry":{"BoundingBox":{"Left":0,"Top":0,"Width":1,"Height":1}}},
    {"BlockType":"LINE","Id":"l","Page":1,"Confidence":99.5,"Text":"CORNER SHOP","Geometry":{"BoundingBox":{"Left":0.1,"Top":0.1,"Width":0.5,"Height":0.05}}}]}"#;
/// Enough of a JPEG for the recorded Textract.
const IMAGE: &[u8] = b"\xFF\xD8\xFF\xE0 as good as a photo";

pub(crate) struct Bench {
    world: World,
}

impl Deref for Bench {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let db = TestDatabase::empty().await;
        // Text, so that a receipt's id can say how it is to be worked.
        db.connect().await.batch_execute("CREATE TABLE receipts (id text PRIMARY KEY)").await.unwrap();
        migrate(&mut db.database().connect().await.unwrap()).await.unwrap();
        let world = World::with(WorldSettings { db: Some(db), reader: Some(Reader::recorded(RESPONSE)) }).await;
        world.put("a.jpg", IMAGE.to_vec()).await;
        Self { world }
    }

    /// Inserts receipts, in this order.
    pub(crate) async fn insert(&self, ids: &[&str]) {
        for id in ids {
            self.client.execute("INSERT INTO receipts (id, s3_key) VALUES ($1, 'a.jpg')", &[id]).await.unwrap();
        }
    }

    /// One pass of the schedule in this process: one instance at a time, and all jobs in one batch.
    pub(crate) async fn pass(&self, component: &Path, limits: Limits, max_attempts: u32) -> (Counts, Runs) {
        self.pass_with(component, limits, max_attempts, |services| services).await
    }

    /// The same on record, with one attempt for each receipt; somebody may look on.
    pub(crate) async fn pass_on_record(
        &self,
        component: &Path,
        limits: Limits,
        recorder: &Arc<Recorder>,
        observer: Option<Arc<dyn Observer>>,
    ) -> (Counts, Runs) {
        let recorder = Some(Arc::clone(recorder));
        self.pass_with(component, limits, 1, |services| Services { recorder, observer, ..services }).await
    }

    async fn pass_with(
        &self,
        component: &Path,
        limits: Limits,
        max_attempts: u32,
        and: impl FnOnce(Services) -> Services,
    ) -> (Counts, Runs) {
        let sandbox = Arc::new(Sandbox::new(limits, 1, Some(&cache_dir())).unwrap());
        let program = Arc::new(sandbox.load(Some(component)).unwrap());
        let (pump, services) = self.pump_with(max_attempts, Arc::new(Notify::new()), and).await;
        let settings =
            ScheduleSettings { concurrency: 1, batch: 100, term: Term::OnePass, drain_timeout: Duration::from_secs(5) };
        let (_stop, stop) = watch::channel(Stop::No);
        let source = Arc::clone(&pump);
        let (breaker, outage) = (Arc::clone(&program.tally.breaker), services.outage.breaker());
        let settles = Arc::new(SharedBreaker::new(BreakerSettings::SETTLES));
        let control = AdmissionControl::new(move || Arc::clone(&breaker), outage, settles, |_, _, _| {});
        let work = move |jobs| {
            let (sandbox, program, services) = (Arc::clone(&sandbox), Arc::clone(&program), Arc::clone(&services));
            async move { sandbox.run(&program, &services, jobs).await }
        };
        let run = schedule::run(work, source, settings, control, stop);
        let runs = tokio::time::timeout(PATIENCE, run).await.expect("the schedule hangs");
        assert!(runs.drained);
        (pump.counts(), runs)
    }

    /// A pump, what a run reaches through it, and what wakes it.
    pub(crate) async fn pump(&self, max_attempts: u32) -> (Arc<Pump>, Arc<Services>, Arc<Notify>) {
        let wake = Arc::new(Notify::new());
        let (pump, services) = self.pump_with(max_attempts, Arc::clone(&wake), |services| services).await;
        (pump, services, wake)
    }

    async fn pump_with(
        &self,
        max_attempts: u32,
        wake: Arc<Notify>,
        and: impl FnOnce(Services) -> Services,
    ) -> (Arc<Pump>, Arc<Services>) {
        let settings = PumpSettings {
            capacity: 100,
            max_attempts,
            lease: Duration::from_secs(30),
            every: Duration::from_secs(30),
        };
        let pump = Arc::new(Pump::start(self.db.database(), settings, wake).await.unwrap());
        let services = Arc::new(and(self.services(Arc::clone(&pump))));
        (pump, services)
    }

    fn services(&self, pump: Arc<Pump>) -> Services {
        Services {
            pump,
            images: Images::new(self.aws.s3.clone(), SOURCE.to_owned(), 64 << 20),
            artifacts: Artifacts::new(self.aws.s3.clone(), ARTIFACTS.to_owned()),
            ocr: Textract::new(self.aws.textract.clone(), OcrSource::Bytes, None),
            outage: Arc::default(),
            api: OcrApi::Detect,
            photo_grace: Duration::ZERO,
            recorder: None,
            observer: None,
        }
    }

    /// A receipt that was completed: on which attempt, with which vendor.
    pub(crate) async fn done(&self, id: &str) -> Option<(i32, Option<String>)> {
        let row = self
            .client
            .query_opt(
                "SELECT q.attempts, r.vendor_text FROM receipts r JOIN receipt_queue q ON q.receipt_id = r.id
                 WHERE r.id = $1 AND r.status = 'ocr_done' AND q.processed
                   AND NOT EXISTS (SELECT FROM receipt_queue_dlq d WHERE d.receipt_id = r.id)",
                &[&id],
            )
            .await
            .unwrap();
        row.map(|row| (row.get(0), row.get(1)))
    }

    /// A receipt that waits in the queue, leased by nobody: its attempts, and its last error's kind and message.
    pub(crate) async fn waits(&self, id: &str) -> Option<(i32, Option<(String, String)>)> {
        let row = self
            .client
            .query_opt(
                "SELECT q.attempts, q.last_error_kind, q.last_error
                 FROM receipts r JOIN receipt_queue q ON q.receipt_id = r.id
                 WHERE r.id = $1 AND r.status = 'pending' AND NOT q.processed AND q.lease_token IS NULL
                   AND NOT EXISTS (SELECT FROM receipt_queue_dlq d WHERE d.receipt_id = r.id)",
                &[&id],
            )
            .await
            .unwrap();
        row.map(|row| (row.get(0), row.get::<_, Option<String>>(1).zip(row.get::<_, Option<String>>(2))))
    }

    /// A receipt that was given up.
    pub(crate) async fn dead(&self, id: &str) -> Option<Dead> {
        let row = self
            .client
            .query_opt(
                "SELECT d.error_kind, d.error_code, d.error_message, d.attempts, d.notes
                 FROM receipts r JOIN receipt_queue_dlq d ON d.receipt_id = r.id
                 WHERE r.id = $1 AND r.status = 'ocr_failed'
                   AND NOT EXISTS (SELECT FROM receipt_queue q WHERE q.receipt_id = r.id)",
                &[&id],
            )
            .await
            .unwrap();
        row.map(|row| Dead {
            kind: row.get(0),
            code: row.get(1),
            message: row.get(2),
            attempts: row.get(3),
            notes: row.get(4),
        })
    }

    /// Waits until a query that answers with one boolean says true.
    pub(crate) async fn until(&self, what: &str, query: &str) {
        eventually(what, async || {
            let row = self.client.query_one(query, &[]).await.unwrap();
            row.get::<_, bool>(0).then_some(())
        })
        .await;
    }
}

#[derive(Debug)]
pub(crate) struct Dead {
    pub(crate) kind: String,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) attempts: i32,
    pub(crate) notes: Option<String>,
}

/// Runs the real `host` where it needs no world.
pub(crate) async fn host(args: &[&str]) -> Finished {
    HostCommand::bare().args(args).run().await
}

/// A sandbox with these limits in this process.
pub(crate) fn sandbox(limits: Limits) -> Sandbox {
    Sandbox::new(limits, 2, Some(&cache_dir())).unwrap()
}
