//! An empty WASI: Rust's standard library imports some of it. No environment, no arguments, no files, no sockets; clocks
//! that stand still, and so trap whoever waits for them.

use wasmtime::component::{HasSelf, Linker, Resource};
use wasmtime_wasi::WasiView;
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::clocks::WasiClocksView;
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock;
use wasmtime_wasi::p2::bindings::{cli, random};
use wasmtime_wasi::random::WasiRandom;

use super::state::RunState;

/// The interfaces that a component may import besides the contract's, without version.
pub(super) const ALLOWED: [&str; 4] = ["wasi:cli/", "wasi:clocks/", "wasi:io/", "wasi:random/"];

pub(super) fn add_to_linker(linker: &mut Linker<RunState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_proxy_interfaces_async(linker)?;
    // In place of one whose timers are the host's own clock.
    linker.allow_shadowing(true);
    monotonic_clock::add_to_linker::<RunState, HasSelf<RunState>>(linker, |state| state)?;
    linker.allow_shadowing(false);
    cli::environment::add_to_linker::<RunState, WasiCli>(linker, RunState::cli)?;
    cli::exit::add_to_linker::<RunState, WasiCli>(linker, RunState::cli)?;
    cli::terminal_input::add_to_linker::<RunState, WasiCli>(linker, RunState::cli)?;
    cli::terminal_output::add_to_linker::<RunState, WasiCli>(linker, RunState::cli)?;
    cli::terminal_stdin::add_to_linker::<RunState, WasiCli>(linker, RunState::cli)?;
    cli::terminal_stdout::add_to_linker::<RunState, WasiCli>(linker, RunState::cli)?;
    cli::terminal_stderr::add_to_linker::<RunState, WasiCli>(linker, RunState::cli)?;
    random::insecure::add_to_linker::<RunState, WasiRandom>(linker, |state| state.ctx().ctx.random())?;
    random::insecure_seed::add_to_linker::<RunState, WasiRandom>(linker, |state| state.ctx().ctx.random())
}

/// A component waits for a time that never comes.
#[derive(Debug, thiserror::Error)]
#[error("it waits for a clock that stands still")]
struct WaitsForEver;

impl monotonic_clock::Host for RunState {
    fn now(&mut self) -> wasmtime::Result<u64> {
        self.clocks().now()
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        self.clocks().resolution()
    }

    fn subscribe_instant(&mut self, when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        if when > self.now()? { Err(WaitsForEver.into()) } else { self.clocks().subscribe_instant(when) }
    }

    fn subscribe_duration(&mut self, duration: u64) -> wasmtime::Result<Resource<DynPollable>> {
        if duration > 0 { Err(WaitsForEver.into()) } else { self.clocks().subscribe_duration(duration) }
    }
}
