//! A sandbox that counts instructions: for replaying runs and for comparing components. Nothing in it can reach a queue,
//! storage or OCR, and what it does is the same on every machine.

use std::path::Path;
use std::time::Duration;

use wasmtime::Store;

use super::bindings::exports::snapceit::receipts::parser::ParseError;
use super::bindings::exports::snapceit::receipts::policy::Decision;
use super::bindings::exports::snapceit::receipts::worker::Summary;
use super::bindings::snapceit::receipts::types as wit;
use super::engine::{Sandbox, SandboxError};
use super::limits::Limits;
use super::oracle::Oracle;
use super::program::{LoadError, Program};
use super::run_error::RunError;
use super::state::RunState;
use crate::failure::Failure;
use crate::trace::Recorder;

/// A component that computes lets others have their turn after so many instructions (about a millisecond).
const TURN: u64 = 1_000_000;

/// Runs components with their instructions counted, and without a world of their own.
pub struct Meter {
    sandbox: Sandbox,
}

/// What `worker.run` is called with.
#[derive(Debug, Clone, Copy)]
pub struct RunInput {
    /// Jobs that it may claim, at most.
    pub limit: u32,
    /// Of its randomness.
    pub seed: u64,
}

/// What `policy.decide` is called with, besides the failure.
#[derive(Debug, Clone, Copy)]
pub struct PolicyInput {
    pub attempt: u32,
    pub max_attempts: u32,
    pub seed: u64,
}

/// What a call came to.
#[derive(Debug)]
pub struct Metered<T> {
    /// Its result, or how it failed.
    pub result: Result<T, RunError>,
    /// Instructions that it took.
    pub work: u64,
}

impl Meter {
    /// Makes one. `cache` is the folder for compiled components, which may be a [`Sandbox`]'s.
    pub fn new(limits: Limits, cache: Option<&Path>) -> Result<Self, SandboxError> {
        Sandbox::metered(limits, cache).map(|sandbox| Self { sandbox })
    }

    /// Loads a component; see [`Sandbox::load_bytes`]. It runs in this sandbox only.
    pub fn load_bytes(&self, name: &str, bytes: &[u8]) -> Result<Program, LoadError> {
        self.sandbox.load_bytes(name, bytes)
    }

    /// Calls `worker.run` with a world of the oracle's. `fuel` is the most instructions that it may take.
    pub async fn run<O: Oracle + 'static>(
        &self,
        program: &Program,
        RunInput { limit, seed }: RunInput,
        fuel: u64,
        oracle: O,
        record: Option<&Recorder>,
    ) -> Metered<Summary> {
        let mut store = match self.store(program, seed, fuel) {
            Ok(store) => store,
            Err(error) => return Metered { result: Err(error), work: 0 },
        };
        store.data_mut().oracle = Some(Box::new(oracle));
        store.data_mut().tape = record.map(|recorder| recorder.builder(self.sandbox.header(program, seed)));
        let result = self.sandbox.call_run(&mut store, program, limit, Duration::MAX).await;
        metered(&store, fuel, result)
    }

    /// Calls `parser.parse`.
    pub async fn parse(&self, program: &Program, json: &str, fuel: u64) -> Metered<Result<wit::Receipt, ParseError>> {
        let mut store = match self.store(program, 0, fuel) {
            Ok(store) => store,
            Err(error) => return Metered { result: Err(error), work: 0 },
        };
        let result = self.sandbox.call_parse(&mut store, program, json, Duration::MAX).await;
        metered(&store, fuel, result)
    }

    /// Calls `policy.decide`.
    pub async fn decide(
        &self,
        program: &Program,
        failure: &Failure,
        PolicyInput { attempt, max_attempts, seed }: PolicyInput,
        fuel: u64,
    ) -> Metered<Decision> {
        let mut store = match self.store(program, 0, fuel) {
            Ok(store) => store,
            Err(error) => return Metered { result: Err(error), work: 0 },
        };
        let failure = wit::Failure::from(failure.clone());
        let result = self
            .sandbox
            .within_limits(&mut store, Duration::MAX, async |store| {
                let instance = program.pre.instantiate_async(&mut *store).await?;
                program.exports.decide(store, instance, (&failure, attempt, max_attempts, seed)).await
            })
            .await;
        metered(&store, fuel, result)
    }

    fn store(&self, program: &Program, seed: u64, fuel: u64) -> Result<Store<RunState>, RunError> {
        let mut store = self.sandbox.store(program, seed);
        store.data_mut().fuel = fuel;
        store
            .set_fuel(fuel)
            .and_then(|()| store.fuel_async_yield_interval(Some(TURN)))
            .map_err(|error| RunError::Trap(format!("instructions cannot be counted: {error}")))?;
        Ok(store)
    }
}

fn metered<T>(store: &Store<RunState>, fuel: u64, result: Result<T, RunError>) -> Metered<T> {
    Metered { result, work: fuel.saturating_sub(store.get_fuel().unwrap_or(0)) }
}
