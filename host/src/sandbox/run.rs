//! Running a component: each run in a fresh instance.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::json;
use wasmtime::{Store, Trap};

use super::aftermath::{after_failure, give_back};
use super::bindings::exports::snapceit::receipts::parser::ParseError;
use super::bindings::exports::snapceit::receipts::worker::Summary;
use super::bindings::snapceit::receipts::types as wit;
use super::deadline::{self, DeadlineExceeded};
use super::engine::Sandbox;
use super::failed_attempt;
use super::oracle::NoAnswer;
use super::program::Program;
use super::random::random_seed;
use super::run_error::RunError;
use super::state::{Live, RunState, Services};
use super::wasmtime_error;
use crate::failure::{Failure, FailureKind};
use crate::queue::Job;
use crate::trace::{Event, FailedHow, Header, Json, TraceBuilder};

/// How a run ended.
#[derive(Debug)]
pub struct RunEnd {
    /// What the component says it did, or how it failed.
    pub result: Result<Summary, RunError>,
    /// Its own computing time.
    pub computed: Duration,
    /// What it had of storage and OCR.
    pub service: Service,
}

/// What a run had of the services that its jobs need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// It did without them.
    Unneeded,
    /// They did what they were asked for.
    Served,
    /// They failed on one of its jobs, at least.
    Failed,
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
                program.tally.crashed();
                match spare.as_slice() {
                    [job] => {
                        program.tally.record_run_failure(Some(job.lease.job), &failure.message);
                        let outcome = failed_attempt::crashed(&program.tally, job, failure);
                        let _ = services.pump.settle(job, outcome, Some(program.digest().to_owned())).await;
                    }
                    // Which of them it was is not known. Each is worked alone, so that it becomes clear.
                    _ => services.pump.put_back(spare.into_iter().map(Job::alone).collect()),
                }
                RunEnd {
                    result: Err(RunError::Trap("the host panicked".to_owned())),
                    computed: Duration::ZERO,
                    service: Service::Unneeded,
                }
            }
        }
    }

    async fn run_once(&self, program: &Program, services: &Arc<Services>, jobs: Vec<Job>) -> RunEnd {
        let limit = u32::try_from(jobs.len()).unwrap_or(u32::MAX);
        // Each job has its time: waiting for S3, for OCR or for a turn at it is not the fault of the one that is last.
        let timeout = self.limits.run_timeout.saturating_mul(limit.max(1));
        let seed = random_seed();
        let mut store = self.timed_store(program, seed);
        let state = store.data_mut();
        state.live = Some(Live::new(Arc::clone(services), Arc::clone(&program.tally), jobs));
        state.tape = services.recorder.as_ref().map(|recorder| recorder.builder(self.header(program, seed)));
        // A recorder that went off costs nothing any more.
        state.tape = state.tape.take().filter(TraceBuilder::is_on);
        let result = self.call_run(&mut store, program, limit, timeout).await;
        let state = store.into_data();
        let computed = state.clock.used();
        let service = match &state.live {
            Some(live) if !live.dependency_failed.is_empty() => Service::Failed,
            Some(live) if live.served => Service::Served,
            _ => Service::Unneeded,
        };
        if let Some(live) = state.live {
            match &result {
                Ok(_) => give_back(live),
                Err(error) => after_failure(live, program.digest(), error).await,
            }
        }
        RunEnd { result, computed, service }
    }

    /// Calls `worker.run`, on record.
    pub(super) async fn call_run(
        &self,
        store: &mut Store<RunState>,
        program: &Program,
        limit: u32,
        timeout: Duration,
    ) -> Result<Summary, RunError> {
        if let Some(tape) = &mut store.data_mut().tape {
            tape.push(Event::Enter { export: RUN.into(), args: Json::of(&json!({ "limit": limit })) });
        }
        let called = self
            .within_limits(store, timeout, async |store| {
                let instance = program.pre.instantiate_async(&mut *store).await?;
                program.exports.run(store, instance, limit).await
            })
            .await;
        let returned = called.map(|outcome| outcome.map_err(Failure::from));
        if let Some(mut tape) = store.data_mut().tape.take() {
            tape.push(last_event(&returned));
            tape.finish();
        }
        returned.and_then(|outcome| outcome.map_err(RunError::Reported))
    }

    /// Reads an OCR response with the component's parser.
    pub async fn parse(&self, program: &Program, json: &str) -> Result<Result<wit::Receipt, ParseError>, RunError> {
        let mut store = self.timed_store(program, random_seed());
        self.call_parse(&mut store, program, json, self.limits.run_timeout).await
    }

    pub(super) async fn call_parse(
        &self,
        store: &mut Store<RunState>,
        program: &Program,
        json: &str,
        timeout: Duration,
    ) -> Result<Result<wit::Receipt, ParseError>, RunError> {
        self.within_limits(store, timeout, async |store| {
            let instance = program.pre.instantiate_async(&mut *store).await?;
            program.exports.parse(store, instance, json).await
        })
        .await
    }

    /// A store whose deadline counts.
    fn timed_store(&self, program: &Program, seed: u64) -> Store<RunState> {
        let mut store = self.store(program, seed);
        deadline::arm(&mut store, |state| &mut state.clock);
        store
    }

    pub(super) fn store(&self, program: &Program, seed: u64) -> Store<RunState> {
        let mut store = Store::new(&self.engine, RunState::new(&self.limits, program.digest(), seed));
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(self.limits.host_call_bytes);
        store.set_max_component_handles(self.limits.handles);
        store
    }

    pub(super) fn header(&self, program: &Program, seed: u64) -> Header {
        let contract = program.inspection.contract.as_deref().unwrap_or_default();
        Header::new(program.digest(), contract, seed, self.limits.settings())
    }

    pub(super) async fn within_limits<T>(
        &self,
        store: &mut Store<RunState>,
        timeout: Duration,
        call: impl AsyncFnOnce(&mut Store<RunState>) -> wasmtime::Result<T>,
    ) -> Result<T, RunError> {
        match tokio::time::timeout(timeout, call(store)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(explain(&error, store.data())),
            Err(_) => Err(RunError::Timeout(format!("the run took longer than {timeout:?} (--run-timeout a job)"))),
        }
    }
}

