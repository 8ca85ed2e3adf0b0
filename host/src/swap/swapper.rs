//! Swapping: which component works, which one to go back to, and how one takes over from the other while the work goes on.

mod telling;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::candidate::Candidate;
use super::control::Control;
use super::deployed::{Current, Deployed, short};
use super::gate::GateSettings;
use super::keep::Keep;
use super::ledger::{self, Known, Ledger, LedgerSettings};
use super::passage::{Passage, Passed};
use super::probation::{Judgement, ProbationSettings, judge};
use super::shadow::Shadow;
use super::trust::Trust;
use super::verdict::{Stage, SwapOutcome, Verdict};
use crate::breaker::SharedBreaker;
use crate::queue::components::Change;
use crate::sandbox::{Meter, Sandbox, Standing};
use crate::schedule::BreakerName;
use crate::storage::digest_of;
use crate::telemetry::metrics::Metrics;

/// How often to look for what a component that was taken back has decided since.
const AFTERMATH: Duration = Duration::from_millis(200);

/// What a candidate is held to.
#[derive(Debug, Clone)]
pub struct Rules {
    /// BreakerName components may be looked at.
    pub trust: Trust,
    /// What they are compared on.
    pub gate: GateSettings,
    /// How they are watched afterwards.
    pub probation: ProbationSettings,
}

/// What a swapper works with.
pub struct SwapperParts {
    pub sandbox: Arc<Sandbox>,
    /// Where components are compared.
    pub meter: Arc<Meter>,
    pub metrics: Arc<Metrics>,
    /// Components that were confirmed, for the next start.
    pub keep: Option<Keep>,
    pub shadow: Option<Arc<Shadow>>,
    pub breakers: HostBreakers,
}

/// The breakers that are no component's own.
#[derive(Debug, Clone)]
pub struct HostBreakers {
    /// Opens when storage or OCR fail for everything.
    pub services: Arc<SharedBreaker>,
    /// Opens when the database takes no result.
    pub settles: Arc<SharedBreaker>,
}

/// Holds the component that works, and lets another one take over.
pub struct Swapper {
    pub(super) parts: SwapperParts,
    pub(super) rules: Rules,
    current: Current,
    /// Held for every change of `current`, so that the pointer, what is remembered and the ledger's order agree.
    memory: Mutex<Memory>,
    /// One candidate at a time.
    turn: tokio::sync::Mutex<()>,
    phase: watch::Sender<Phase>,
    /// One for each component on probation, and for each that was taken back and still has work in hand.
    watches: Mutex<JoinSet<()>>,
    ledger: Ledger,
}

struct Memory {
    /// What to go back to: the last one that was confirmed.
    confirmed: Arc<Deployed>,
    /// Components that were taken back here, and why; the ledger has those of other hosts as well.
    taken_back: BTreeMap<String, String>,
    /// Breakers that are not closed: while one is, this worker claims nothing.
    open_breakers: Vec<BreakerName>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Working,
    /// No swap any more; what was begun ends.
    Draining,
    /// No run is left.
    Ended,
}

impl Swapper {
    /// Starts with the component that works first. The handle ends when everything is in the ledger, see
    /// [`Swapper::stop`].
    pub fn start(
        first: Arc<Deployed>,
        rules: Rules,
        ledger: LedgerSettings,
        parts: SwapperParts,
    ) -> (Arc<Self>, JoinHandle<()>) {
        let (ledger, writer) = Ledger::start(ledger);
        ledger.record(Change::Started, first.digest(), None, "", &first.name);
        if let Some(keep) = &parts.keep {
            keep.store(first.digest(), &first.bytes, first.signature.as_deref());
        }
        let swapper = Self {
            parts,
            rules,
            current: Current::new(Arc::clone(&first)),
            memory: Mutex::new(Memory { confirmed: first, taken_back: BTreeMap::new(), open_breakers: Vec::new() }),
            turn: tokio::sync::Mutex::new(()),
            phase: watch::Sender::new(Phase::Working),
            watches: Mutex::default(),
            ledger,
        };
        for which in BreakerName::ALL {
            swapper.parts.metrics.breaker(which.as_str(), 0, false);
        }
        swapper.publish(&swapper.memory());
        (Arc::new(swapper), writer)
    }

    /// What works now.
    pub fn current(&self) -> Arc<Deployed> {
        self.current.load()
    }

    /// From here on nothing is swapped, and an offer on its way is refused: the host ends.
    pub fn drain(&self) {
        // A switch that has begun ends first.
        let _memory = self.memory();
        self.phase.send_if_modified(|phase| {
            let earlier = *phase < Phase::Draining;
            *phase = (*phase).max(Phase::Draining);
            earlier
        });
    }

