//! The pump: owns claiming and settling for all instances of a host, so that one claim serves many of them and one
//! settle many outcomes. Instances take claimed jobs from it in memory. Claiming (see [`super::claimer`]), keeping leases
//! (see [`super::keeper`]) and settling (see [`super::settler`]) are tasks, each with a connection of its own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::keeper::Ask;
use super::prepared::Prepared;
use super::rehearsal::{self, Rehearsed};
use super::settle::{Counts, Entry, Outcome, Settled};
use super::settlement::{Afterwards, Settlement};
use super::{Client, Database, Job, Lease, QueueError, Refusals};
use crate::failure::{Failure, FailureKind};

/// A job that the component dropped unsettled waits this long, so that a component that always does so is no busy loop.
const DROPPED_DELAY: Duration = Duration::from_secs(1);

/// How long the end of a claim that is on its way is waited for; it may take a new connection to learn what it leased.
const LAST_CLAIM: Duration = Duration::from_secs(5);

/// How much of the time for finishing is kept for giving back what cannot be settled.
const GIVE_BACK: Duration = Duration::from_secs(3);

/// Jobs that are remembered for their slow settles; of more, the oldest are forgotten.
const MOST_SUSPECTS: usize = 10_000;

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
    pub(super) shared: Arc<Shared>,
    pub(super) settler: Mutex<Option<mpsc::UnboundedSender<Settlement>>>,
    pub(super) tasks: Mutex<Option<Tasks>>,
    pub(super) rehearser: Rehearser,
}

/// Tries settles before anything is paid for, on a connection that it has while it is needed.
pub(super) struct Rehearser {
    database: Database,
    client: tokio::sync::Mutex<Option<Client>>,
}

impl Rehearser {
    pub(super) fn new(database: Database) -> Self {
        Self { database, client: tokio::sync::Mutex::default() }
    }
}

pub(super) struct Tasks {
    pub(super) claimer: JoinHandle<()>,
    pub(super) keeper: JoinHandle<()>,
    pub(super) settler: JoinHandle<()>,
}

/// Hears of each job that ended: the component that decided (none: the host did), and how.
pub(super) type OnSettled = Box<dyn Fn(Option<&str>, Settled) + Send + Sync>;

pub(super) struct Shared {
    pub(super) settings: PumpSettings,
    /// Random for each process: a host's name would be the same for two processes, and after a restart.
    pub(super) worker: String,
    pub(super) state: Mutex<State>,
    pub(super) ready: watch::Sender<usize>,
    /// Rung by the listener, and whenever something may have become due.
    pub(super) wake: Arc<Notify>,
    pub(super) room: Notify,
    pub(super) keeper: mpsc::UnboundedSender<Ask>,
    pub(super) stopping: AtomicBool,
    /// Jobs that may be held ready, where that is less than the capacity.
    pub(super) admitted: AtomicUsize,
    /// Rung once, when the claimer is to end.
    pub(super) finishing: Notify,
    /// What is not settled by now goes back.
    pub(super) giving_up: watch::Sender<bool>,
    /// Jobs whose settles were too slow alone, and how often.
    pub(super) suspects: Mutex<BTreeMap<i64, u32>>,
    pub(super) refusals: Arc<Refusals>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) ready: VecDeque<Job>,
    /// Every lease that this host has and has not settled yet; of one job two, while the outcome of one that ran out and was
    /// claimed anew is on its way.
    pub(super) held: BTreeMap<Lease, Held>,
    pub(super) counts: Counts,
    pub(super) on_settled: Option<OnSettled>,
    /// The task that panicked, if one did.
    pub(super) broken: Option<&'static str>,
    /// The last full look found less than there was room for, and nothing rang since.
    pub(super) exhausted: bool,
    /// Since when the queue cannot be reached, and why.
    pub(super) failing: Option<(Instant, String)>,
    /// When the soonest of the jobs that were put back since the last look is due.
    pub(super) retry_at: Option<Instant>,
    /// None where the pump goes on for ever.
    pub(super) pass: Option<Pass>,
    /// Spent jobs on their way to the dead letters.
    pub(super) burying: BTreeSet<Lease>,
}

/// How far one pass is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// It takes what was due when it began.
    Open,
    /// Jobs were given back unbegun: they are still before it.
    Again,
    /// Everything that it is for has been claimed.
    Over,
}

