//! What the world hears of swapping: metrics, the ledger's pauses, and the answer of the admin API.

use serde_json::{Value, json};

use super::{Memory, Swapper};
use crate::breaker::Report;
use crate::queue::components::Change;
use crate::sandbox::Standing;
use crate::schedule::{BreakerChange, BreakerName};

impl Swapper {
    /// Tells the world what a breaker has done: the metrics, and the ledger, which can be read from every machine.
    pub fn breaker_changed(&self, which: BreakerName, report: &Report, step: BreakerChange) {
        let state = match step {
            BreakerChange::Closed => 0,
            BreakerChange::HalfOpened => 1,
            BreakerChange::Opened | BreakerChange::Reopened => 2,
        };
        self.parts.metrics.breaker(which.as_str(), state, step == BreakerChange::Opened);
        let mut memory = self.memory();
        let current = self.current();
        match step {
            BreakerChange::Opened => {
                memory.open_breakers.push(which);
                let why = report.why.as_deref().unwrap_or_default();
                let reason = format!("{}: {why}", which.subject());
                self.ledger.record(Change::Paused, current.digest(), None, &reason, &current.name);
            }
            BreakerChange::Closed => {
                memory.open_breakers.retain(|open| *open != which);
                if memory.open_breakers.is_empty() {
                    self.ledger.record(Change::Resumed, current.digest(), None, "", &current.name);
                }
            }
            BreakerChange::Reopened | BreakerChange::HalfOpened => {}
        }
    }

    /// What works, what to go back to, and what was taken back.
    pub(super) fn report(&self) -> Value {
        let memory = self.memory();
        let current = self.current();
        let standing = match current.program.tally.standing() {
            Standing::Trusted => "confirmed",
            Standing::OnProbation => "on probation",
            Standing::TakenBack => "taken back",
        };
        json!({
            "current": { "digest": current.digest(), "source": current.name, "standing": standing, "counts": current.program.tally.counts() },
            "confirmed": memory.confirmed.digest(),
            "taken_back": memory.taken_back,
            "breakers": { "component": current.program.tally.breaker.report(), "services": self.parts.breakers.services.report(), "settles": self.parts.breakers.settles.report() },
        })
    }

    /// The metric that says which component this host has for what.
    pub(super) fn publish(&self, memory: &Memory) {
        let current = self.current();
        let mut components = vec![(current.digest(), "current")];
        if memory.confirmed.digest() != current.digest() {
            components.push((memory.confirmed.digest(), "fallback"));
        }
        if let Some(shadow) = &self.parts.shadow {
            components.push((shadow.digest(), "shadow"));
        }
        self.parts.metrics.components(&components);
    }
}
