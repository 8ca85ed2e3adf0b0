//! Swapping: the stages that a candidate goes through, one candidate at a time, while the work goes on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::deployed::{Current, Deployed, short};
use super::gate::{self, GateReport, GateSettings};
use super::ledger::{self, Ledger};
use super::probation::{Judgement, ProbationSettings, judge};
use super::trust::Trust;
use super::{Candidate, Keep, Shadow, Stage, SwapOutcome, Verdict};
use crate::admin::Control;
use crate::queue::components::Change;
use crate::queue::{Database, Lease};
use crate::sandbox::{JobCounts, LoadError, Meter, Sandbox, Standing, inspect};
use crate::storage::digest_of;
use crate::telemetry::metrics::Metrics;

/// How a component is swapped.
#[derive(Debug, Clone)]
pub struct SwapSettings {
    /// Which components may be looked at.
    pub trust: Trust,
    /// What they are compared on.
    pub gate: GateSettings,
    /// How they are watched afterwards.
    pub probation: ProbationSettings,
}

/// See the module.
pub struct Swapper {
    sandbox: Arc<Sandbox>,
    meter: Arc<Meter>,
    settings: SwapSettings,
    current: Arc<Current>,
    /// Components that were confirmed, for the next start.
    keep: Option<Keep>,
    /// What to go back to: the last one that was confirmed.
    confirmed: Mutex<Arc<Deployed>>,
    /// Components that were taken back here, and why; the ledger has those of other hosts as well.
    taken_back: Mutex<BTreeMap<String, String>>,
    /// One candidate at a time.
    turn: tokio::sync::Mutex<()>,
    draining: AtomicBool,
    ledger: Ledger,
    metrics: Arc<Metrics>,
    shadow: Option<Arc<Shadow>>,
}

impl Swapper {
    /// Starts with the component that works first. The handle ends when everything is in the ledger, see
    /// [`Swapper::stop`].
    pub fn start(
        (sandbox, meter): (Arc<Sandbox>, Arc<Meter>),
        settings: SwapSettings,
        first: Arc<Deployed>,
        (database, worker): (Database, String),
        metrics: Arc<Metrics>,
        shadow: Option<Arc<Shadow>>,
        keep: Option<Keep>,
    ) -> (Arc<Self>, JoinHandle<()>) {
        let (ledger, writer) = Ledger::start(database, worker);
        ledger.record(Change::Started, first.digest(), None, "", &first.name);
        if let Some(keep) = &keep {
            keep.store(first.digest(), &first.bytes);
        }
        let swapper = Self {
            sandbox,
            meter,
            settings,
            keep,
            current: Arc::new(Current::new(Arc::clone(&first))),
            confirmed: Mutex::new(first),
            taken_back: Mutex::default(),
            turn: tokio::sync::Mutex::new(()),
            draining: AtomicBool::new(false),
            ledger,
            metrics,
            shadow,
        };
        swapper.publish();
        (Arc::new(swapper), writer)
    }

    /// What works now.
    pub fn current(&self) -> Arc<Deployed> {
        self.current.load()
    }

    /// From here on nothing is swapped: the host ends.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Says goodbye to the ledger.
    pub async fn stop(self: Arc<Self>, writer: JoinHandle<()>) {
        let current = self.current();
        self.ledger.take_back(self.verdicts_against(&current));
        self.ledger.record(Change::Stopped, current.digest(), None, "", &current.name);
        drop(current);
        drop(self);
        ledger::finish(writer).await;
    }

    /// Takes a candidate through all stages. The answer says how far it came.
    pub async fn offer(self: &Arc<Self>, candidate: Candidate) -> Verdict {
        let _turn = self.turn.lock().await;
        let started = Instant::now();
        let digest = digest_of(&candidate.bytes);
        let name = candidate.name.clone();
        let mut progress = Progress { swapper: self, digest: &digest, name: &name, stage: Stage::Read, gate: None };
        let passed = progress.all(candidate).await;
        let Progress { stage, gate, .. } = progress;
        let (outcome, previous, reason) = match passed {
            Ok(Passed::Unchanged) => (SwapOutcome::Unchanged, None, "it is what works already".to_owned()),
            Ok(Passed::Switched { previous, probation }) => (SwapOutcome::Switched, Some(previous), probation),
            Err(reason) => {
                tracing::error!(component = short(&digest), %name, %stage, "the component is refused: {reason}; the old one goes on");
                self.metrics.swap_stage(stage.as_str(), "refused");
                self.ledger.record(
                    Change::Refused,
                    &digest,
                    Some(self.current().digest()),
                    &format!("{stage}: {reason}"),
                    &name,
                );
                (SwapOutcome::Refused, None, reason)
            }
        };
        let gate = gate.and_then(|report| serde_json::to_value(report).ok());
        let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Verdict { digest, outcome, stage: stage.to_string(), reason, previous, gate, milliseconds }
    }

