//! The engine: wasmtime, configured for runs that are short, many, bounded and repeatable.

use std::path::{Path, PathBuf};

use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::ahead::{self, AheadError};
use super::bindings::ReceiptWorker;
use super::cache::CompileCache;
use super::deadline::TICK;
use super::former;
use super::limits::Limits;
use super::state::RunState;
use super::wasi;

/// What keeps a sandbox from being made.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the WebAssembly engine: {0}")]
pub struct SandboxError(String);

/// An engine with its limits, its linker, and its compile cache. One a process.
pub struct Sandbox {
    pub(super) engine: Engine,
    pub(super) linkers: Linkers,
    pub(super) limits: Limits,
    pub(super) cache: Option<CompileCache>,
}

impl Sandbox {
    /// Makes a sandbox for `concurrency` runs side by side. `cache` is the folder for compiled components.
    pub fn new(limits: Limits, concurrency: usize, cache: Option<&Path>) -> Result<Self, SandboxError> {
        let engine = pooling_or_not(&limits, concurrency).map_err(problem)?;
        tick(&engine)?;
        let linkers = Linkers::new(&engine).map_err(problem)?;
        Ok(Self { engine, linkers, limits, cache: cache.and_then(CompileCache::open) })
    }

    /// Compiles a component for every processor of this architecture, into a file that is found when it lies beside the program.
    pub fn compile_ahead(limits: &Limits, bytes: &[u8], folder: &Path) -> Result<PathBuf, AheadError> {
        ahead::compile(pooling(limits, slots(1)), bytes, folder)
    }

    /// Makes one that counts instructions in place of time, so that a limit is hit at the same place on every machine.
    /// Slower than the other; for replaying.
    pub(super) fn metered(limits: Limits, cache: Option<&Path>) -> Result<Self, SandboxError> {
        let mut config = config();
        config.consume_fuel(true);
        let engine = on_demand(config, &limits).map_err(problem)?;
        let linkers = Linkers::new(&engine).map_err(problem)?;
        Ok(Self { engine, linkers, limits, cache: cache.and_then(CompileCache::open) })
    }
}

fn problem(error: wasmtime::Error) -> SandboxError {
    SandboxError(format!("{error:#}"))
}

/// What components are linked with.
pub(super) struct Linkers {
    /// The present contract, also under the name of 0.1.0: components of some days have its types and that name.
    present: Linker<RunState>,
    /// The same with the receipt of 0.1.0 where that name stands.
    former: Linker<RunState>,
}

impl Linkers {
    fn new(engine: &Engine) -> wasmtime::Result<Self> {
        let mut present = Linker::new(engine);
        wasi::add_to_linker(&mut present)?;
        ReceiptWorker::add_to_linker::<_, wasmtime::component::HasSelf<RunState>>(&mut present, |state| state)?;
        former::add_0_1_with_reasons(&mut present)?;
        let mut former = present.clone();
        former::take_receipts_of_0_1(&mut former)?;
        Ok(Self { present, former })
    }

    /// Links a component with the contract that it is made for.
    pub(super) fn link(&self, component: &Component) -> wasmtime::Result<InstancePre<RunState>> {
        // The types tell; where neither fits, the present contract says what does not.
        let present = self.present.instantiate_pre(component);
        present.or_else(|error| self.former.instantiate_pre(component).map_err(|_| error))
    }
}

/// What both kinds of engine have in common.
fn config() -> Config {
    let mut config = Config::new();
    // Same component, same input, same output: on every machine.
    config.cranelift_nan_canonicalization(true);
    config.relaxed_simd_deterministic(true);
    // The contract's functions are synchronous; the machinery for concurrent ones is not built into each store.
    config.concurrency_support(false);
    config
}

/// The pooling allocator makes a fresh instance for every run cheap; it reserves address space for its slots, which not
/// every machine (a container with a limit on it, say) grants.
fn pooling_or_not(limits: &Limits, concurrency: usize) -> wasmtime::Result<Engine> {
    let slots = slots(concurrency);
    match Engine::new(&pooling(limits, slots)) {
        Ok(engine) => {
            tracing::debug!(name: "sandbox.pooled", slots, "instances from a pooling allocator");
            Ok(engine)
        }
        Err(error) => {
            tracing::warn!(name: "sandbox.not_pooled", slots, error = %format!("{error:#}"), "no pooling allocator; instances are made on demand");
            // Address space was short for the pool.
            on_demand(timed(), limits)
        }
    }
}

fn slots(concurrency: usize) -> u32 {
    u32::try_from(concurrency.saturating_add(4)).unwrap_or(u32::MAX)
}

/// Counts the time of runs.
fn timed() -> Config {
    let mut timed = config();
    timed.epoch_interruption(true);
    timed
}

fn pooling(limits: &Limits, slots: u32) -> Config {
    let per_slot = |count: usize| slots.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(per_slot(limits.instances))
        .max_core_instances_per_component(u32::try_from(limits.instances).unwrap_or(u32::MAX))
        .total_memories(slots)
        .max_memories_per_component(1)
        .total_tables(per_slot(limits.tables))
        .max_tables_per_component(u32::try_from(limits.tables).unwrap_or(u32::MAX))
        .table_elements(limits.table_elements)
        .total_stacks(slots)
        .max_memory_size(limits.memory)
        // What a run of the built-in component touches: kept and zeroed, which is cheaper than giving it back.
        .linear_memory_keep_resident(1 << 20)
        .table_keep_resident(1 << 16);
    let mut pooling = timed();
    pooling.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    pooling
}

/// Reserves no more than the limit for each memory, in place of 4 GiB.
fn on_demand(mut config: Config, limits: &Limits) -> wasmtime::Result<Engine> {
    config.memory_reservation(limits.memory as u64).memory_guard_size(1 << 16);
    Engine::new(&config)
}

/// One ticker an engine; it ends with it.
fn tick(engine: &Engine) -> Result<(), SandboxError> {
    let engine = engine.weak();
    std::thread::Builder::new()
        .name("epoch".to_owned())
        .spawn(move || {
            while let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(TICK);
            }
        })
        .map(drop)
        .map_err(|error| SandboxError(format!("no thread for the epoch ticker: {error}")))
}
