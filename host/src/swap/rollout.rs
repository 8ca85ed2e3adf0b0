//! A candidate's way through the stages. Each stage that it passes is one log line and one metric.

use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::aside::{aside, with_helpers};
use super::candidate::Candidate;
use super::control::Control;
use super::deployed::{Deployed, short};
use super::gate::{self, GateReport};
use super::swapper::{DRAINING, Swapped, Swapper};
use super::verdict::{Stage, SwapOutcome, Verdict};
use crate::queue::components::Change;
use crate::sandbox::{LoadError, inspect};
use crate::storage::digest_of;

/// Takes a candidate through all stages, one at a time. The answer says how far it came.
pub(super) async fn offer(swapper: &Arc<Swapper>, candidate: Candidate) -> Verdict {
    let started = Instant::now();
    let _turn = swapper.turn.lock().await;
    let digest = digest_of(&candidate.bytes);
    let name = candidate.name.clone();
    let mut rollout = Rollout { swapper, digest: &digest, name: &name, stage: Stage::Read, gate: None };
    let passed = tokio::select! {
        biased;
        () = swapper.draining() => Err(DRAINING.to_owned()),
        passed = rollout.all(candidate) => passed,
    };
    let Rollout { stage, gate, .. } = rollout;
    let (outcome, previous, reason) = match passed {
        Ok(Passed::Unchanged) => (SwapOutcome::Unchanged, None, "it is what works already".to_owned()),
        Ok(Passed::Switched(swapped)) => (SwapOutcome::Switched, Some(swapped.previous), swapped.probation),
        Err(reason) => {
            tracing::error!(
                name: "swap.refused",
                component = short(&digest),
                %name,
                %stage,
                "{stage}: refused: {reason}; the old one goes on"
            );
            swapper.parts.metrics.swap_stage(stage.as_str(), "refused");
            let (current, reason_with_stage) = (swapper.current(), format!("{stage}: {reason}"));
            swapper.ledger.record(Change::Refused, &digest, Some(current.digest()), &reason_with_stage, &name);
            (SwapOutcome::Refused, None, reason)
        }
    };
    let gate = gate.and_then(|report| serde_json::to_value(report).ok());
    let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Verdict { digest, outcome, stage: stage.to_string(), reason, previous, gate, milliseconds }
}

impl Control for Arc<Swapper> {
    fn swap(&self, candidate: Candidate) -> BoxFuture<'_, Verdict> {
        offer(self, candidate).boxed()
    }

    fn shadow(&self) -> Value {
        self.parts.shadow.as_ref().map_or(Value::Null, |shadow| shadow.report(self.current().digest()))
    }

    fn components(&self) -> Value {
        self.report()
    }
}

/// How a candidate came through.
enum Passed {
    Unchanged,
    Switched(Swapped),
}

/// Takes one candidate through the stages.
struct Rollout<'a> {
    swapper: &'a Arc<Swapper>,
    digest: &'a str,
    name: &'a str,
    /// Where it is now.
    stage: Stage,
    /// The gate's report, when it came that far.
    gate: Option<GateReport>,
}

