//! The pump: owns claiming and settling for all instances of a host, so that one claim serves many of them and one
//! settle many outcomes. Instances take claimed jobs from it in memory. Claiming and heartbeats run here on one
//! connection; settling runs beside it on another (see [`super::settler`]).

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::claim::{Claimer, Spent};
use super::settle::{Counts, Entry, Outcome};
use super::settler::{self, Settlement};
use super::{Database, Job, Lease, QueueError, bounded};
use crate::failure::{Failure, FailureKind};

/// A full look at the queue is taken at most this often while the watermark finds work: it catches what a long
/// transaction committed below the watermark.
const FULL_LOOK_EVERY: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// A job that the component dropped unsettled waits this long, so that a component that always does so is no busy loop.
const DROPPED_DELAY: Duration = Duration::from_secs(1);

/// How the pump works.
#[derive(Debug, Clone)]
pub struct PumpSettings {
    /// Jobs held ready in memory, at most.
    pub capacity: usize,
    /// Attempts granted to a job.
    pub max_attempts: u32,
    /// How long a lease lasts without a heartbeat.
    pub lease: Duration,
    /// How often to look without a notification.
    pub every: Duration,
}

/// See the module.
pub struct Pump {
    shared: Arc<Shared>,
    settler: Mutex<Option<mpsc::UnboundedSender<Settlement>>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

pub(super) struct Shared {
    settings: PumpSettings,
    /// Random for each process: a host's name would be the same for two processes, and after a restart.
    worker: String,
    state: Mutex<State>,
    ready: watch::Sender<usize>,
    /// Rung by the listener, and whenever something may have become due.
    wake: Arc<Notify>,
    room: Notify,
    confirm: mpsc::UnboundedSender<(Lease, oneshot::Sender<Result<bool, Failure>>)>,
    stopping: AtomicBool,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Job>,
    /// Every job that is leased by this host and not settled yet.
    held: BTreeMap<i64, Held>,
    counts: Counts,
    /// The last full look found less than there was room for, and nothing rang since.
    exhausted: bool,
    last_error: Option<String>,
}

struct Held {
    lease: Lease,
    lost: Arc<AtomicBool>,
    renewed: Instant,
}

impl Pump {
    /// Connects (errors here are errors of configuration) and starts claiming.
    pub async fn start(database: Database, settings: PumpSettings, wake: Arc<Notify>) -> Result<Self, QueueError> {
        drop(database.connect_checked().await?);
        let claimer = Claimer::connect(&database).await?;
        let (confirm, confirms) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            settings,
            worker: random_id(),
            state: Mutex::default(),
            ready: watch::Sender::new(0),
            wake,
            room: Notify::new(),
            confirm,
            stopping: AtomicBool::new(false),
        });
        let (settler, settlements) = mpsc::unbounded_channel();
        let tasks = vec![
            tokio::spawn(settler::run(database.clone(), settlements, Arc::clone(&shared))),
            tokio::spawn(claim_loop(database, claimer, confirms, settler.clone().downgrade(), Arc::clone(&shared))),
        ];
        Ok(Self { shared, settler: Mutex::new(Some(settler)), tasks: Mutex::new(tasks) })
    }

    /// How many claimed jobs wait for an instance.
    pub fn ready(&self) -> watch::Receiver<usize> {
        self.shared.ready.subscribe()
    }

    /// Takes up to `limit` claimed jobs for one run.
    pub fn take(&self, limit: usize) -> Vec<Job> {
        let mut state = self.shared.lock();
        let together = match state.ready.iter().position(|job| job.alone) {
            Some(0) => 1,
            Some(first_alone) => first_alone,
            None => state.ready.len(),
        };
        let count = limit.min(together);
        let jobs = state.ready.drain(..count).collect();
        self.shared.announce(&state);
        drop(state);
        self.shared.room.notify_one();
        jobs
    }

    /// Hands jobs back that were taken and not begun; they stay leased and are taken next.
    pub fn put_back(&self, jobs: Vec<Job>) {
        let mut state = self.shared.lock();
        for job in jobs.into_iter().rev().filter(|job| !job.is_lost()) {
            state.ready.push_front(job);
        }
        self.shared.announce(&state);
    }

    /// Settles a job; returns when the commit is known.
    pub async fn settle(&self, job: &Job, outcome: Outcome, component: Option<String>) -> Result<(), Failure> {
        let (reply, verdict) = oneshot::channel();
        let entry = Entry { lease: job.lease, outcome, component };
        self.send(Settlement { entry, reply: Some(reply) });
        // No answer: the host stopped before the database could be reached.
        verdict.await.unwrap_or_else(|_| {
            Err(Failure::new(
                FailureKind::Unavailable,
                "queue.Stopped",
                "the host stopped before the settle was committed",
            ))
        })
    }

    /// Gives back a job that the component dropped; nobody waits for it.
    pub fn release(&self, job: &Job) {
        let outcome = Outcome::Retry { delay: DROPPED_DELAY, charge: false, failure: None };
        self.send(Settlement { entry: Entry { lease: job.lease, outcome, component: None }, reply: None });
    }

    /// Makes sure that the job is still ours before something costly is done for it: a process that was stopped for
    /// longer than its lease finds out here.
    pub async fn confirm(&self, job: &Job) -> Result<(), Failure> {
        if job.is_lost() {
            return Err(Failure::lease_lost());
        }
        let fresh = self
            .shared
            .lock()
            .held
            .get(&job.lease.job)
            .is_some_and(|held| held.lease == job.lease && held.renewed.elapsed() < self.shared.settings.lease);
        if fresh {
            return Ok(());
        }
        let (reply, answer) = oneshot::channel();
        let _ = self.shared.confirm.send((job.lease, reply));
        match answer.await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) | Err(_) => Err(Failure::lease_lost()),
            Ok(Err(failure)) => Err(failure),
        }
    }

    /// What was committed so far.
    pub fn counts(&self) -> Counts {
        self.shared.lock().counts
    }

    /// Whether the queue was seen without anything due, and no claimed job waits.
    pub fn is_exhausted(&self) -> bool {
        let state = self.shared.lock();
        state.exhausted && state.ready.is_empty()
    }

    /// The last claim's error, while it lasts.
    pub fn last_error(&self) -> Option<String> {
        self.shared.lock().last_error.clone()
    }

    /// Jobs leased and not settled.
    pub fn held(&self) -> usize {
        self.shared.lock().held.len()
    }

    /// Stops claiming and gives back what no instance has taken. Heartbeats for the rest go on.
    pub fn stop_claiming(&self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        let mut state = self.shared.lock();
        let unbegun: Vec<Job> = state.ready.drain(..).collect();
        self.shared.announce(&state);
        drop(state);
        for job in unbegun {
            let outcome = Outcome::Retry { delay: Duration::ZERO, charge: false, failure: None };
            self.send(Settlement { entry: Entry { lease: job.lease, outcome, component: None }, reply: None });
        }
        self.shared.room.notify_one();
    }

    /// Gives back, uncharged, whatever is still leased: for when nobody works it any more. A settle that is on its way
    /// comes first, and then this changes nothing.
    pub fn release_held(&self) {
        let held: Vec<Lease> = self.shared.lock().held.values().map(|held| held.lease).collect();
        for lease in held {
            let outcome = Outcome::Retry { delay: Duration::ZERO, charge: false, failure: None };
            self.send(Settlement { entry: Entry { lease, outcome, component: None }, reply: None });
        }
    }

    /// Waits until everything sent has been settled, for at most `timeout`. Returns whether it has.
    pub async fn finish(&self, timeout: Duration) -> bool {
        self.settler.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let claimer = tasks.pop();
        let settled = match tasks.pop() {
            Some(mut settler) => {
                let settled = tokio::time::timeout(timeout, &mut settler).await.is_ok();
                settler.abort();
                settled
            }
            None => true,
        };
        if let Some(claimer) = claimer {
            claimer.abort();
        }
        settled
    }

    fn send(&self, settlement: Settlement) {
        if let Some(settler) = self.settler.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            let _ = settler.send(settlement);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn announce(&self, state: &State) {
        self.ready.send_replace(state.ready.len());
    }

    /// Books a settle that is over, one way or the other.
    pub(super) fn settled(&self, entry: &Entry, committed: bool) {
        let mut state = self.lock();
        let held = state.held.get(&entry.lease.job).is_some_and(|held| held.lease == entry.lease);
        if held {
            state.held.remove(&entry.lease.job);
        }
        let counts = &mut state.counts;
        match (&entry.outcome, committed) {
            (Outcome::Complete(_), true) => counts.processed += 1,
            (Outcome::Retry { failure: Some(_), .. }, true) => counts.retried += 1,
            (Outcome::Retry { failure: None, .. }, true) => counts.released += 1,
            (Outcome::DeadLetter { .. }, true) => counts.dead += 1,
            // A spent job that another host buried first was never ours to lose.
            (_, false) => counts.lost += u64::from(held),
        }
    }
}

