//! Swapping: which component works, which one to go back to, and how one takes over from the other while the work goes on.

mod telling;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::deployed::{Deployed, short};
use super::deployment::{Deployment, Judged, Switched};
use super::gate::GateSettings;
use super::ledger::{self, Known, Ledger, LedgerSettings};
use super::probation::ProbationSettings;
use super::shadow::Shadow;
use super::store::ComponentStore;
use super::trust::Trust;
use super::verdict::Stage;
use crate::breaker::SharedBreaker;
use crate::queue::components::Change;
use crate::sandbox::{Meter, Sandbox};
use crate::schedule::BreakerName;
use crate::telemetry::metrics::Metrics;

/// How often to look for what a component that was rolled back has decided since.
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
    pub store: Option<ComponentStore>,
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
    /// One candidate at a time.
    pub(super) turn: tokio::sync::Mutex<()>,
    pub(super) ledger: Ledger,
    /// What works at this moment, read without the lock.
    current: Arc<ArcSwap<Deployed>>,
    /// Held for every change, so that what works, what is remembered and the ledger's order agree.
    state: Mutex<State>,
    phase: watch::Sender<Phase>,
    /// One for each component on probation, and for each that did not prove itself and still has work in hand.
    watches: Mutex<JoinSet<()>>,
}

struct State {
    deployment: Deployment<Deployed>,
    /// Breakers that are not closed: while one is, this worker claims nothing.
    open_breakers: Vec<BreakerName>,
}

