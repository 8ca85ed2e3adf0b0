//! What the pump and its tasks share: which jobs are ready, which leases this host has, and how far one pass is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::outcome::{Counts, JobOutcome, SettleEntry, Settled};
use super::{Job, Lease, Refusals};
use crate::failure::Failure;

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

/// What the keeper is asked.
pub(super) enum LeaseRequest {
    /// Whether a lease is still ours.
    Confirm(Lease, oneshot::Sender<Result<bool, Failure>>),
    /// To renew whatever is held; answered when that has been done.
    Renew(oneshot::Sender<()>),
}

/// Hears of each job that ended: the component that decided (none: the host did), and how.
pub(super) type OnSettled = Box<dyn Fn(Option<&str>, Settled, Option<Duration>) + Send + Sync>;

pub(super) struct Shared {
    pub(super) settings: PumpSettings,
    /// Random for each process: a host's name would be the same for two processes, and after a restart.
    pub(super) worker: String,
    pub(super) state: Mutex<State>,
    pub(super) ready: watch::Sender<usize>,
    /// Rung by the listener, and whenever something may have become due.
    pub(super) wake: Arc<Notify>,
    pub(super) room: Notify,
    pub(super) keeper: mpsc::UnboundedSender<LeaseRequest>,
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
    /// The last full poll found less than there was room for, and nothing rang since.
    pub(super) nothing_due: bool,
    /// Since when the queue cannot be reached, and why.
    pub(super) failing: Option<(Instant, String)>,
    /// When the queue was looked at last.
    pub(super) polled: Option<Instant>,
    /// When the soonest of the jobs that were put back since the last look is due.
    pub(super) retry_at: Option<Instant>,
    /// None where the pump goes on for ever.
    pub(super) pass: Option<Pass>,
    /// Exhausted jobs on their way to the dead letters.
    pub(super) dead_lettering: BTreeSet<Lease>,
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
    pub(super) claimed: Instant,
    pub(super) renewed: Instant,
    /// Its outcome is on its way to the database.
    pub(super) settling: bool,
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
    pub(super) fn settled(&self, entry: &SettleEntry, committed: bool) -> Option<String> {
        let mut state = self.lock();
        state.dead_lettering.remove(&entry.lease);
        let held = state.held.remove(&entry.lease);
        if let (Some(_), JobOutcome::Retry { delay: Duration::ZERO, failure: None, .. }, true) =
            (&held, &entry.outcome, committed)
            && state.pass.is_some()
        {
            state.pass = Some(Pass::Again);
            state.nothing_due = false;
        }
        if let (JobOutcome::Retry { delay, .. }, true) = (&entry.outcome, committed) {
            let due = Instant::now() + *delay;
            state.retry_at = Some(state.retry_at.map_or(due, |sooner| sooner.min(due)));
            self.room.notify_one();
        }
        if committed && !matches!(entry.outcome, JobOutcome::Retry { .. }) {
            self.suspects.lock().unwrap_or_else(PoisonError::into_inner).remove(&entry.lease.job);
            if matches!(entry.outcome, JobOutcome::Complete(_)) {
                self.refusals.written(entry.lease.job);
            }
        }
        let settled = match (&entry.outcome, committed) {
            (JobOutcome::Complete(_), true) => Some(Settled::Processed),
            (JobOutcome::Retry { failure: Some(_), .. }, true) => Some(Settled::Retried),
            (JobOutcome::Retry { failure: None, .. }, true) => Some(Settled::Released),
            (JobOutcome::DeadLetter { .. }, true) => Some(Settled::Dead),
            // An exhausted job that another host dead-lettered first was never ours to lose.
            (_, false) => held.is_some().then_some(Settled::Lost),
        };
        if let Some(settled) = settled {
            let took = held.as_ref().map(|held| held.claimed.elapsed());
            state.count(entry.component.as_deref(), settled, took);
        }
        held.map(|held| held.receipt)
    }
}

impl State {
    /// Notes that a task panicked; the first one is the one to be told of.
    pub(super) fn break_off(&mut self, task: &'static str) {
        self.broken.get_or_insert(task);
    }

    fn count(&mut self, component: Option<&str>, settled: Settled, took: Option<Duration>) {
        self.counts.add(settled);
        if let Some(on_settled) = &self.on_settled {
            on_settled(component, settled, took);
        }
    }

    /// Its outcome is sent: that its row knows the lease no more, once that is committed, is no loss.
    pub(super) fn settling(&mut self, lease: Lease) {
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
        tracing::warn!(
            name: "lease.lost",
            receipt = held.receipt,
            job = lease.job,
            token = lease.token,
            "lease lost: {why}"
        );
        held.lost.store(true, Ordering::Relaxed);
        self.ready.retain(|job| job.lease != lease);
        self.count(None, Settled::Lost, None);
    }
}