pub(super) struct Held {
    /// The receipt's id, for the log.
    pub(super) receipt: String,
    pub(super) lost: Arc<AtomicBool>,
    pub(super) renewed: Instant,
    /// Its outcome is on its way to the database.
    pub(super) settling: bool,
}

impl Pump {
    /// Connects and begins to claim at once, for whoever has nothing else that can fail.
    pub async fn start(database: Database, settings: PumpSettings, wake: Arc<Notify>) -> Result<Self, QueueError> {
        Ok(Prepared::connect(database, settings, wake).await?.start(|_, _| {}))
    }

    /// From now on only what was due when it started is claimed: what becomes due again and again would keep one pass for
    /// ever.
    pub fn one_pass(&self) {
        self.shared.lock().pass = Some(Pass::Open);
    }

    /// This worker's id: random for each process, and a part of its database sessions' names.
    pub fn worker(&self) -> &str {
        &self.shared.worker
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

    /// Hands jobs back that were taken and not settled; they stay leased and are taken next.
    pub fn put_back(&self, jobs: Vec<Job>) {
        let mut state = self.shared.lock();
        for job in jobs.into_iter().rev() {
            if state.held.get(&job.lease).is_some_and(|held| !held.settling) && !job.is_lost() {
                state.ready.push_front(job);
            }
        }
        let surplus = self.shared.surplus(&mut state);
        self.shared.announce(&state);
        drop(state);
        surplus.iter().for_each(|job| self.send(Settlement::unbegun(job)));
    }

    /// Settles a job; returns when the commit is known.
    pub async fn settle(&self, job: &Job, outcome: Outcome, component: Option<String>) -> Result<(), Failure> {
        self.settle_then(job, outcome, component, Box::new(|| {})).await
    }

    /// The same. Where the answer is that the receipt is locked, the settle goes on, and `afterwards` is called if it is
    /// committed in the end.
    pub async fn settle_then(
        &self,
        job: &Job,
        outcome: Outcome,
        component: Option<String>,
        afterwards: Afterwards,
    ) -> Result<(), Failure> {
        let (reply, verdict) = oneshot::channel();
        self.shared.lock().settling(job.lease);
        let entry = Entry { lease: job.lease, outcome, component };
        self.send(Settlement::new(entry, Some(reply)).then(afterwards));
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
        self.shared.lock().settling(job.lease);
        let outcome = Outcome::Retry { delay: DROPPED_DELAY, charge: false, failure: None };
        self.send(Settlement::new(Entry { lease: job.lease, outcome, component: None }, None));
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
            .get(&job.lease)
            .is_some_and(|held| held.renewed.elapsed() < self.shared.settings.lease);
        if fresh {
            return Ok(());
        }
        let (reply, answer) = oneshot::channel();
        let _ = self.shared.keeper.send(Ask::Confirm(job.lease, reply));
        match answer.await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) | Err(_) => Err(Failure::lease_lost()),
            Ok(Err(failure)) => Err(failure),
        }
    }

    /// Makes sure that the database would take the result of this job before something is paid for it: until it is known that
    /// it takes results, each settle is tried and rolled back.
    pub async fn rehearse(&self, job: &Job) -> Result<(), Failure> {
        let refusals = &self.shared.refusals;
        if refusals.are_ruled_out() {
            return Ok(());
        }
        let Rehearser { database, client } = &self.rehearser;
        let mut held = client.lock().await;
        // Somebody else has tried it meanwhile.
        if refusals.are_ruled_out() {
            return Ok(());
        }
        let mut client = match held.take().filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => match database.connect().await {
                Ok(client) => client,
                // Without a database nothing is settled either, and that passes.
                Err(_) => return Ok(()),
            },
        };
        match rehearsal::of_job(&mut client, job.lease).await {
            Rehearsed::Passed => {
                refusals.rule_out();
                Ok(())
            }
            Rehearsed::NeverDead(error) => {
                // The others are none the worse for it.
                tracing::error!(
                    %error,
                    "a receipt that fails could not be given up, and would be tried again for ever (host doctor)"
                );
                refusals.rule_out();
                Ok(())
            }
            Rehearsed::Unclear(why) => {
                tracing::debug!(job = job.lease.job, "it is not clear whether a result would be taken: {why}");
                *held = Some(client);
                Ok(())
            }
            Rehearsed::Refused(error) => {
                *held = Some(client);
                refusals.refused(job.lease.job, &error);
                let message = format!("it was not read, since its result would be refused: {error}");
                Err(Failure::new(FailureKind::Unavailable, error.refusal(), message))
            }
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

    /// Why nothing can be claimed or settled any more, if a task of the pump is gone.
    pub fn broken(&self) -> Option<String> {
        let broken = self.shared.lock().broken;
        broken.map(|task| {
            format!("the host's task that {task} ended abnormally; what it holds is given back where that can be done")
        })
    }

    /// For how long the queue could not be reached, and why.
    pub fn failing(&self) -> Option<(Duration, String)> {
        self.shared.lock().failing.as_ref().map(|(since, why)| (since.elapsed(), why.clone()))
    }

    /// Stops claiming and gives back what no instance has taken. Heartbeats for the rest go on.
    pub fn stop_claiming(&self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.give_back_surplus();
    }

    /// From now on at most so many claimed jobs wait for an instance; those that are more go back, uncharged, for another
    /// host to take.
    pub fn admit(&self, most: usize) {
        if self.shared.admitted.swap(most, Ordering::Relaxed) != most {
            self.give_back_surplus();
        }
    }

    fn give_back_surplus(&self) {
        let mut state = self.shared.lock();
        let surplus = self.shared.surplus(&mut state);
        self.shared.announce(&state);
        drop(state);
        surplus.iter().for_each(|job| self.send(Settlement::unbegun(job)));
        self.shared.room.notify_one();
    }

    /// Gives back, uncharged, whatever is still leased and has no outcome on its way: for when nobody works it any more.
    pub fn release_held(&self) {
        let mut given_back = Vec::new();
        for (lease, held) in self.shared.lock().held.iter_mut().filter(|(_, held)| !held.settling) {
            held.settling = true;
            given_back.push(*lease);
        }
        for lease in given_back {
            let outcome = Outcome::Retry { delay: Duration::ZERO, charge: false, failure: None };
            self.send(Settlement::new(Entry { lease, outcome, component: None }, None));
        }
    }

    /// Waits until everything sent has been settled, for at most `timeout`. Returns whether it has.
    pub async fn finish(&self, timeout: Duration) -> bool {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Tasks { mut claimer, keeper, mut settler }) = tasks else { return true };
        // A claim may be on its way: what it leased is given back when it arrives, not left to run out at the cost of an
        // attempt. So the claimer ends first, while there is still somebody to give back to.
        self.shared.finishing.notify_one();
        let _ = tokio::time::timeout(timeout.min(LAST_CLAIM), &mut claimer).await;
        claimer.abort();
        self.settler.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut settled = tokio::time::timeout(timeout.saturating_sub(GIVE_BACK), &mut settler).await.is_ok();
        if !settled {
            self.shared.giving_up.send_replace(true);
            settled = tokio::time::timeout(GIVE_BACK, &mut settler).await.is_ok();
        }
        settler.abort();
        keeper.abort();
        settled
    }

    fn send(&self, settlement: Settlement) {
        if let Some(settler) = self.settler.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            let _ = settler.send(settlement);
        }
    }
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many claimed jobs may wait for an instance.
    pub(super) fn room(&self) -> usize {
        match self.stopping.load(Ordering::Relaxed) {
            true => 0,
            false => self.settings.capacity.min(self.admitted.load(Ordering::Relaxed)),
        }
    }

    /// Takes out what waits beyond that, to be given back; jobs that a run has put back may be more than the capacity.
    pub(super) fn surplus(&self, state: &mut State) -> VecDeque<Job> {
        let room = self.room();
        let surplus = match room < self.settings.capacity {
            true => state.ready.split_off(room.min(state.ready.len())),
            false => VecDeque::new(),
        };
        surplus.iter().for_each(|job| state.settling(job.lease));
        surplus
    }

    pub(super) fn announce(&self, state: &State) {
        self.ready.send_replace(state.ready.len());
    }

    /// Whether what is not settled is to go back now.
    pub(super) fn is_giving_up(&self) -> bool {
        *self.giving_up.borrow()
    }

    /// Waits until it is.
    pub(super) async fn gives_up(&self) {
        let _ = self.giving_up.subscribe().wait_for(|giving_up| *giving_up).await;
    }

    /// Receipts that were written so far.
    pub(super) fn written(&self) -> u64 {
        let counts = self.lock().counts;
        counts.processed.saturating_add(counts.dead)
    }

    /// Notes that the settle of a job was too slow alone; returns how often it was before.
    pub(super) fn suspect(&self, job: i64) -> u32 {
        let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        let times = suspects.entry(job).or_default();
        let before = *times;
        *times = times.saturating_add(1);
        if suspects.len() > MOST_SUSPECTS {
            suspects.pop_first();
        }
        before
    }

    /// Whether it was.
    pub(super) fn is_suspect(&self, job: i64) -> bool {
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&job)
    }

    /// Books a settle that is over, one way or the other. Returns the receipt, unless its loss was noticed before.
    pub(super) fn settled(&self, entry: &Entry, committed: bool) -> Option<String> {
        let mut state = self.lock();
        state.burying.remove(&entry.lease);
        let held = state.held.remove(&entry.lease);
        if let (Some(_), Outcome::Retry { delay: Duration::ZERO, failure: None, .. }, true) =
            (&held, &entry.outcome, committed)
            && state.pass.is_some()
        {
            state.pass = Some(Pass::Again);
            state.exhausted = false;
        }
        if let (Outcome::Retry { delay, .. }, true) = (&entry.outcome, committed) {
            let due = Instant::now() + *delay;
            state.retry_at = Some(state.retry_at.map_or(due, |sooner| sooner.min(due)));
            self.room.notify_one();
        }
        if committed && !matches!(entry.outcome, Outcome::Retry { .. }) {
            self.suspects.lock().unwrap_or_else(PoisonError::into_inner).remove(&entry.lease.job);
            if matches!(entry.outcome, Outcome::Complete(_)) {
                self.refusals.written(entry.lease.job);
            }
        }
        let settled = match (&entry.outcome, committed) {
            (Outcome::Complete(_), true) => Some(Settled::Processed),
            (Outcome::Retry { failure: Some(_), .. }, true) => Some(Settled::Retried),
            (Outcome::Retry { failure: None, .. }, true) => Some(Settled::Released),
            (Outcome::DeadLetter { .. }, true) => Some(Settled::Dead),
            // A spent job that another host buried first was never ours to lose.
            (_, false) => held.is_some().then_some(Settled::Lost),
        };
        if let Some(settled) = settled {
            state.count(entry.component.as_deref(), settled);
        }
        held.map(|held| held.receipt)
    }
}

