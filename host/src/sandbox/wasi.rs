//! An empty WASI: Rust's standard library imports some of it. No environment, no arguments, no files, no sockets; clocks
//! that stand still (and so trap whoever waits for them), random bytes from the run's seed; stdout and stderr go to the host's log, a line at a time.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::AsyncWrite;
use wasmtime::component::{HasSelf, Linker, Resource};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream, WasiCli, WasiCliView};
use wasmtime_wasi::clocks::WasiClocksView;
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock;
use wasmtime_wasi::p2::bindings::{cli, random};
use wasmtime_wasi::random::{Deterministic, WasiRandom};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx, WasiView};

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

/// The context of one run.
pub(super) fn context(seed: u64, component: &str, log_bytes: usize) -> WasiCtx {
    let log = Log {
        component: Arc::from(component.get(..12).unwrap_or(component)),
        shared: Arc::new(Mutex::new(LogState { line: Vec::new(), left: log_bytes })),
    };
    WasiCtx::builder()
        .stdout(log.clone())
        .stderr(log)
        .secure_random(Deterministic::new(seed.to_le_bytes().to_vec()))
        .insecure_random(Deterministic::new(seed.to_be_bytes().to_vec()))
        .insecure_random_seed(u128::from(seed))
        .wall_clock(StoppedClock)
        .monotonic_clock(StoppedClock)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .build()
}

/// Time does not pass in the sandbox: it would make a run depend on when it happened.
struct StoppedClock;

impl HostWallClock for StoppedClock {
    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn now(&self) -> Duration {
        Duration::ZERO
    }
}

impl HostMonotonicClock for StoppedClock {
    fn resolution(&self) -> u64 {
        1_000_000_000
    }

    fn now(&self) -> u64 {
        0
    }
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

/// The host's log as a component's stdout and stderr.
#[derive(Clone)]
struct Log {
    component: Arc<str>,
    shared: Arc<Mutex<LogState>>,
}

struct LogState {
    line: Vec<u8>,
    left: usize,
}

const LONGEST_LINE: usize = 4096;

impl Log {
    fn write(&self, bytes: &[u8]) {
        let mut state = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if state.left == 0 {
            return;
        }
        let taken = bytes.get(..state.left.min(bytes.len())).unwrap_or_default();
        state.left -= taken.len();
        for &byte in taken {
            if byte == b'\n' || state.line.len() >= LONGEST_LINE {
                self.emit(&mut state);
            }
            if byte != b'\n' {
                state.line.push(byte);
            }
        }
        if state.left == 0 {
            self.emit(&mut state);
            tracing::warn!(component = %self.component, "the component's further output is dropped (--max-log-bytes)");
        }
    }

    fn emit(&self, state: &mut LogState) {
        let line = std::mem::take(&mut state.line);
        if !line.is_empty() {
            // Escaped: a component must not be able to forge log lines or drive a terminal.
            let mut text = String::new();
            for character in String::from_utf8_lossy(&line).chars() {
                match character {
                    '\'' | '"' => text.push(character),
                    _ => text.extend(character.escape_debug()),
                }
            }
            tracing::info!(target: "component", component = %self.component, "{text}");
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if Arc::strong_count(&self.shared) == 1 {
            let mut state = std::mem::replace(
                &mut *self.shared.lock().unwrap_or_else(PoisonError::into_inner),
                LogState { line: Vec::new(), left: 0 },
            );
            self.emit(&mut state);
        }
    }
}

impl IsTerminal for Log {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Log {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Log {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.write(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
