//! Faults to order: how a test makes the service fail the way that networks and AWS do.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// One way to fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request is refused with this error type, before anything is read or billed.
    Error { kind: String, status: u16, message: String },
    /// The right answer, late.
    Delay(Duration),
    /// The right answer, once all faults are [cleared](Faults::clear).
    Held,
    /// The page is read and billed, but no answer comes.
    Never,
    /// The page is read and billed, then half of the answer arrives and the connection closes.
    HalfBody,
    /// The page is read and billed, and the answer is status 200 with something that is no JSON.
    Garbage,
}

impl Fault {
    pub fn error(kind: &str, status: u16) -> Self {
        Self::Error { kind: kind.to_owned(), status, message: format!("{kind}, as a test ordered") }
    }

    /// What Textract answers above the account's rate.
    pub fn throttled() -> Self {
        Self::error("ThrottlingException", 400)
    }

    /// What Textract answers when it is broken.
    pub fn broken() -> Self {
        Self::error("InternalServerError", 500)
    }
}

/// The orders; a shared handle. Only requests for a known operation with a document take one.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    orders: Arc<Mutex<Orders>>,
    cleared: Arc<watch::Sender<()>>,
}

#[derive(Debug, Default)]
struct Orders {
    next: VecDeque<Fault>,
    always: Option<Fault>,
}

impl Faults {
    /// The next `count` requests fail so, after those that were ordered before.
    pub fn next(&self, count: usize, fault: Fault) {
        self.orders().next.extend(std::iter::repeat_n(fault, count));
    }

    /// Every request fails so, once those ordered with [`next`](Self::next) are through.
    pub fn always(&self, fault: Fault) {
        self.orders().always = Some(fault);
    }

    /// No more faults.
    pub fn clear(&self) {
        *self.orders() = Orders::default();
        self.cleared.send_replace(());
    }

    /// The order for a request, and word of when it is cleared.
    pub(super) fn take(&self) -> (Option<Fault>, watch::Receiver<()>) {
        let mut orders = self.orders();
        // While the orders are locked: who clears them afterwards is heard.
        let cleared = self.cleared.subscribe();
        (orders.next.pop_front().or_else(|| orders.always.clone()), cleared)
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