impl State {
    /// Notes that a task panicked; the first one is the one to be told of.
    pub(super) fn break_off(&mut self, task: &'static str) {
        self.broken.get_or_insert(task);
    }

    fn count(&mut self, component: Option<&str>, settled: Settled) {
        self.counts.add(settled);
        if let Some(on_settled) = &self.on_settled {
            on_settled(component, settled);
        }
    }

    /// Its outcome is sent: that its row knows the lease no more, once that is committed, is no loss.
    fn settling(&mut self, lease: Lease) {
        if let Some(held) = self.held.get_mut(&lease) {
            held.settling = true;
        }
    }

    /// This lease was given to us though we held the job by another one, which has run out: whoever works under that has lost
    /// it. Where its outcome is on its way, the settler will say so.
    pub(super) fn overtake(&mut self, by: Lease) {
        let before: Vec<Lease> =
            self.held.range(Lease { token: i64::MIN, ..by }..by).map(|(lease, _)| *lease).collect();
        for lease in before {
            match self.held.get(&lease) {
                Some(held) if held.settling => held.lost.store(true, Ordering::Relaxed),
                _ => self.lose(lease, "it ran out, and this host has claimed the job anew"),
            }
        }
    }

    /// Books a lease that somebody else has now, and says so.
    pub(super) fn lose(&mut self, lease: Lease, why: &str) {
        let Some(held) = self.held.remove(&lease) else { return };
        tracing::warn!(receipt = held.receipt, job = lease.job, token = lease.token, "lease lost: {why}");
        held.lost.store(true, Ordering::Relaxed);
        self.ready.retain(|job| job.lease != lease);
        self.count(None, Settled::Lost);
    }
}

pub(super) fn random_id() -> String {
    let mut bytes = [0_u8; 8];
    // Without entropy the process id still tells processes on one machine apart; leases are fenced by tokens anyway.
    if getrandom::fill(&mut bytes).is_err() {
        bytes = u64::from(std::process::id()).to_be_bytes();
    }
    format!("{:016x}", u64::from_be_bytes(bytes))
}