async fn claim_loop(
    database: Database,
    claimer: Claimer,
    mut confirms: mpsc::UnboundedReceiver<(Lease, oneshot::Sender<Result<bool, Failure>>)>,
    settler: mpsc::WeakUnboundedSender<Settlement>,
    shared: Arc<Shared>,
) {
    let mut looker =
        Looker { shared, settler, claimer: Some(claimer), floor: None, last_full: None, due: Instant::now() };
    let mut pause = Duration::from_millis(100);
    let mut heartbeat = tokio::time::interval(looker.shared.settings.lease / 3);
    heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let problem = tokio::select! {
            biased;
            Some((lease, reply)) = confirms.recv() => looker.confirm(lease, reply).await,
            _ = heartbeat.tick() => looker.heartbeat().await,
            () = looker.shared.wake.notified() => {
                looker.due = Instant::now();
                looker.shared.lock().exhausted = false;
                Ok(())
            }
            () = looker.shared.room.notified() => Ok(()),
            () = tokio::time::sleep_until(looker.due.into()) => Ok(()),
        };
        let problem = match problem {
            Ok(()) => looker.look().await,
            problem => problem,
        };
        match problem {
            Ok(()) => pause = Duration::from_millis(100),
            Err(error) => {
                tracing::warn!(%error, retry_in = ?pause, "cannot reach the queue");
                looker.shared.lock().last_error = Some(error.to_string());
                looker.claimer = None;
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
                looker.due = Instant::now();
                match Claimer::connect(&database).await {
                    Ok(claimer) => looker.claimer = Some(claimer),
                    Err(error) => tracing::debug!(%error, "still cannot reach the queue"),
                }
            }
        }
    }
}