const RUN: &str = "worker.run";

fn last_event(returned: &Result<Result<Summary, Failure>, RunError>) -> Event {
    let how = match returned {
        Ok(result) => return Event::Return { export: RUN.into(), result: Json::of(result) },
        Err(RunError::Trap(_) | RunError::Reported(_)) => FailedHow::Trap,
        Err(RunError::Limit(_) | RunError::Fuel(_)) => FailedHow::Limit,
        Err(RunError::Deadline(_)) => FailedHow::Deadline,
        Err(RunError::Timeout(_)) => FailedHow::Timeout,
        Err(RunError::NoAnswer(_)) => FailedHow::Cancelled,
    };
    let message = returned.as_ref().err().map(ToString::to_string).unwrap_or_default();
    Event::Failed { how, message }
}

fn explain(error: &wasmtime::Error, state: &RunState) -> RunError {
    if let Some(NoAnswer(why)) = error.downcast_ref() {
        return RunError::NoAnswer(why.clone());
    }
    if let Some(exceeded) = error.downcast_ref::<DeadlineExceeded>() {
        return RunError::Deadline(exceeded.to_string());
    }
    // A refused growth shows up as whatever the component does without the memory; the limit is the reason.
    if let Some(hit) = state.limiter.hit() {
        return RunError::Limit(hit.to_owned());
    }
    if let Some(limit) = wasmtime_error::limit(error) {
        return RunError::Limit(limit.to_owned());
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return match trap {
            Trap::OutOfFuel => RunError::Fuel(state.fuel),
            Trap::StackOverflow => RunError::Limit("stack: the component's calls nest too deeply".to_owned()),
            trap => RunError::Trap(trap.to_string()),
        };
    }
    let first = error.root_cause().to_string();
    RunError::Trap(first)
}
