//! A pump that has all of its connections and has claimed nothing: whatever else can fail at a start is tried between the two,
//! for a job that was claimed and not worked costs an attempt.

use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};

use super::claim::{Claimer, Clock};
use super::claim_loop;
use super::heartbeat::LeaseRenewer;
use super::keeper;
use super::lane::Lane;
use super::outcome::Settled;
use super::pump::{Pump, Tasks, random_id};
use super::rehearser::Rehearser;
use super::settle::Writer;
use super::settler;
use super::shared::{LeaseRequest, PumpSettings, Shared};
use super::status::missing_rights;
use super::{Database, QueueError, Refusals};

/// A pump that is connected, and has not begun.
pub struct Prepared {
    database: Database,
    claims: Lane<Claimer>,
    leases: Lane<LeaseRenewer>,
    settles: Lane<Writer>,
    clock: Clock,
    requests: mpsc::UnboundedReceiver<LeaseRequest>,
    shared: Shared,
}

impl Prepared {
    /// Connects; errors here are errors of configuration.
    pub async fn connect(database: Database, settings: PumpSettings, wake: Arc<Notify>) -> Result<Self, QueueError> {
        // Row-level security shows this role fewer rows and no error: better told now than when a result cannot be written.
        for missing in missing_rights(&database.connect_checked().await?).await? {
            tracing::warn!(
                name: "database.rights_missing",
                "this database role cannot do all of its work (host doctor): {missing}"
            );
        }
        let worker = random_id();
        let database = database.of_worker(&worker);
        let (mut claims, mut leases, mut settles) = tokio::try_join!(
            claim_loop::lane(database.clone(), settings.lease).connected(),
            keeper::lane(database.clone(), settings.lease).connected(),
            Lane::new(database.clone()).connected()
        )?;
        // A receipts table that a settle cannot write to is an error of configuration, to be told before anything is paid
        // for.
        tokio::try_join!(claims.check(), leases.check(), settles.check())?;
        let clock = claims.statements().await?.clock();
        let (keeper, requests) = mpsc::unbounded_channel();
        let shared = Shared {
            settings,
            worker,
            state: Mutex::default(),
            ready: watch::Sender::new(0),
            wake,
            room: Notify::new(),
            keeper,
            stopping: AtomicBool::new(false),
            admitted: AtomicUsize::new(usize::MAX),
            finishing: Notify::new(),
            giving_up: watch::Sender::new(false),
            suspects: Mutex::default(),
            refusals: Arc::default(),
        };
        Ok(Self { database, claims, leases, settles, clock, requests, shared })
    }

    /// This worker's id: random for each process, and a part of its database sessions' names.
    pub fn worker(&self) -> &str {
        &self.shared.worker
    }

    /// Whether the database takes results.
    pub fn refusals(&self) -> &Arc<Refusals> {
        &self.shared.refusals
    }

    /// Starts claiming. `on_settled` hears of each job that ended: the digest of the component that decided (none: the host
    /// did), how, and how long after its claim.
    pub fn start(self, on_settled: impl Fn(Option<&str>, Settled, Option<Duration>) + Send + Sync + 'static) -> Pump {
        let Self { database, claims, leases, settles, clock, requests, shared } = self;
        shared.lock().on_settled = Some(Box::new(on_settled));
        let shared = Arc::new(shared);
        let (settler, settlements) = mpsc::unbounded_channel();
        let (weak, second) = (settler.downgrade(), Lane::new(database.clone()));
        let (s1, s2, s3) = (Arc::clone(&shared), Arc::clone(&shared), Arc::clone(&shared));
        let tasks = Tasks {
            claimer: tokio::spawn(watched("claims", &shared, claim_loop::run(claims, clock, weak, s1))),
            keeper: tokio::spawn(watched("keeps leases", &shared, keeper::run(leases, requests, s2))),
            settler: tokio::spawn(watched("settles", &shared, settler::run(settles, second, settlements, s3))),
        };
        let (settler, tasks) = (Mutex::new(Some(settler)), Mutex::new(Some(tasks)));
        Pump { shared, settler, tasks, rehearser: Rehearser::new(database) }
    }
}

impl Pump {
    /// Connects and begins to claim at once, for whoever has nothing else that can fail.
    pub async fn start(database: Database, settings: PumpSettings, wake: Arc<Notify>) -> Result<Self, QueueError> {
        Ok(Prepared::connect(database, settings, wake).await?.start(|_, _, _| {}))
    }
}

/// A task without which a host would hold what it has and do nothing more, for ever. Where it panics the schedule hears of it.
fn watched<F: Future<Output = ()>>(
    task: &'static str,
    shared: &Arc<Shared>,
    work: F,
) -> impl Future<Output = ()> + use<F> {
    struct Alarm(&'static str, Arc<Shared>);
    impl Drop for Alarm {
        fn drop(&mut self) {
            if std::thread::panicking() {
                self.1.lock().break_off(self.0);
                self.1.ready.send_modify(|_| {});
            }
        }
    }
    let alarm = Alarm(task, Arc::clone(shared));
    async move {
        work.await;
        drop(alarm);
    }
}