    /// Says goodbye to the ledger; for when no run is left.
    pub async fn stop(&self, writer: JoinHandle<()>) {
        self.drain();
        self.phase.send_replace(Phase::Ended);
        let mut watches = std::mem::take(&mut *self.watches.lock().unwrap_or_else(PoisonError::into_inner));
        while watches.join_next().await.is_some() {}
        let current = self.current();
        self.ledger.record(Change::Stopped, current.digest(), None, "", &current.name);
        self.ledger.close();
        ledger::finish(writer).await;
    }

    /// Takes a candidate through all stages. The answer says how far it came.
    pub async fn offer(self: &Arc<Self>, candidate: Candidate) -> Verdict {
        let started = Instant::now();
        let _turn = self.turn.lock().await;
        let digest = digest_of(&candidate.bytes);
        let name = candidate.name.clone();
        let mut passage = Passage::new(self, &digest, &name);
        let passed = tokio::select! {
            biased;
            () = self.reaches(Phase::Draining) => Err(DRAINING.to_owned()),
            passed = passage.all(candidate) => passed,
        };
        let Passage { stage, gate, .. } = passage;
        let (outcome, previous, reason) = match passed {
            Ok(Passed::Unchanged) => (SwapOutcome::Unchanged, None, "it is what works already".to_owned()),
            Ok(Passed::Switched { previous, probation }) => (SwapOutcome::Switched, Some(previous), probation),
            Err(reason) => {
                tracing::error!(component = short(&digest), %name, "{stage}: refused: {reason}; the old one goes on");
                self.parts.metrics.swap_stage(stage.as_str(), "refused");
                let reason_with_stage = format!("{stage}: {reason}");
                self.ledger.record(Change::Refused, &digest, Some(self.current().digest()), &reason_with_stage, &name);
                (SwapOutcome::Refused, None, reason)
            }
        };
        let gate = gate.and_then(|report| serde_json::to_value(report).ok());
        let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Verdict { digest, outcome, stage: stage.to_string(), reason, previous, gate, milliseconds }
    }

    /// Why this digest is not let in, if so: it was taken back, here or elsewhere, and nobody allowed it since.
    pub(super) async fn distrusts(&self, digest: &str) -> Option<String> {
        match self.ledger.distrusts(digest).await {
            Known::Distrusted(why) => Some(why),
            Known::Trusted => {
                // Told otherwise: somebody allowed it since.
                self.memory().taken_back.remove(digest);
                None
            }
            Known::Nothing => {
                let memory = self.memory();
                memory.taken_back.get(digest).map(|why| format!("it was taken back by this host: {why}"))
            }
        }
    }

    /// The confirmed component with this digest, if it is the one to go back to.
    pub(super) fn confirmed(&self, digest: &str) -> Option<Arc<Deployed>> {
        Some(Arc::clone(&self.memory().confirmed)).filter(|confirmed| confirmed.digest() == digest)
    }

    /// Puts `next` to work in the place of `compared`, the one that it was compared with. None: that one does not work
    /// any more.
    pub(super) fn switch(
        self: &Arc<Self>,
        next: &Arc<Deployed>,
        compared: &Arc<Deployed>,
        name: &str,
    ) -> Result<Option<Passed>, String> {
        let mut memory = self.memory();
        if *self.phase.borrow() != Phase::Working {
            return Err(DRAINING.to_owned());
        }
        let known = Arc::ptr_eq(next, &memory.confirmed);
        let ProbationSettings { jobs, .. } = self.rules.probation;
        if !known && jobs > 0 {
            next.program.tally.stand(Standing::OnProbation);
        }
        if !self.current.switch_from(compared, Arc::clone(next)) {
            return Ok(None);
        }
        // Whoever watches it has nothing to watch any more.
        compared.program.tally.changed.notify_one();
        begin_anew(next, compared);
        let (digest, previous) = (next.digest().to_owned(), compared.digest().to_owned());
        tracing::info!(component = short(&digest), previous = short(&previous), name, "switch: new runs begin on it");
        self.parts.metrics.swap_stage(Stage::Switch.as_str(), "ok");
        self.ledger.record(Change::Switched, &digest, Some(&previous), "", name);
        let probation = match (known, jobs) {
            (true, _) => "it was confirmed before".to_owned(),
            (false, 0) => "no probation is configured".to_owned(),
            (false, jobs) => {
                // Measured by one that proved itself; the one before may have been on probation, too.
                let watch = Arc::clone(self).watch(Arc::clone(next), Arc::clone(&memory.confirmed));
                let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
                while watches.try_join_next().is_some() {}
                watches.spawn(watch);
                self.publish(&memory);
                return Ok(Some(Passed::Switched { previous, probation: format!("on probation for {jobs} jobs") }));
            }
        };
        self.confirm(&mut memory, next, &probation);
        Ok(Some(Passed::Switched { previous, probation }))
    }

