//! The deadline: counts the component's own computing time, not the time that it waits in host calls.

use std::time::{Duration, Instant};

use wasmtime::{CallHook, Store, UpdateDeadline};

/// How often a computing component is looked at. One ticker an engine advances the epoch at this pace.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// Why a component was stopped.
#[derive(Debug, thiserror::Error)]
#[error("deadline: the component computed for more than {0:?} (--deadline)")]
pub(super) struct DeadlineExceeded(Duration);

/// The computing time of one run.
#[derive(Debug)]
pub(super) struct ComputeClock {
    limit: Duration,
    used: Duration,
    since: Option<Instant>,
}

impl ComputeClock {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, used: Duration::ZERO, since: None }
    }

    /// Computing time so far.
    pub(super) fn used(&self) -> Duration {
        self.used
    }

    fn resume(&mut self) {
        self.since = Some(Instant::now());
    }

    fn pause(&mut self) {
        if let Some(since) = self.since.take() {
            // Looked at every tick while it computes: a longer gap is time in which the task was not scheduled.
            self.used += since.elapsed().min(TICK * 2);
        }
    }

    fn check(&self) -> wasmtime::Result<()> {
        if self.used > self.limit { Err(DeadlineExceeded(self.limit).into()) } else { Ok(()) }
    }
}

/// Arms the deadline of a store whose data has this clock.
pub(super) fn arm<T: 'static>(store: &mut Store<T>, clock: fn(&mut T) -> &mut ComputeClock) {
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |mut context| {
        let clock = clock(context.data_mut());
        clock.pause();
        clock.check()?;
        clock.resume();
        // Other instances get their turn: a computing component does not hold a thread for longer than a tick.
        Ok(UpdateDeadline::Yield(1))
    });
    store.call_hook(move |mut context, hook| {
        let clock = clock(context.data_mut());
        match hook {
            CallHook::CallingWasm | CallHook::ReturningFromHost => clock.resume(),
            CallHook::ReturningFromWasm | CallHook::CallingHost => {
                clock.pause();
                // A component that only makes short host calls never computes for a whole tick; it is caught here.
                clock.check()?;
            }
        }
        Ok(())
    });
}