    /// What works, what to go back to, and what was taken back.
    fn report(&self) -> Value {
        let current = self.current();
        let confirmed = self.lock_confirmed().digest().to_owned();
        let taken_back = self.taken_back.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let standing = match current.program.tally.standing() {
            Standing::Trusted => "confirmed",
            Standing::OnProbation => "on probation",
            Standing::TakenBack => "taken back",
        };
        json!({
            "current": { "digest": current.digest(), "source": current.name, "standing": standing, "counts": current.program.tally.counts() },
            "confirmed": confirmed,
            "taken_back": taken_back,
        })
    }

    /// The metric that says which component this host has for what.
    fn publish(&self) {
        let (current, confirmed) = (self.current(), Arc::clone(&self.lock_confirmed()));
        let mut components = vec![(current.digest(), "current")];
        if confirmed.digest() != current.digest() {
            components.push((confirmed.digest(), "fallback"));
        }
        if let Some(shadow) = &self.shadow {
            components.push((shadow.digest(), "shadow"));
        }
        self.metrics.components(&components);
    }

    async fn distrusts(&self, digest: &str) -> Option<String> {
        let here = self.taken_back.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned();
        let ledger = self.ledger.distrusts(digest).await;
        if here.is_some() && ledger.is_none() {
            // Told otherwise: somebody allowed it since.
            self.taken_back.lock().unwrap_or_else(PoisonError::into_inner).remove(digest);
        }
        ledger
    }

    fn lock_confirmed(&self) -> std::sync::MutexGuard<'_, Arc<Deployed>> {
        self.confirmed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn switch(self: &Arc<Self>, next: Deployed) -> Passed {
        let next = Arc::new(next);
        let (digest, name) = (next.digest().to_owned(), next.name.clone());
        let ProbationSettings { jobs, .. } = self.settings.probation;
        if jobs > 0 {
            next.program.tally.stand(Standing::OnProbation);
        }
        let before = self.current.switch(Arc::clone(&next));
        let previous = before.digest().to_owned();
        tracing::info!(component = short(&digest), previous = before.short(), %name, "switched: new runs begin on it");
        self.metrics.swap_stage(Stage::Switch.as_str(), "ok");
        self.publish();
        self.ledger.record(Change::Switched, &digest, Some(&previous), "", &name);
        if jobs == 0 {
            self.confirm(&next, "no probation is configured");
            return Passed::Switched { previous, probation: "no probation is configured".to_owned() };
        }
        // Its share of bad jobs while it worked, not what it does in the runs that are still in flight.
        let baseline = before.program.tally.counts();
        tokio::spawn(Arc::clone(self).watch(next, baseline));
        Passed::Switched { previous, probation: format!("on probation for {jobs} jobs") }
    }

    /// Watches a component until it is confirmed, taken back, or replaced.
    async fn watch(self: Arc<Self>, new: Arc<Deployed>, baseline: JobCounts) {
        let tally = Arc::clone(&new.program.tally);
        loop {
            let changed = tokio::time::timeout(Duration::from_secs(1), tally.changed.notified());
            let _ = changed.await;
            if !Arc::ptr_eq(&self.current(), &new) {
                // Replaced before it was clear: nobody doubts it any more, and nobody goes back to it.
                tally.stand(Standing::Trusted);
                return;
            }
            match judge(self.settings.probation, baseline, tally.counts()) {
                Judgement::Wait => {}
                Judgement::Confirm => {
                    return self.confirm(&new, &format!("did no worse in {} jobs", tally.counts().jobs));
                }
                Judgement::TakeBack(why) => return self.take_back(new, why).await,
            }
        }
    }

    fn confirm(&self, new: &Arc<Deployed>, why: &str) {
        new.program.tally.stand(Standing::Trusted);
        drop(new.program.tally.take_verdicts());
        *self.lock_confirmed() = Arc::clone(new);
        if let Some(keep) = &self.keep {
            keep.store(new.digest(), &new.bytes);
        }
        tracing::info!(component = new.short(), "confirmed: {why}");
        self.metrics.swap_stage("probation", "ok");
        self.publish();
        self.ledger.record(Change::Confirmed, new.digest(), None, why, &new.name);
    }

