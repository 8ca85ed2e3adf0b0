//! The claiming half of the pump: claims batches while there is room, and dead-letters what has used up its attempts.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, oneshot};

use super::claim::{Claimer, Clock, Exhausted};
use super::due::Due;
use super::lane::Lane;
use super::outage::Outage;
use super::outcome::{JobOutcome, SettleEntry};
use super::settlement::Settlement;
use super::shared::{Held, LeaseRequest, Pass, Shared};
use super::{Database, Job, QueueError};
use crate::charging::{Attempt, Cause, Circumstances, charge};
use crate::failure::{Failure, FailureKind};

/// A full poll of the queue is taken at most this often while the watermark finds work: it catches what a long
/// transaction committed below the watermark.
const FULL_POLL_EVERY: Duration = Duration::from_secs(1);
/// Beside an old transaction a full poll walks all index entries that vacuum may not remove, for half a second and more: it
/// takes at most one part in so many of the time.
const FULL_POLL_SHARE: u32 = 20;
const CONTENDED_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// After an outage other hosts renew their leases, too, within so long. Until then nobody is taken for crashed on the last
/// attempt.
const OTHERS_COME_BACK: Duration = Duration::from_secs(30);

/// Parts of a lease that a claim may take: its leases run from its beginning.
const TIMEOUTS: u32 = 3;
/// In the time of a lease it is asked so often what became of a claim that was never answered.
const ASKS: u32 = 3;

/// Runs until the pump finishes.
pub(super) async fn run(
    lane: Lane<Claimer>,
    clock: Clock,
    settler: mpsc::WeakUnboundedSender<Settlement>,
    shared: Arc<Shared>,
) {
    let mut claims = ClaimLoop {
        pass_until: clock.now(),
        lane,
        shared,
        settler,
        floor: None,
        last_full: None,
        full_every: FULL_POLL_EVERY,
        due: Instant::now(),
        has_room: true,
        outage_ended: None,
        unanswered: None,
    };
    let mut outage = Outage::new("reach the queue", LONGEST_PAUSE);
    let mut ask_again = tokio::time::interval(claims.shared.settings.lease / ASKS);
    ask_again.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let recovered = tokio::select! {
            biased;
            () = claims.shared.finishing.notified() => {
                // The last chance to give back what nobody here knows of.
                if let Err(error) = claims.recover_lost_claim().await {
                    tracing::warn!(name: "claim.unanswered", %error, "a claim stays unanswered; its leases run out");
                }
                return;
            }
            _ = ask_again.tick(), if claims.unanswered.is_some() => claims.recover_lost_claim().await,
            () = claims.shared.wake.notified() => {
                claims.due = Instant::now();
                claims.shared.lock().nothing_due = false;
                Ok(false)
            }
            () = claims.shared.room.notified() => {
                claims.has_room = true;
                Ok(false)
            }
            () = tokio::time::sleep_until(claims.due.into()), if claims.has_room => Ok(false),
        };
        let polled = match recovered {
            Ok(asked) => claims.poll().await.map(|polled| asked || polled),
            Err(error) => Err(error),
        };
        match polled {
            Ok(true) => outage.over(),
            Ok(false) => {}
            Err(error) => {
                claims.shared.lock().failing.get_or_insert_with(|| (Instant::now(), String::new())).1 =
                    error.to_string();
                claims.lane.disconnect();
                tokio::time::sleep(outage.failed(&error)).await;
                // Leases first, then new ones: or those of ours that ran out meanwhile would be claimed anew.
                claims.renewed().await;
                claims.due = Instant::now();
                ask_again.reset_immediately();
            }
        }
    }
}

/// The lane for claims of leases that last so long.
pub(super) fn lane(database: Database, lease: Duration) -> Lane<Claimer> {
    Lane::with_timeout(database, lease / TIMEOUTS)
}

struct ClaimLoop {
    shared: Arc<Shared>,
    settler: mpsc::WeakUnboundedSender<Settlement>,
    lane: Lane<Claimer>,
    /// The low watermark: everything due before it was claimed, but for stragglers.
    floor: Option<Due>,
    last_full: Option<Instant>,
    /// The pause between full polls while the watermark finds work.
    full_every: Duration,
    due: Instant,
    /// Whether more jobs can be taken in; while not, `room` is waited for instead of `due`.
    has_room: bool,
    /// When the database could be reached again last.
    outage_ended: Option<Instant>,
    /// When the first and the last claim were sent whose replies never came.
    unanswered: Option<(Instant, Instant)>,
    /// One pass takes what was due by then, by the server's clock.
    pass_until: SystemTime,
}