    /// Watches a component until it is confirmed, taken back, or replaced.
    async fn watch(self: Arc<Self>, new: Arc<Deployed>, before: Arc<Deployed>) {
        // Its share of bad jobs while it worked, not what it does in the runs that are still in flight.
        let baseline = before.program.tally.counts();
        drop(before);
        let tally = Arc::clone(&new.program.tally);
        loop {
            let ended = tokio::select! {
                () = tally.changed.notified() => false,
                () = self.reaches(Phase::Ended) => true,
            };
            let counts = tally.counts();
            let judgement = judge(self.rules.probation, baseline, counts);
            {
                let mut memory = self.memory();
                if !Arc::ptr_eq(&self.current(), &new) {
                    // Replaced before it was clear: nobody doubts it, and nothing that it gave up is final.
                    break;
                }
                match judgement {
                    // Not proven: the next start offers it again.
                    Judgement::Wait if ended => break,
                    Judgement::Wait => continue,
                    Judgement::Confirm => {
                        let why = format!("did no worse in {} jobs", counts.jobs);
                        return self.confirm(&mut memory, &new, &why);
                    }
                    Judgement::TakeBack(why) => {
                        self.go_back(&mut memory, &new, &why);
                        break;
                    }
                }
            }
        }
        drop(tally);
        self.undo(&new).await;
    }

    fn confirm(&self, memory: &mut Memory, new: &Arc<Deployed>, why: &str) {
        new.program.tally.stand(Standing::Trusted);
        drop(new.program.tally.take_verdicts());
        memory.confirmed = Arc::clone(new);
        if let Some(keep) = &self.parts.keep {
            keep.store(new.digest(), &new.bytes, new.signature.as_deref());
        }
        tracing::info!(component = new.short(), name = new.name, "probation: confirmed: {why}");
        self.parts.metrics.swap_stage("probation", "ok");
        self.publish(memory);
        self.ledger.record(Change::Confirmed, new.digest(), None, why, &new.name);
    }

    fn go_back(&self, memory: &mut Memory, bad: &Arc<Deployed>, why: &str) {
        let to = Arc::clone(&memory.confirmed);
        bad.program.tally.stand(Standing::TakenBack);
        memory.taken_back.insert(bad.digest().to_owned(), why.to_owned());
        self.current.switch_from(bad, Arc::clone(&to));
        begin_anew(&to, bad);
        tracing::error!(
            component = bad.short(),
            name = bad.name,
            back_to = to.short(),
            "probation: rolled back: {why}; it is refused from now on (host components allow)"
        );
        self.parts.metrics.swap_stage("probation", "rolled-back");
        self.publish(memory);
        self.ledger.record(Change::RolledBack, bad.digest(), Some(to.digest()), why, &bad.name);
    }

    /// Takes back what a component decided that did not prove itself. What it still has in hand may yet be decided against a receipt.
    async fn undo(&self, unproven: &Arc<Deployed>) {
        // In this order: a run takes the program out of what is deployed, and leaves a settle of a locked receipt behind that has
        // the tally.
        while Arc::strong_count(unproven) > 1
            || Arc::strong_count(&unproven.program) > 1
            || Arc::strong_count(&unproven.program.tally) > 1
        {
            self.ledger.take_back(unproven.program.tally.take_verdicts());
            tokio::select! {
                () = tokio::time::sleep(AFTERMATH) => {}
                () = self.reaches(Phase::Ended) => break,
            }
        }
        self.ledger.take_back(unproven.program.tally.take_verdicts());
    }

    /// Waits for this phase, or a later one.
    async fn reaches(&self, phase: Phase) {
        let _ = self.phase.subscribe().wait_for(|now| *now >= phase).await;
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What failed on everything before may not do so now.
fn begin_anew(next: &Deployed, before: &Deployed) {
    next.program.tally.breaker.reset();
    // The schedule watches that of the one before.
    before.program.tally.breaker.wake();
}

const DRAINING: &str = "the host is draining";

impl Control for Arc<Swapper> {
    fn swap(&self, candidate: Candidate) -> BoxFuture<'_, Verdict> {
        self.offer(candidate).boxed()
    }

    fn shadow(&self) -> Value {
        self.parts.shadow.as_ref().map_or(Value::Null, |shadow| shadow.report(self.current().digest()))
    }

    fn components(&self) -> Value {
        self.report()
    }
}
