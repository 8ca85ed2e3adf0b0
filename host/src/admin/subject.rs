//! What the endpoint shows and steers. It is there before the worker is, so that whoever runs the host can see it start.

use std::sync::{Arc, OnceLock};

use crate::health::Health;
use crate::swap::Control;
use crate::telemetry::metrics::Metrics;

/// Shared with the worker; cheap to clone.
#[derive(Clone, Default)]
pub struct Subject {
    pub metrics: Arc<Metrics>,
    pub health: Arc<Health>,
    control: Arc<OnceLock<Arc<dyn Control>>>,
}

impl Subject {
    /// From now on its components can be swapped and shown.
    pub fn controlled_by(&self, control: Arc<dyn Control>) {
        let _ = self.control.set(control);
    }

    /// None while the host is starting.
    pub(super) fn control(&self) -> Option<Arc<dyn Control>> {
        self.control.get().cloned()
    }
}