impl ClaimLoop {
    /// Claims if it is time and there is room; decides when to look next. Returns whether the database was asked.
    async fn poll(&mut self) -> Result<bool, QueueError> {
        let settings = self.shared.settings.clone();
        let mut polled = false;
        if let Some(retry_at) = self.shared.lock().retry_at.take() {
            self.due = self.due.min(retry_at);
        }
        while Instant::now() >= self.due {
            if self.shared.stopping.load(Ordering::Relaxed) || self.pass_is_over().await? {
                self.due = Instant::now() + settings.every;
                return Ok(polled);
            }
            let waiting = self.shared.lock().ready.len();
            let room = self.shared.room();
            // Batches, not single jobs: wait until half of the room is free.
            if room == 0 || waiting > room / 2 {
                self.has_room = false;
                return Ok(polled);
            }
            let want = room - waiting;
            let floor = self.floor.filter(|_| self.last_full.is_some_and(|last| last.elapsed() < self.full_every));
            let full = floor.is_none();
            let started = Instant::now();
            let (worker, floor) = (self.shared.worker.clone(), floor.unwrap_or(Due::Always));
            let claimer = self.claimer().await?;
            let claim = claimer.claim(want, settings.lease, &worker, settings.max_attempts, floor).await;
            let jobs = claim.inspect_err(|error| {
                if error.is_lost_connection() {
                    self.unanswered.get_or_insert((started, started)).1 = started;
                }
            })?;
            polled = true;
            let (jobs, later) = self.of_this_pass(jobs);
            let found = jobs.len();
            if let Some((_, due)) = jobs.last() {
                self.floor = Some(*due);
            }
            self.accept(jobs.into_iter().map(|(job, _)| job), started);
            if full {
                self.last_full = Some(started);
                self.full_every = full_every(started.elapsed(), settings.every);
                self.dead_letter_exhausted().await?;
            }
            self.answered();
            if full && later {
                self.shared.lock().pass = Some(Pass::Over);
            }
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
                    (_, Some(last)) => last + self.full_every,
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
            self.shared.lock().nothing_due = true;
            // The watchers of an empty queue must hear of it too.
            self.shared.ready.send_modify(|_| {});
        }
        Ok(polled)
    }

    /// Whether what one pass is for has all been claimed. What was given back unbegun meanwhile is still before it.
    async fn pass_is_over(&mut self) -> Result<bool, QueueError> {
        let pass = self.shared.lock().pass;
        if pass == Some(Pass::Again) {
            self.pass_until = self.claimer().await?.clock().now();
            self.shared.lock().pass = Some(Pass::Open);
        }
        Ok(pass == Some(Pass::Over))
    }

