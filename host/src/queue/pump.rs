//! The pump: owns claiming and settling for all instances of a host, so that one claim serves many of them and one
//! settle many outcomes. Instances take claimed jobs from it in memory. Claiming (see [`super::claim_loop`]), keeping leases
//! (see [`super::keeper`]) and settling (see [`super::settler`]) are tasks, each with a connection of its own.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::Job;
use super::outcome::{Counts, JobOutcome, SettleEntry};
use super::rehearser::Rehearser;
use super::settlement::{Afterwards, Settlement};
use super::shared::{LeaseRequest, Pass, Shared};
use crate::failure::{Failure, FailureKind};

/// A job that the component dropped unsettled waits this long, so that a component that always does so is no busy loop.
const DROPPED_DELAY: Duration = Duration::from_secs(1);

/// How long the end of a claim that is on its way is waited for; it may take a new connection to learn what it leased.
const LAST_CLAIM: Duration = Duration::from_secs(5);

/// How much of the time for finishing is kept for giving back what cannot be settled.
const GIVE_BACK: Duration = Duration::from_secs(3);

/// Claims and settles for all instances of a host.
pub struct Pump {
    pub(super) shared: Arc<Shared>,
    pub(super) settler: Mutex<Option<mpsc::UnboundedSender<Settlement>>>,
    pub(super) tasks: Mutex<Option<Tasks>>,
    pub(super) rehearser: Rehearser,
}

pub(super) struct Tasks {
    pub(super) claimer: JoinHandle<()>,
    pub(super) keeper: JoinHandle<()>,
    pub(super) settler: JoinHandle<()>,
}

impl Pump {
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
        if count == 0 {
            // Nothing has changed: whoever asks whenever something has would ask for ever.
            return Vec::new();
        }
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
    pub async fn settle(&self, job: &Job, outcome: JobOutcome, component: Option<String>) -> Result<(), Failure> {
        self.settle_then(job, outcome, component, Box::new(|| {})).await
    }

    /// The same. Where the answer is that the receipt is locked, the settle goes on, and `afterwards` is called if it is
    /// committed in the end.
    pub async fn settle_then(
        &self,
        job: &Job,
        outcome: JobOutcome,
        component: Option<String>,
        afterwards: Afterwards,
    ) -> Result<(), Failure> {
        let (reply, verdict) = oneshot::channel();
        self.shared.lock().settling(job.lease);
        let entry = SettleEntry { lease: job.lease, outcome, component };
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
        let outcome = JobOutcome::given_back(DROPPED_DELAY);
        self.send(Settlement::new(SettleEntry { lease: job.lease, outcome, component: None }, None));
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
        let _ = self.shared.keeper.send(LeaseRequest::Confirm(job.lease, reply));
        match answer.await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) | Err(_) => Err(Failure::lease_lost()),
            Ok(Err(failure)) => Err(failure),
        }
    }

    /// Makes sure that the database would take the result of this job before something is paid for it: until it is known that
    /// it takes results, each settle is tried and rolled back.
    pub async fn rehearse(&self, job: &Job) -> Result<(), Failure> {
        self.rehearser.rehearse(job.lease, &self.shared.refusals).await
    }

    /// What was committed so far.
    pub fn counts(&self) -> Counts {
        self.shared.lock().counts
    }

    /// Whether the queue was seen without anything due, and no claimed job waits.
    pub fn is_idle(&self) -> bool {
        let state = self.shared.lock();
        state.nothing_due && state.ready.is_empty()
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

    /// Since the queue was looked at; none before the first time.
    pub fn last_poll(&self) -> Option<Duration> {
        self.shared.lock().polled.map(|polled| polled.elapsed())
    }

    /// Jobs that are leased to this host.
    pub fn held(&self) -> usize {
        self.shared.lock().held.len()
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
            let outcome = JobOutcome::given_back(Duration::ZERO);
            self.send(Settlement::new(SettleEntry { lease, outcome, component: None }, None));
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

pub(super) fn random_id() -> String {
    let mut bytes = [0_u8; 8];
    // Without entropy the process id still tells processes on one machine apart; leases are fenced by tokens anyway.
    if getrandom::fill(&mut bytes).is_err() {
        bytes = u64::from(std::process::id()).to_be_bytes();
    }
    format!("{:016x}", u64::from_be_bytes(bytes))
}
