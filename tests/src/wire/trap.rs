//! The trap that is set at a fault point, for one host to run into.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::point::{Fault, Point};

/// A fault at the `nth` time that a host passes a point.
#[derive(Debug, Clone, Copy)]
pub struct Ambush {
    pub point: Point,
    pub fault: Fault,
    /// From 1, over all hosts.
    pub nth: u32,
}

/// At most one ambush at a time; each springs once.
#[derive(Default)]
pub(super) struct Trap(Mutex<Option<Armed>>);

struct Armed {
    ambush: Ambush,
    sprung: oneshot::Sender<usize>,
}

impl Trap {
    /// Sets it; the answer is the host that ran into it.
    pub(super) fn set(&self, ambush: Ambush) -> oneshot::Receiver<usize> {
        let (sprung, victim) = oneshot::channel();
        *self.armed() = Some(Armed { ambush, sprung });
        victim
    }

    /// A host is at this point. An error is a lost connection; where the host is to be killed, this never returns.
    pub(super) async fn pass(&self, host: usize, point: Point) -> io::Result<()> {
        let Some(Armed { ambush, sprung }) = self.step_on(point) else { return Ok(()) };
        let _ = sprung.send(host);
        match ambush.fault {
            Fault::Kill => std::future::pending().await,
            Fault::Cut => Err(io::Error::other("the connection is cut here")),
        }
    }

    fn step_on(&self, point: Point) -> Option<Armed> {
        let mut armed = self.armed();
        let ambush = &mut armed.as_mut()?.ambush;
        if ambush.point != point {
            return None;
        }
        ambush.nth -= 1;
        if ambush.nth > 0 {
            return None;
        }
        armed.take()
    }

    fn armed(&self) -> MutexGuard<'_, Option<Armed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