    /// Gives back what became due after one pass began, which would keep it for ever where things become due again and
    /// again. Returns the rest, and whether there was such a job: jobs come in the order in which they were due, so that
    /// everything else was claimed before it.
    fn of_this_pass(&self, jobs: Vec<(Job, Due)>) -> (Vec<(Job, Due)>, bool) {
        if self.shared.lock().pass.is_none() {
            return (jobs, false);
        }
        let (jobs, later): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|(_, due)| *due <= Due::At(self.pass_until));
        if let Some(settler) = self.settler.upgrade() {
            for (job, _) in &later {
                let _ = settler.send(Settlement::unbegun(job));
            }
        }
        (jobs, !later.is_empty())
    }

    fn accept(&self, jobs: impl Iterator<Item = Job>, claimed_at: Instant) {
        let mut state = self.shared.lock();
        for job in jobs {
            let (receipt, lost) = (job.receipt_id.clone(), Arc::clone(&job.lost));
            state.overtake(job.lease);
            state
                .held
                .insert(job.lease, Held { receipt, lost, claimed: claimed_at, renewed: claimed_at, settling: false });
            state.ready.push_back(job);
        }
        // Claimed while a stop, or less of everything, was asked for: given back like the others.
        let surplus = self.shared.surplus(&mut state);
        self.shared.announce(&state);
        drop(state);
        if let Some(settler) = self.settler.upgrade() {
            for job in &surplus {
                let _ = settler.send(Settlement::unbegun(job));
            }
        }
    }

    /// Waits until whatever is held is renewed.
    async fn renewed(&self) {
        let (done, renewed) = oneshot::channel();
        let _ = self.shared.keeper.send(LeaseRequest::Renew(done));
        let _ = renewed.await;
    }

    /// A claim whose reply was lost may have been committed, or may be yet while the server has not noticed that we are
    /// gone. So this is asked again for the time of a lease. Returns whether the database was asked.
    async fn recover_lost_claim(&mut self) -> Result<bool, QueueError> {
        let Some((first, last)) = self.unanswered else { return Ok(false) };
        let (settings, asked) = (self.shared.settings.clone(), Instant::now());
        let known: Vec<i64> = self.shared.lock().held.keys().map(|lease| lease.token).collect();
        let (waited, worker, is_over) = (first.elapsed(), self.shared.worker.clone(), last.elapsed() >= settings.lease);
        let claimer = self.claimer().await?;
        let jobs = claimer.unanswered(waited, settings.lease, &worker, settings.max_attempts, &known).await?;
        // Where there is no room, no claim will say so.
        self.answered();
        if is_over {
            self.unanswered = None;
        }
        if !jobs.is_empty() {
            tracing::info!(
                name: "claim.recovered",
                jobs = jobs.len(),
                "a claim whose reply was lost had been committed; its jobs are worked now"
            );
            self.accept(jobs.into_iter().map(|(job, _)| job), asked);
        }
        Ok(true)
    }

    async fn dead_letter_exhausted(&mut self) -> Result<(), QueueError> {
        if self.outage_ended.is_some_and(|ended| ended.elapsed() < OTHERS_COME_BACK) {
            return Ok(());
        }
        let max_attempts = self.shared.settings.max_attempts;
        let exhausted = self.claimer().await?.exhausted(max_attempts, 100).await?;
        let Some(settler) = self.settler.upgrade() else { return Ok(()) };
        for job in exhausted {
            let mut state = self.shared.lock();
            // A lease of our own that ran out while the database was held up: its worker is alive, and the next heartbeat
            // renews it.
            if state.held.contains_key(&job.lease) || !state.dead_lettering.insert(job.lease) {
                continue;
            }
            drop(state);
            let attempt = Attempt { number: job.attempts, granted: max_attempts, ..Attempt::default() };
            let known = Circumstances { attempt, ..Circumstances::default() };
            let charge = charge(Cause::WorkerLost, &known);
            let outcome = JobOutcome::failed(charge, Duration::ZERO, failure_of(&job), "max attempts exceeded");
            let entry = SettleEntry { lease: job.lease, outcome, component: None };
            let _ = settler.send(Settlement::new(entry, None));
        }
        Ok(())
    }

    /// The database answers.
    fn answered(&self) {
        let mut state = self.shared.lock();
        state.failing = None;
        state.polled = Some(Instant::now());
    }

    /// The statements, on a new connection where the old one is gone.
    async fn claimer(&mut self) -> Result<&Claimer, QueueError> {
        let reconnects = !self.lane.is_connected();
        let claimer = self.lane.statements().await?;
        if reconnects && self.shared.lock().failing.is_some() {
            self.outage_ended = Some(Instant::now());
        }
        Ok(claimer)
    }
}

/// The pause after a full poll that took so long; never longer than the interval at which the queue is polled anyway.
fn full_every(took: Duration, every: Duration) -> Duration {
    (took * FULL_POLL_SHARE).min(every).max(FULL_POLL_EVERY)
}

fn failure_of(job: &Exhausted) -> Failure {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_polls_take_a_twentieth_of_the_time() {
        let every = Duration::from_secs(30);
        assert_eq!(full_every(Duration::from_millis(2), every), FULL_POLL_EVERY);
        assert_eq!(full_every(Duration::from_millis(500), every), Duration::from_secs(10));
        assert_eq!(full_every(Duration::from_secs(5), every), every);
        assert_eq!(full_every(Duration::from_secs(5), Duration::from_millis(200)), FULL_POLL_EVERY);
    }
}
