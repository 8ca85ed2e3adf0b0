//! What a function is told.

use std::time::Duration;

use crate::worker::WorkerSettings;

/// What the worker of each invocation is told, read anew for each: whatever it takes to read it (a secret, say) ends with the
/// invocation, too.
pub trait Configured: Send + Sync + 'static {
    /// Or what is wrong with it, and what to do.
    fn worker(&self) -> impl Future<Output = Result<WorkerSettings, String>>;
}

/// How a function works.
#[derive(Debug, Clone, Copy)]
pub struct FunctionSettings {
    /// For how long a scheduled invocation goes on looking after the queue was empty; none for not at all.
    pub linger: Option<Duration>,
    /// Before an invocation's deadline no receipt is begun for so long.
    pub spare: Duration,
}
