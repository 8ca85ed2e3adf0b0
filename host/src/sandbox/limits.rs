//! What one run of a component may use. Every limit that is hit has a name, so that an operator knows which flag it was.

use std::time::Duration;

use wasmtime::ResourceLimiter;

use crate::trace::Settings;

/// The limits of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory, in bytes, of each memory.
    pub memory: usize,
    /// Core instances that the component may consist of (a component built by the usual tools has three to five).
    pub instances: usize,
    /// Tables.
    pub tables: usize,
    /// Elements of one table.
    pub table_elements: usize,
    /// Live handles (jobs, images, responses, artifacts, streams).
    pub handles: usize,
    /// Bytes that one call may pass from the component to the host.
    pub host_call_bytes: usize,
    /// The component's own computing time in one run; time in host calls is not counted.
    pub deadline: Duration,
    /// Wall-clock time of a run for each of its jobs, host calls included.
    pub run_timeout: Duration,
    /// Bytes of stdout and stderr that reach the log in one run.
    pub log_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 64 * 1024 * 1024,
            instances: 16,
            tables: 16,
            table_elements: 20_000,
            handles: 1_000,
            host_call_bytes: 16 * 1024 * 1024,
            deadline: Duration::from_secs(5),
            run_timeout: Duration::from_secs(15 * 60),
            log_bytes: 64 * 1024,
        }
    }
}

impl Limits {
    /// As a trace's header has them.
    pub fn settings(&self) -> Settings {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Settings {
            memory: self.memory as u64,
            instances: self.instances as u64,
            tables: self.tables as u64,
            table_elements: self.table_elements as u64,
            handles: self.handles as u64,
            host_call_bytes: self.host_call_bytes as u64,
            deadline_ms: milliseconds(self.deadline),
            run_timeout_ms: milliseconds(self.run_timeout),
            log_bytes: self.log_bytes as u64,
        }
    }
}

impl From<&Settings> for Limits {
    /// As a run had them that is replayed.
    fn from(settings: &Settings) -> Self {
        let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Self {
            memory: count(settings.memory),
            instances: count(settings.instances),
            tables: count(settings.tables),
            table_elements: count(settings.table_elements),
            handles: count(settings.handles),
            host_call_bytes: count(settings.host_call_bytes),
            deadline: Duration::from_millis(settings.deadline_ms),
            run_timeout: Duration::from_millis(settings.run_timeout_ms),
            log_bytes: count(settings.log_bytes),
        }
    }
}

/// Enforces the limits on growth and remembers which was hit: what the component then traps with says nothing of it.
#[derive(Debug)]
pub(super) struct Limiter {
    limits: Limits,
    hit: Option<String>,
}

impl Limiter {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, hit: None }
    }

    /// The limit that was hit, in words.
    pub(super) fn hit(&self) -> Option<&str> {
        self.hit.as_deref()
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let allowed = desired <= self.limits.memory;
        if !allowed {
            self.hit = Some(format!("memory: asked for {desired} bytes, --max-memory is {}", self.limits.memory));
        }
        Ok(allowed)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let allowed = desired <= self.limits.table_elements;
        if !allowed {
            let limit = self.limits.table_elements;
            self.hit = Some(format!("table: asked for {desired} elements, --max-table-elements is {limit}"));
        }
        Ok(allowed)
    }

    fn instances(&self) -> usize {
        self.limits.instances
    }

    fn tables(&self) -> usize {
        self.limits.tables
    }

    fn memories(&self) -> usize {
        self.limits.instances
    }
}
