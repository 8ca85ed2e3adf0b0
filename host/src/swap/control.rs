//! What may be asked of the swapping of a host that runs, by whoever is let in (see [`crate::admin`]).

use futures_util::future::BoxFuture;
use serde_json::Value;

use super::candidate::Candidate;
use super::verdict::Verdict;

/// What the admin endpoint asks of the host.
pub trait Control: Send + Sync + 'static {
    /// Offers a component and waits for the verdict.
    fn swap(&self, candidate: Candidate) -> BoxFuture<'_, Verdict>;
    /// Statistics of the shadow component, null when there is none.
    fn shadow(&self) -> Value;
    /// What is running, what was before, and why.
    fn components(&self) -> Value;
}