/// A component that has taken over.
pub(super) struct Swapped {
    /// The digest of the one before.
    pub(super) previous: String,
    /// How far it is trusted, in words.
    pub(super) probation: String,
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
        if let Some(store) = &parts.store {
            store.store(first.digest(), &first.bytes, first.signature.as_deref());
        }
        let deployment = Deployment::new(first);
        let swapper = Self {
            parts,
            rules,
            turn: tokio::sync::Mutex::new(()),
            ledger,
            current: deployment.reader(),
            state: Mutex::new(State { deployment, open_breakers: Vec::new() }),
            phase: watch::Sender::new(Phase::Working),
            watches: Mutex::default(),
        };
        for which in BreakerName::ALL {
            swapper.parts.metrics.breaker(which.as_str(), 0, false);
        }
        swapper.publish(&swapper.state().deployment);
        (Arc::new(swapper), writer)
    }

    /// What works now.
    pub fn current(&self) -> Arc<Deployed> {
        self.current.load_full()
    }

    /// From here on nothing is swapped, and an offer on its way is refused: the host ends.
    pub fn drain(&self) {
        // A switch that has begun ends first.
        let _state = self.state();
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

    /// Why this digest is not let in, if so: it was rolled back, here or elsewhere, and nobody allowed it since.
    pub(super) async fn distrusts(&self, digest: &str) -> Option<String> {
        match self.ledger.distrusts(digest).await {
            Known::Distrusted(why) => Some(why),
            Known::Trusted => {
                // Told otherwise: somebody allowed it since.
                self.state().deployment.allow(digest);
                None
            }
            Known::Nothing => {
                let state = self.state();
                let why = state.deployment.rolled_back().get(digest)?;
                Some(format!("it was rolled back by this host: {why}"))
            }
        }
    }

    /// The confirmed component with this digest, if it is the one to go back to.
    pub(super) fn confirmed(&self, digest: &str) -> Option<Arc<Deployed>> {
        Some(Arc::clone(self.state().deployment.confirmed())).filter(|confirmed| confirmed.digest() == digest)
    }

    /// Puts `next` to work in the place of `compared`, the one that it was compared with. None: that one does not work
    /// any more.
    pub(super) fn switch(
        self: &Arc<Self>,
        next: &Arc<Deployed>,
        compared: &Arc<Deployed>,
        name: &str,
    ) -> Result<Option<Swapped>, String> {
        let mut state = self.state();
        if *self.phase.borrow() != Phase::Working {
            return Err(DRAINING.to_owned());
        }
        let switched = state.deployment.switch(next, compared, self.rules.probation);
        if switched == Switched::Outdated {
            return Ok(None);
        }
        // Whoever watches it has nothing to watch any more.
        compared.program.tally.changed.notify_one();
        begin_anew(next, compared);
        let previous = compared.digest().to_owned();
        tracing::info!(
            name: "swap.switched",
            component = next.short(),
            previous = short(&previous),
            name,
            "switch: new runs begin on it"
        );
        self.parts.metrics.swap_stage(Stage::Switch.as_str(), "ok");
        self.ledger.record(Change::Switched, next.digest(), Some(&previous), "", name);
        let probation = match switched {
            Switched::OnProbation => {
                self.publish(&state.deployment);
                self.watch(Arc::clone(next));
                format!("on probation for {} jobs", self.rules.probation.jobs)
            }
            Switched::Confirmed(why) => {
                self.tell_confirmed(&state.deployment, next, why);
                why.to_owned()
            }
            Switched::Outdated => return Ok(None),
        };
        Ok(Some(Swapped { previous, probation }))
    }

    fn watch(self: &Arc<Self>, new: Arc<Deployed>) {
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        while watches.try_join_next().is_some() {}
        let swapper = Arc::clone(self);
        watches.spawn(async move {
            if !swapper.proves_itself(&new).await {
                swapper.undo(&new).await;
            }
        });
    }

    /// Watches a component until it is confirmed (true), rolled back, or replaced.
    async fn proves_itself(&self, new: &Arc<Deployed>) -> bool {
        let tally = &new.program.tally;
        loop {
            let ended = tokio::select! {
                () = tally.changed.notified() => false,
                () = self.reaches(Phase::Ended) => true,
            };
            let mut state = self.state();
            match state.deployment.judge(new, self.rules.probation) {
                // Not proven: the next start offers it again.
                Judged::Undecided if ended => return false,
                Judged::Undecided => {}
                Judged::Confirmed(why) => {
                    self.tell_confirmed(&state.deployment, new, &why);
                    return true;
                }
                Judged::RolledBack(why) => {
                    self.tell_rolled_back(&state.deployment, new, &why);
                    return false;
                }
                // Nobody doubts it, and nothing that it gave up is final.
                Judged::Replaced => return false,
            }
        }
    }

    fn tell_confirmed(&self, deployment: &Deployment<Deployed>, new: &Arc<Deployed>, why: &str) {
        if let Some(store) = &self.parts.store {
            store.store(new.digest(), &new.bytes, new.signature.as_deref());
        }
        tracing::info!(name: "swap.confirmed", component = new.short(), name = new.name, "probation: confirmed: {why}");
        self.parts.metrics.swap_stage("probation", "ok");
        self.publish(deployment);
        self.ledger.record(Change::Confirmed, new.digest(), None, why, &new.name);
    }

    fn tell_rolled_back(&self, deployment: &Deployment<Deployed>, bad: &Arc<Deployed>, why: &str) {
        let to = deployment.current();
        begin_anew(to, bad);
        tracing::error!(
            name: "swap.rolled_back",
            component = bad.short(),
            name = bad.name,
            back_to = to.short(),
            "probation: rolled back: {why}; it is refused from now on (host components allow)"
        );
        self.parts.metrics.swap_stage("probation", "rolled-back");
        self.publish(deployment);
        self.ledger.record(Change::RolledBack, bad.digest(), Some(to.digest()), why, &bad.name);
    }

    /// Has undone what a component decided that did not prove itself. What it still has in hand may yet be decided against a
    /// receipt.
    async fn undo(&self, unproven: &Arc<Deployed>) {
        let tally = &unproven.program.tally;
        // In this order: a run takes the program out of what is deployed, and leaves a settle of a locked receipt behind that has
        // the tally.
        while Arc::strong_count(unproven) > 1
            || Arc::strong_count(&unproven.program) > 1
            || Arc::strong_count(tally) > 1
        {
            self.ledger.undo(tally.take_doubtful());
            tokio::select! {
                () = tokio::time::sleep(AFTERMATH) => {}
                () = self.reaches(Phase::Ended) => break,
            }
        }
        self.ledger.undo(tally.take_doubtful());
    }

    /// Waits until the host drains.
    pub(super) async fn draining(&self) {
        self.reaches(Phase::Draining).await;
    }

    /// Waits for this phase, or a later one.
    async fn reaches(&self, phase: Phase) {
        let _ = self.phase.subscribe().wait_for(|now| *now >= phase).await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What failed on everything before may not do so now.
fn begin_anew(next: &Deployed, before: &Deployed) {
    next.program.tally.breaker.reset();
    // The schedule watches that of the one before.
    before.program.tally.breaker.wake();
}

/// Why nothing is swapped any more.
pub(super) const DRAINING: &str = "the host is draining";
