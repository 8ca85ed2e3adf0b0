//! A connection that holds each statement back until it is let through: what the schedule of two sessions is made of. On
//! the wire, so that whatever the host sends is held, however it sends it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Holds statements while it is closed.
#[derive(Default)]
pub struct Gate {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    closed: bool,
    permits: u32,
    waiting: Option<Waker>,
    /// What waits begins a transaction.
    begins: bool,
}

impl Gate {
    /// From now on each statement waits.
    pub fn close(&self) {
        self.state.lock().unwrap().closed = true;
    }

    /// From now on none does.
    pub fn open(&self) {
        let mut state = self.state.lock().unwrap();
        *state = State { waiting: state.waiting.take(), ..State::default() };
        if let Some(waker) = state.waiting.take() {
            waker.wake();
        }
    }

    /// Whether a statement waits.
    pub fn holds(&self) -> bool {
        self.state.lock().unwrap().waiting.is_some()
    }

    /// Lets the statement that waits through. One that begins a transaction goes with what follows: it takes neither a lock
    /// nor a snapshot, only the time.
    pub fn let_through(&self) {
        let mut state = self.state.lock().unwrap();
        state.permits = if state.begins { 2 } else { 1 };
        state.waiting.take().expect("a statement waits").wake();
    }

    fn pass(&self, statement: Statement, context: &Context<'_>) -> bool {
        let mut state = self.state.lock().unwrap();
        if !state.closed {
            return true;
        }
        if state.permits > 0 {
            state.permits -= 1;
            return true;
        }
        state.waiting = Some(context.waker().clone());
        state.begins = statement == Statement::Begin;
        false
    }
}

pub struct Held {
    stream: TcpStream,
    gate: Arc<Gate>,
    /// Bytes that were let through and are not written yet.
    passed: usize,
}

impl Held {
    pub fn new(stream: TcpStream, gate: Arc<Gate>) -> Self {
        Self { stream, gate, passed: 0 }
    }
}

impl AsyncRead for Held {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Held {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.passed == 0 {
            if let Some(statement) = statement(bytes)
                && !self.gate.pass(statement, context)
            {
                return Poll::Pending;
            }
            self.passed = bytes.len();
        }
        let allowed = &bytes[..self.passed.min(bytes.len())];
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, allowed))?;
        self.passed -= written;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Statement {
    Begin,
    Other,
}

/// What these messages of the protocol execute. Preparing a statement is nothing.
fn statement(mut bytes: &[u8]) -> Option<Statement> {
    while let [kind, length @ ..] = bytes
        && let Some(length) = length.first_chunk::<4>()
    {
        let end = (1 + u32::from_be_bytes(*length) as usize).min(bytes.len());
        let body = &bytes[5.min(end)..end];
        match kind {
            b'Q' if body.starts_with(b"BEGIN") || body.starts_with(b"START TRANSACTION") => {
                return Some(Statement::Begin);
            }
            b'B' | b'Q' => return Some(Statement::Other),
            _ => bytes = &bytes[end..],
        }
    }
    None
}
