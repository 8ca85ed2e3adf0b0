//! Running a component: each run in a fresh instance, and what becomes of its jobs when it fails.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use wasmtime::{Store, Trap};

use super::bindings::ReceiptWorker;
use super::bindings::exports::snapceit::receipts::parser::ParseError;
use super::bindings::exports::snapceit::receipts::worker::Summary;
use super::bindings::snapceit::receipts::types as wit;
use super::deadline::{self, DeadlineExceeded};
use super::engine::Sandbox;
use super::limits;
use super::program::Program;
use super::state::{RunState, Services};
use crate::failure::{Failure, FailureKind};
use crate::queue::{Job, Outcome};

/// How a run failed: the component's fault, not the receipt's and not the host's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    #[error("the component trapped: {0}")]
    Trap(String),
    #[error("the component hit a limit of the sandbox: {0}")]
    Limit(String),
    #[error("the component reported: {0}")]
    Reported(String),
}

impl RunError {
    /// As a job's failure.
    fn failure(&self) -> Failure {
        match self {
            Self::Trap(_) => Failure::new(FailureKind::Internal, "component.Trap", self.to_string()),
            Self::Limit(_) => Failure::new(FailureKind::LimitExceeded, "component.Limit", self.to_string()),
            Self::Reported(_) => Failure::new(FailureKind::Internal, "component.Error", self.to_string()),
        }
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct RunEnd {
    /// What the component says it did, or how it failed.
    pub result: Result<Summary, RunError>,
    /// Its own computing time.
    pub computed: Duration,
}

impl Sandbox {
    /// Runs the component on these jobs, and sees to it that each is settled, given back or charged.
    pub async fn run(&self, program: &Program, services: &Arc<Services>, jobs: Vec<Job>) -> RunEnd {
        let spare = jobs.clone();
        match AssertUnwindSafe(self.run_once(program, services, jobs)).catch_unwind().await {
            Ok(end) => end,
            Err(_) => {
                // A bug of the host's. Its heartbeat must not keep the jobs from everybody; whichever was settled
                // before is not touched by this.
                let failure =
                    Failure::new(FailureKind::Internal, "host.Panic", "the host failed while it worked the job");
                for job in &spare {
                    let _ = services.pump.settle(job, charged(job, failure.clone()), None).await;
                }
                RunEnd { result: Err(RunError::Trap("the host panicked".to_owned())), computed: Duration::ZERO }
            }
        }
    }

    async fn run_once(&self, program: &Program, services: &Arc<Services>, jobs: Vec<Job>) -> RunEnd {
        let limit = u32::try_from(jobs.len()).unwrap_or(u32::MAX);
        // Each job has its time: waiting for S3, for OCR or for a turn at it is not the fault of the one that is last.
        let timeout = self.limits.run_timeout.saturating_mul(limit.max(1));
        let mut store = self.store(program, Some(Arc::clone(services)), jobs);
        let result = self
            .within_limits(&mut store, timeout, async |store| {
                let instance = program.pre.instantiate_async(&mut *store).await?;
                instance.snapceit_receipts_worker().call_run(store, limit).await
            })
            .await;
        let result = result
            .and_then(|outcome| outcome.map_err(|failure| RunError::Reported(Failure::from(failure).to_string())));
        let state = store.into_data();
        let computed = state.clock.used();
        match &result {
            Ok(_) => give_back(state, services),
            Err(error) => after_failure(state, services, error).await,
        }
        RunEnd { result, computed }
    }

    /// Reads an OCR response with the component's parser.
    pub async fn parse(&self, program: &Program, json: &str) -> Result<Result<wit::Receipt, ParseError>, RunError> {
        let mut store = self.store(program, None, Vec::new());
        self.within_limits(&mut store, self.limits.run_timeout, async |store| {
            let instance: ReceiptWorker = program.pre.instantiate_async(&mut *store).await?;
            instance.snapceit_receipts_parser().call_parse(store, json).await
        })
        .await
    }

    fn store(&self, program: &Program, services: Option<Arc<Services>>, jobs: Vec<Job>) -> Store<RunState> {
        let state = RunState::new(&self.limits, program.digest(), random_seed(), services, jobs);
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(self.limits.host_call_bytes);
        store.set_max_component_handles(self.limits.handles);
        deadline::arm(&mut store);
        store
    }

    async fn within_limits<T>(
        &self,
        store: &mut Store<RunState>,
        timeout: Duration,
        call: impl AsyncFnOnce(&mut Store<RunState>) -> wasmtime::Result<T>,
    ) -> Result<T, RunError> {
        match tokio::time::timeout(timeout, call(store)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(explain(&error, store.data())),
            Err(_) => Err(RunError::Limit(format!("the run took longer than {timeout:?} (--run-timeout a job)"))),
        }
    }
}

/// Jobs that the component neither settled nor failed on go back, after a pause and uncharged.
fn give_back(state: RunState, services: &Services) {
    let RunState { open, assigned, .. } = state;
    for job in open.into_values().chain(assigned) {
        tracing::warn!(
            job = job.lease.job,
            receipt = job.receipt_id,
            "the component left the job unsettled; it goes back"
        );
        services.pump.release(&job);
    }
}

/// The job that the component was working on is charged; the others are taken up again by themselves. Where it is not
/// clear which one it was, each is worked alone, so that it becomes clear.
async fn after_failure(state: RunState, services: &Services, error: &RunError) {
    let RunState { mut open, assigned, current, component, claimed, .. } = state;
    let culprit = match current.and_then(|current| open.remove(&current)) {
        Some(job) => Some(job),
        // The only one that it ever had. One that is left over when others were settled may be innocent.
        None if claimed == 1 => open.pop_first().map(|(_, job)| job),
        None => None,
    };
    let Some(job) = culprit else {
        if open.is_empty() {
            // Nobody is to blame but the component.
            let when = if claimed == 0 { "before it took a job" } else { "with no job in its hands" };
            tracing::error!(%component, %error, "the component failed {when}");
            assigned.iter().for_each(|job| services.pump.release(job));
        } else {
            tracing::warn!(%component, %error, "the component failed between jobs; each is worked alone now");
            services.pump.put_back(open.into_values().chain(assigned).map(Job::alone).collect());
        }
        return;
    };
    services.pump.put_back(open.into_values().chain(assigned).collect());
    let failure = error.failure();
    tracing::error!(%component, receipt = job.receipt_id, attempt = job.attempt, %error, "the component failed on a job");
    // Lost or unreachable: the pump has logged it, and the lease will end.
    let _ = services.pump.settle(&job, charged(&job, failure), Some(component.to_string())).await;
}

/// What becomes of a job whose attempt nobody lived to decide on.
pub(crate) fn charged(job: &Job, failure: Failure) -> Outcome {
    if job.attempt >= job.max_attempts {
        return Outcome::DeadLetter { failure, notes: "max attempts exceeded" };
    }
    let delay = crate::backoff::charged(job.attempt, random_seed());
    Outcome::Retry { delay, charge: true, failure: Some(failure) }
}

fn explain(error: &wasmtime::Error, state: &RunState) -> RunError {
    if let Some(exceeded) = error.downcast_ref::<DeadlineExceeded>() {
        return RunError::Limit(exceeded.to_string());
    }
    // A refused growth shows up as whatever the component does without the memory; the limit is the reason.
    if let Some(hit) = state.limiter.hit() {
        return RunError::Limit(hit.to_owned());
    }
    if let Some(limit) = limits::named(&format!("{error:#}")) {
        return RunError::Limit(limit);
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return match trap {
            Trap::StackOverflow => RunError::Limit("stack: the component's calls nest too deeply".to_owned()),
            trap => RunError::Trap(trap.to_string()),
        };
    }
    let first = error.root_cause().to_string();
    RunError::Trap(first)
}

/// Random bits from the host: for jitter, and for a run's seed.
pub(super) fn random_seed() -> u64 {
    getrandom::u64().unwrap_or_default()
}