struct Looker {
    shared: Arc<Shared>,
    settler: mpsc::WeakUnboundedSender<Settlement>,
    claimer: Option<Claimer>,
    /// The low watermark: everything due before it was claimed, but for stragglers.
    floor: Option<SystemTime>,
    last_full: Option<Instant>,
    due: Instant,
}

impl Looker {
    /// Claims if it is time and there is room; decides when to look next.
    async fn look(&mut self) -> Result<(), QueueError> {
        let settings = self.shared.settings.clone();
        while Instant::now() >= self.due {
            if self.shared.stopping.load(Ordering::Relaxed) {
                self.due = Instant::now() + settings.every;
                return Ok(());
            }
            let waiting = self.shared.lock().ready.len();
            // Batches, not single jobs: wait until half of the room is free.
            if waiting > settings.capacity / 2 {
                // `due` stays in the past; `room` wakes the loop.
                return Ok(());
            }
            let want = settings.capacity - waiting;
            let floor = self.floor.filter(|_| self.last_full.is_some_and(|last| last.elapsed() < FULL_LOOK_EVERY));
            let full = floor.is_none();
            let started = Instant::now();
            let jobs = bounded(self.claimer()?.claim(
                want,
                settings.lease,
                &self.shared.worker,
                settings.max_attempts,
                floor.unwrap_or(SystemTime::UNIX_EPOCH),
            ))
            .await?;
            let found = jobs.len();
            if let Some((_, due)) = jobs.last() {
                self.floor = Some(*due);
            }
            self.accept(jobs.into_iter().map(|(job, _)| job), started);
            if full {
                self.last_full = Some(started);
                self.bury_spent().await?;
            }
            self.shared.lock().last_error = None;
            if found == want {
                continue;
            }
            if !full {
                // Something may have been committed below the watermark: look at everything, at once when there is
                // nothing else to do.
                self.due = match (found, self.last_full) {
                    (0, _) | (_, None) => {
                        self.last_full = None;
                        Instant::now()
                    }
                    (_, Some(last)) => last + FULL_LOOK_EVERY,
                };
                continue;
            }
            let next = bounded(self.claimer()?.next_due()).await?;
            self.due = Instant::now() + next.unwrap_or(settings.every).clamp(Duration::from_millis(20), settings.every);
            self.shared.lock().exhausted = true;
            // The watchers of an empty queue must hear of it too.
            self.shared.ready.send_modify(|_| {});
        }
        Ok(())
    }

