//! What the world hears of swapping: metrics, the ledger's pauses, and the answer of the admin API.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{State, Swapper};
use crate::breaker::Report;
use crate::queue::components::Change;
use crate::schedule::{BreakerChange, BreakerName};
use crate::swap::deployed::Deployed;
use crate::swap::deployment::Deployment;

impl Swapper {
    /// Tells the world what a breaker has done: the metrics, and the ledger, which can be read from every machine.
    pub fn breaker_changed(&self, which: BreakerName, report: &Report, step: BreakerChange) {
        let state = match step {
            BreakerChange::Closed => 0,
            BreakerChange::HalfOpened => 1,
            BreakerChange::Opened | BreakerChange::Reopened => 2,
        };
        self.parts.metrics.breaker(which.as_str(), state, step == BreakerChange::Opened);
        let mut state = self.state();
        let current = Arc::clone(state.deployment.current());
        match step {
            BreakerChange::Opened => {
                state.open_breakers.push(which);
                let why = report.why.as_deref().unwrap_or_default();
                let reason = format!("{}: {why}", which.subject());
                self.ledger.record(Change::Paused, current.digest(), None, &reason, &current.name);
            }
            BreakerChange::Closed => {
                state.open_breakers.retain(|open| *open != which);
                if state.open_breakers.is_empty() {
                    self.ledger.record(Change::Resumed, current.digest(), None, "", &current.name);
                }
            }
            BreakerChange::Reopened | BreakerChange::HalfOpened => {}
        }
    }

    /// What works, what to go back to, and what was rolled back.
    pub(in crate::swap) fn report(&self) -> Value {
        let State { deployment, .. } = &*self.state();
        let current = deployment.current();
        json!({
            "current": {
                "digest": current.digest(),
                "source": current.name,
                "state": deployment.state(),
                "counts": current.program.tally.counts(),
            },
            "confirmed": deployment.confirmed().digest(),
            "rolled_back": deployment.rolled_back(),
            "breakers": {
                "component": current.program.tally.breaker.report(),
                "services": self.parts.breakers.services.report(),
                "settles": self.parts.breakers.settles.report(),
            },
        })
    }

    /// The metric that says which component this host has for what.
    pub(super) fn publish(&self, deployment: &Deployment<Deployed>) {
        let (current, confirmed) = (deployment.current(), deployment.confirmed());
        let mut components = vec![(current.digest(), "current")];
        if confirmed.digest() != current.digest() {
            components.push((confirmed.digest(), "fallback"));
        }
        if let Some(shadow) = &self.parts.shadow {
            components.push((shadow.digest(), "shadow"));
        }
        self.parts.metrics.components(&components);
    }
}
