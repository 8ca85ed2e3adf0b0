//! The claiming half of the pump: claims batches while there is room, keeps the leases of what is held alive, and buries
//! what has used up its attempts.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, oneshot};

use super::claim::{Claimer, Renewal, Spent};
use super::outage::Outage;
use super::pump::{Held, Shared};
use super::settle::{Entry, Outcome};
use super::settler::Settlement;
use super::{Database, Job, Lease, QueueError};
use crate::failure::{Failure, FailureKind};

/// A full look at the queue is taken at most this often while the watermark finds work: it catches what a long
/// transaction committed below the watermark.
const FULL_LOOK_EVERY: Duration = Duration::from_secs(1);
const CONTENDED_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// A question whether a lease is still ours.
pub(super) type Confirm = (Lease, oneshot::Sender<Result<bool, Failure>>);

/// Runs until the pump finishes.
pub(super) async fn run(
    database: Database,
    claimer: Claimer,
    mut confirms: mpsc::UnboundedReceiver<Confirm>,
    settler: mpsc::WeakUnboundedSender<Settlement>,
    shared: Arc<Shared>,
) {
    let mut looker = Looker {
        database,
        shared,
        settler,
        claimer: Some(claimer),
        floor: None,
        last_full: None,
        due: Instant::now(),
        has_room: true,
    };
    let mut outage = Outage::new("reach the queue", LONGEST_PAUSE);
    let mut heartbeat = tokio::time::interval(looker.shared.settings.lease / 3);
    heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let problem = tokio::select! {
            biased;
            () = looker.shared.finishing.notified() => return,
            Some((lease, reply)) = confirms.recv() => looker.confirm(lease, reply).await,
            _ = heartbeat.tick() => looker.heartbeat().await,
            () = looker.shared.wake.notified() => {
                looker.due = Instant::now();
                looker.shared.lock().exhausted = false;
                Ok(())
            }
            () = looker.shared.room.notified() => {
                looker.has_room = true;
                Ok(())
            }
            () = tokio::time::sleep_until(looker.due.into()), if looker.has_room => Ok(()),
        };
        let problem = match problem {
            Ok(()) => looker.look().await,
            problem => problem,
        };
        match problem {
            Ok(()) => outage.over(),
            Err(error) => {
                looker.shared.lock().failing.get_or_insert_with(|| (Instant::now(), String::new())).1 =
                    error.to_string();
                looker.claimer = None;
                tokio::time::sleep(outage.failed(&error)).await;
                looker.due = Instant::now();
            }
        }
    }
}

struct Looker {
    database: Database,
    shared: Arc<Shared>,
    settler: mpsc::WeakUnboundedSender<Settlement>,
    claimer: Option<Claimer>,
    /// The low watermark: everything due before it was claimed, but for stragglers.
    floor: Option<SystemTime>,
    last_full: Option<Instant>,
    due: Instant,
    /// Whether more jobs can be taken in; while not, `room` is waited for instead of `due`.
    has_room: bool,
}

impl Looker {
    /// Claims if it is time and there is room; decides when to look next.
    async fn look(&mut self) -> Result<(), QueueError> {
        let settings = self.shared.settings.clone();
        if let Some(retry_at) = self.shared.lock().retry_at.take() {
            self.due = self.due.min(retry_at);
        }
        while Instant::now() >= self.due {
            if self.shared.stopping.load(Ordering::Relaxed) {
                self.due = Instant::now() + settings.every;
                return Ok(());
            }
            let waiting = self.shared.lock().ready.len();
            // Batches, not single jobs: wait until half of the room is free.
            if waiting > settings.capacity / 2 {
                self.has_room = false;
                return Ok(());
            }
            let want = settings.capacity - waiting;
            let floor = self.floor.filter(|_| self.last_full.is_some_and(|last| last.elapsed() < FULL_LOOK_EVERY));
            let full = floor.is_none();
            let started = Instant::now();
            let (worker, floor) = (self.shared.worker.clone(), floor.unwrap_or(SystemTime::UNIX_EPOCH));
            let claimer = self.claimer().await?;
            let jobs = claimer.claim(want, settings.lease, &worker, settings.max_attempts, floor).await?;
            let found = jobs.len();
            if let Some((_, due)) = jobs.last() {
                self.floor = Some(*due);
            }
            self.accept(jobs.into_iter().map(|(job, _)| job), started);
            if full {
                self.last_full = Some(started);
                self.bury_spent().await?;
            }
            self.shared.lock().failing = None;
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
            let next = self.claimer().await?.next_due().await?;
            self.due = Instant::now()
                + match next {
                    // Due and yet not ours: another host has it in hand this moment, or it is locked.
                    Some(Duration::ZERO) => CONTENDED_PAUSE.min(settings.every),
                    Some(next) => next.min(settings.every),
                    None => settings.every,
                };
            self.shared.lock().exhausted = true;
            // The watchers of an empty queue must hear of it too.
            self.shared.ready.send_modify(|_| {});
        }
        Ok(())
    }

