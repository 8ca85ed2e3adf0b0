//! The contract's imports, one file an interface. A failure of the outside world is the component's to decide on; a trap
//! is for a component that breaks the rules (a handle that it does not hold).

mod blame;
mod objects;
mod queue;
mod textract;
mod types;

use std::sync::Arc;

use super::bindings::snapceit::receipts::types as wit;
use super::failed_attempt::NOT_THERE_YET;
use super::state::{Live, RunState, Services};
use crate::breaker::Step;
use crate::failure::{Failure, FailureKind};

impl RunState {
    /// What the world consists of; a failure while a pure function runs.
    fn services(&self) -> Result<Arc<Services>, Failure> {
        self.live.as_ref().map(|live| Arc::clone(&live.services)).ok_or_else(pure_call)
    }

    /// A failure at this step on its way to the component. Where a dependency failed, what becomes of the job says nothing
    /// of the component.
    async fn failed(&mut self, failure: Failure, step: Step) -> wit::Failure {
        if let Some(live) = &mut self.live
            && let Some(job) = live.current
            && failure.kind.is_of_a_dependency()
        {
            live.dependency_failed.insert(job);
            // What the host or the queue is short of is not for the services' breaker to name.
            let is_ours = failure.kind == FailureKind::LeaseLost
                || failure.code.starts_with("queue.")
                || failure.code == "image.NoRoom"
                || failure.code == NOT_THERE_YET;
            if !is_ours {
                let blame = live.blame(job, step, &failure).await;
                live.services.outage.failed(job, step, blame, &failure.to_string());
            }
        }
        failure.into()
    }

    /// The world of this run.
    fn live_mut(&mut self) -> Result<&mut Live, Failure> {
        self.live.as_mut().ok_or_else(pure_call)
    }
}

fn pure_call() -> Failure {
    let message = "parse and decide are pure: there is no queue, storage or OCR to reach from them";
    Failure::new(FailureKind::AccessDenied, "host.PureCall", message)
}