impl Rollout<'_> {
    /// From the first stage to the last. The error is why it is refused at the stage where it is.
    async fn all(&mut self, candidate: Candidate) -> Result<Passed, String> {
        let swapper = self.swapper;
        let Candidate { bytes, signature, .. } = candidate;
        self.passed(&format!("{} bytes", bytes.len()));
        self.stage = Stage::Digest;
        if swapper.current().digest() == self.digest {
            self.passed("no swap: it is what works already");
            return Ok(Passed::Unchanged);
        }
        if let Some(why) = swapper.distrusts(self.digest).await {
            return Err(format!("{why} (`host components allow {}` trusts it again)", self.digest));
        }
        self.passed(self.digest);
        self.stage = Stage::Trust;
        swapper.rules.trust.check(self.digest, &bytes, signature.as_deref()).map_err(|error| error.to_string())?;
        self.passed("no pin and no key forbids it");
        if let Some(confirmed) = swapper.confirmed(self.digest) {
            return self.back_to(&confirmed);
        }
        self.stage = Stage::Contract;
        let (inspection, verdict) = inspect(&bytes);
        verdict.map_err(|refusal| refusal.to_string())?;
        self.passed(inspection.contract.as_deref().unwrap_or("kept"));
        self.stage = Stage::Compile;
        let next = Arc::new(self.compile(bytes.into(), signature).await?);
        loop {
            self.stage = Stage::Gate;
            let compared = swapper.current();
            self.examine(&compared, &next).await?;
            self.stage = Stage::Switch;
            if let Some(swapped) = swapper.switch(&next, &compared, self.name)? {
                return Ok(Passed::Switched(swapped));
            }
            tracing::info!(
                name: "swap.compared_again",
                component = short(self.digest),
                "the one that it was compared with was rolled back; once more"
            );
        }
    }

    /// Whoever wants the last confirmed one back need not prove that it is as good as the one on probation.
    fn back_to(&mut self, confirmed: &Arc<Deployed>) -> Result<Passed, String> {
        self.stage = Stage::Switch;
        let swapped = self.swapper.switch(confirmed, &self.swapper.current(), self.name)?;
        // Somebody else went back to it in this moment.
        Ok(swapped.map_or(Passed::Unchanged, Passed::Switched))
    }

    /// Beside the work: the compiler has threads of its own.
    async fn compile(&mut self, bytes: Arc<[u8]>, signature: Option<String>) -> Result<Deployed, String> {
        let started = Instant::now();
        let (sandbox, name, component) =
            (Arc::clone(&self.swapper.parts.sandbox), self.name.to_owned(), Arc::clone(&bytes));
        let loaded = aside("compile", move || with_helpers(|| sandbox.load_bytes(&name, &component))).await;
        match loaded {
            Some(Ok(program)) => {
                self.passed(&format!("{} ms", started.elapsed().as_millis()));
                Ok(Deployed::new(self.name.to_owned(), bytes, signature, program))
            }
            Some(Err(LoadError::Link { reason, .. })) => {
                // Found out late, and yet it is the contract.
                self.stage = Stage::Contract;
                Err(reason)
            }
            Some(Err(error)) => Err(error.to_string()),
            None => Err("the compiler panicked".to_owned()),
        }
    }

    async fn examine(&mut self, old: &Arc<Deployed>, next: &Arc<Deployed>) -> Result<(), String> {
        let (swapper, old, next) = (Arc::clone(self.swapper), Arc::clone(old), Arc::clone(next));
        // Gone when nobody waits for the verdict any more.
        let (_waiting, abandoned) = oneshot::channel::<()>();
        let runtime = Handle::current();
        let examined = aside("gate", move || {
            runtime.block_on(async {
                tokio::select! {
                    report = gate::examine(&swapper.rules.gate, &swapper.parts.meter, &old, &next) => Some(report),
                    _ = abandoned => None,
                }
            })
        });
        let report = examined.await.flatten().ok_or("the comparison panicked")?.map_err(|error| error.to_string())?;
        for skipped in &report.skipped {
            tracing::warn!(name: "swap.recording_skipped", "the gate could not use a recording: {skipped}");
        }
        let (verdict, refused) = (report.verdict.clone(), report.refused.clone());
        self.gate = Some(report);
        match refused {
            Some(why) => Err(why),
            None => {
                self.passed(&verdict);
                Ok(())
            }
        }
    }

    fn passed(&self, detail: &str) {
        self.swapper.parts.metrics.swap_stage(self.stage.as_str(), "ok");
        tracing::info!(
            name: "swap.stage_passed",
            component = short(self.digest),
            name = self.name,
            stage = %self.stage,
            "{}: {detail}",
            self.stage
        );
    }
}
