//! The trap that is set at a fault point, for one host to run into.

use std::collections::VecDeque;
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

/// Ambushes one after the other; each springs once.
#[derive(Default)]
pub(super) struct Trap(Mutex<VecDeque<Armed>>);

struct Armed {
    ambush: Ambush,
    sprung: oneshot::Sender<usize>,
}

impl Trap {
    /// Sets one behind those that are set already; the answer is the host that ran into it.
    pub(super) fn set(&self, ambush: Ambush) -> oneshot::Receiver<usize> {
        let (sprung, victim) = oneshot::channel();
        self.armed().push_back(Armed { ambush, sprung });
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
        let ambush = &mut armed.front_mut()?.ambush;
        if ambush.point != point {
            return None;
        }
        ambush.nth -= 1;
        if ambush.nth > 0 {
            return None;
        }
        armed.pop_front()
    }

    fn armed(&self) -> MutexGuard<'_, VecDeque<Armed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
