//! What one run has of WASI: random bytes from its seed, clocks that stand still, and the host's log as stdout and stderr, a
//! line at a time.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::random::Deterministic;
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx};

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
            tracing::warn!(
                name: "component.output_dropped",
                component = %self.component,
                "the component's further output is dropped (--max-log-bytes)"
            );
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
            tracing::info!(name: "component.output", target: "component", component = %self.component, "{text}");
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