    fn accept(&self, jobs: impl Iterator<Item = Job>, claimed_at: Instant) {
        let mut state = self.shared.lock();
        for job in jobs {
            let held = Held { lease: job.lease, lost: Arc::clone(&job.lost), renewed: claimed_at, settling: false };
            if let Some(before) = state.held.insert(job.lease.job, held) {
                // Our own lease on it ran out and we claimed it anew: the old run has lost it.
                before.lost.store(true, Ordering::Relaxed);
            }
            state.ready.push_back(job);
        }
        let stopping = self.shared.stopping.load(Ordering::Relaxed);
        let unbegun: Vec<Job> = if stopping { state.ready.drain(..).collect() } else { Vec::new() };
        self.shared.announce(&state);
        drop(state);
        // Claimed while the stop was asked for: given back like the others.
        if let Some(settler) = self.settler.upgrade() {
            for job in unbegun {
                let outcome = Outcome::Retry { delay: Duration::ZERO, charge: false, failure: None };
                let entry = Entry { lease: job.lease, outcome, component: None };
                let _ = settler.send(Settlement::new(entry, None));
            }
        }
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
        let (asked, lease) = (Instant::now(), self.shared.settings.lease);
        let renewals = self.claimer().await?.heartbeat(leases, lease).await?;
        let mut state = self.shared.lock();
        for lease in leases {
            let Some(held) = state.held.get_mut(&lease.job).filter(|held| held.lease == *lease) else { continue };
            match renewals.get(&lease.job) {
                Some(Renewal::Renewed) => {
                    held.renewed = asked;
                    continue;
                }
                // Asked again at the next beat; the lease goes on until then.
                Some(Renewal::Locked) => continue,
                // Settled this moment, perhaps: the settler will know.
                None if held.settling => continue,
                None => {}
            }
            tracing::warn!(
                job = lease.job,
                token = lease.token,
                "lease lost: another worker has the job now, or the receipt is gone"
            );
            held.lost.store(true, Ordering::Relaxed);
            state.held.remove(&lease.job);
            state.ready.retain(|job| job.lease != *lease);
            state.counts.lost += 1;
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
        let spent = self.claimer().await?.spent(max_attempts, 100).await?;
        let Some(settler) = self.settler.upgrade() else { return Ok(()) };
        for job in spent {
            if !self.shared.lock().burying.insert(job.lease) {
                continue;
            }
            let outcome = Outcome::DeadLetter { failure: epitaph(&job), notes: "max attempts exceeded" };
            let entry = Entry { lease: job.lease, outcome, component: None };
            let _ = settler.send(Settlement::new(entry, None));
        }
        Ok(())
    }

    /// The connection, made anew where it is gone. Postgres may end a session for being idle.
    async fn claimer(&mut self) -> Result<&Claimer, QueueError> {
        let claimer = match self.claimer.take().filter(|claimer| !claimer.is_closed()) {
            Some(claimer) => claimer,
            None => Claimer::connect(&self.database).await?,
        };
        Ok(self.claimer.insert(claimer))
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