    async fn take_back(self: Arc<Self>, bad: Arc<Deployed>, why: String) {
        let to = Arc::clone(&self.lock_confirmed());
        bad.program.tally.stand(Standing::TakenBack);
        self.taken_back.lock().unwrap_or_else(PoisonError::into_inner).insert(bad.digest().to_owned(), why.clone());
        self.current.switch_from(&bad, Arc::clone(&to));
        tracing::error!(
            component = bad.short(),
            back_to = to.short(),
            "rolled back: {why}; it is refused from now on (host components allow)"
        );
        self.metrics.swap_stage("probation", "rolled-back");
        self.publish();
        self.ledger.record(Change::RolledBack, bad.digest(), Some(to.digest()), &why, &bad.name);
        // What it still has in hand may yet be decided against a receipt.
        while Arc::strong_count(&bad.program) > 1 {
            self.ledger.take_back(self.verdicts_against(&bad));
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.ledger.take_back(self.verdicts_against(&bad));
    }

    /// What a component that is not trusted decided against receipts; nothing of one that only has yet to prove itself.
    fn verdicts_against(&self, deployed: &Deployed) -> Vec<Lease> {
        match deployed.program.tally.standing() {
            Standing::TakenBack => deployed.program.tally.take_verdicts(),
            Standing::Trusted | Standing::OnProbation => Vec::new(),
        }
    }
}

impl Control for Arc<Swapper> {
    fn swap(&self, candidate: Candidate) -> BoxFuture<'_, Verdict> {
        self.offer(candidate).boxed()
    }

    fn shadow(&self) -> Value {
        self.shadow.as_ref().map_or(Value::Null, |shadow| shadow.report(self.current().digest()))
    }

    fn components(&self) -> Value {
        self.report()
    }
}

enum Passed {
    Unchanged,
    Switched { previous: String, probation: String },
}

/// A candidate on its way.
struct Progress<'a> {
    swapper: &'a Arc<Swapper>,
    digest: &'a str,
    name: &'a str,
    stage: Stage,
    gate: Option<GateReport>,
}

impl Progress<'_> {
    async fn all(&mut self, candidate: Candidate) -> Result<Passed, String> {
        let swapper = self.swapper;
        let Candidate { name, bytes, signature } = candidate;
        self.enter(Stage::Read, &format!("{} bytes", bytes.len()));
        if swapper.draining.load(Ordering::Acquire) {
            return Err("the host is draining".to_owned());
        }
        self.enter(Stage::Digest, self.digest);
        if swapper.current().digest() == self.digest {
            tracing::info!(component = short(self.digest), %name, "no swap: it is what works already");
            return Ok(Passed::Unchanged);
        }
        if let Some(why) = swapper.distrusts(self.digest).await {
            return Err(format!("{why} (`host components allow {}` trusts it again)", self.digest));
        }
        self.enter(Stage::Trust, "");
        swapper.settings.trust.check(self.digest, &bytes, signature.as_deref()).map_err(|error| error.to_string())?;
        self.enter(Stage::Contract, "");
        inspect(&bytes).1.map_err(|refusal| refusal.to_string())?;
        self.enter(Stage::Compile, "");
        let next = self.compile(bytes.into()).await?;
        self.enter(Stage::Gate, "");
        self.examine(&next).await?;
        if swapper.draining.load(Ordering::Acquire) {
            return Err("the host is draining".to_owned());
        }
        self.stage = Stage::Switch;
        Ok(swapper.switch(next))
    }

    /// Beside the work: the compiler has threads of its own.
    async fn compile(&mut self, bytes: Arc<[u8]>) -> Result<Deployed, String> {
        let (sandbox, name, component) = (Arc::clone(&self.swapper.sandbox), self.name.to_owned(), Arc::clone(&bytes));
        let loaded = tokio::task::spawn_blocking(move || sandbox.load_bytes(&name, &component)).await;
        match loaded {
            Ok(Ok(program)) => Ok(Deployed::new(self.name.to_owned(), bytes, program)),
            Ok(Err(LoadError::Link { reason, .. })) => {
                // Found out late, and yet it is the contract.
                self.stage = Stage::Contract;
                Err(reason)
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the compiler panicked".to_owned()),
        }
    }

    async fn examine(&mut self, next: &Deployed) -> Result<(), String> {
        let old = self.swapper.current();
        let report = gate::examine(&self.swapper.settings.gate, &self.swapper.meter, &old, next).await;
        let report = report.map_err(|error| error.to_string())?;
        for skipped in &report.skipped {
            tracing::warn!("the gate could not use a recording: {skipped}");
        }
        let (verdict, refused) = (report.verdict.clone(), report.refused.clone());
        self.gate = Some(report);
        match refused {
            Some(why) => Err(why),
            None => {
                tracing::info!(component = short(self.digest), "gate: {verdict}");
                Ok(())
            }
        }
    }

    /// Every stage is a log line and a metric.
    fn enter(&mut self, stage: Stage, detail: &str) {
        if stage != self.stage {
            self.swapper.metrics.swap_stage(self.stage.as_str(), "ok");
        }
        self.stage = stage;
        tracing::info!(component = short(self.digest), name = self.name, %stage, "{detail}");
    }
}