    fn accept(&self, jobs: impl Iterator<Item = Job>, claimed_at: Instant) {
        let mut state = self.shared.lock();
        for job in jobs {
            let held = Held { lease: job.lease, lost: Arc::clone(&job.lost), renewed: claimed_at };
            if let Some(before) = state.held.insert(job.lease.job, held) {
                // Our own lease on it ran out and we claimed it anew: the old run has lost it.
                before.lost.store(true, Ordering::Relaxed);
            }
            state.ready.push_back(job);
        }
        self.shared.announce(&state);
    }

    async fn heartbeat(&mut self) -> Result<(), QueueError> {
        let lease = self.shared.settings.lease;
        let aging: Vec<Lease> = {
            let state = self.shared.lock();
            state.held.values().filter(|held| held.renewed.elapsed() >= lease / 4).map(|held| held.lease).collect()
        };
        self.renew(&aging).await
    }

    async fn renew(&mut self, leases: &[Lease]) -> Result<(), QueueError> {
        if leases.is_empty() {
            return Ok(());
        }
        let asked = Instant::now();
        let ours = bounded(self.claimer()?.heartbeat(leases, self.shared.settings.lease)).await?;
        let mut state = self.shared.lock();
        for lease in leases {
            let Some(held) = state.held.get_mut(&lease.job).filter(|held| held.lease == *lease) else { continue };
            if ours.contains(&lease.job) {
                held.renewed = asked;
            } else {
                tracing::warn!(job = lease.job, token = lease.token, "lease lost: another worker has the job now");
                held.lost.store(true, Ordering::Relaxed);
                state.ready.retain(|job| job.lease != *lease);
            }
        }
        self.shared.announce(&state);
        Ok(())
    }

    async fn confirm(&mut self, lease: Lease, reply: oneshot::Sender<Result<bool, Failure>>) -> Result<(), QueueError> {
        let renewed = self.renew(&[lease]).await;
        let answer = match &renewed {
            Ok(()) => Ok(self
                .shared
                .lock()
                .held
                .get(&lease.job)
                .is_some_and(|held| held.lease == lease && !held.lost.load(Ordering::Relaxed))),
            Err(error) => Err(Failure::from(error)),
        };
        let _ = reply.send(answer);
        renewed
    }

    async fn bury_spent(&mut self) -> Result<(), QueueError> {
        let max_attempts = self.shared.settings.max_attempts;
        let spent = bounded(self.claimer()?.spent(max_attempts, 100)).await?;
        let Some(settler) = self.settler.upgrade() else { return Ok(()) };
        for job in spent {
            let outcome = Outcome::DeadLetter { failure: epitaph(&job), notes: "max attempts exceeded" };
            let _ =
                settler.send(Settlement { entry: Entry { lease: job.lease, outcome, component: None }, reply: None });
        }
        Ok(())
    }

    fn claimer(&self) -> Result<&Claimer, QueueError> {
        self.claimer.as_ref().ok_or(QueueError::Query {
            what: "the claim",
            reason: "not connected".to_owned(),
            code: None,
            closed: true,
        })
    }
}

fn epitaph(job: &Spent) -> Failure {
    let lost =
        format!("the worker was lost while working it (crash, kill or lease timeout), after {} attempts", job.attempts);
    match &job.last_error {
        Some((kind, _, message)) => {
            let kind = FailureKind::parse(kind).unwrap_or(FailureKind::Internal);
            Failure::new(kind, "queue.AttemptsExhausted", format!("{lost}; before that: {message}"))
        }
        None => Failure::new(FailureKind::Internal, "queue.AttemptsExhausted", lost),
    }
}

fn random_id() -> String {
    let mut bytes = [0_u8; 8];
    // Without entropy the process id still tells processes on one machine apart; leases are fenced by tokens anyway.
    if getrandom::fill(&mut bytes).is_err() {
        bytes = u64::from(std::process::id()).to_be_bytes();
    }
    format!("{:016x}", u64::from_be_bytes(bytes))
}
