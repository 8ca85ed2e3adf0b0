//! Who answers a component's calls in place of the world.

use std::sync::{Arc, Mutex, PoisonError};

use super::import::Import;
use crate::trace::Json;

/// A call of an import.
#[derive(Debug, Clone)]
pub struct Call {
    /// Which one.
    pub import: Import,
    /// Its arguments, as JSON; handles by their numbers.
    pub args: Json,
}

/// Why an oracle has no answer; ends the run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoAnswer(pub String);

/// Answers a component's calls in place of the world.
pub trait Oracle: Send {
    /// The result of a call, as JSON. None where the handle itself can say it (a job's attempt, an image's size).
    fn answer(&mut self, call: &Call) -> Result<Option<Json>, NoAnswer>;

    /// The text of an OCR response that an answer named by its digest.
    fn response(&mut self, digest: &str) -> Result<String, NoAnswer>;
}

/// So that whoever asks for a run keeps hold of its oracle.
impl<O: Oracle> Oracle for Arc<Mutex<O>> {
    fn answer(&mut self, call: &Call) -> Result<Option<Json>, NoAnswer> {
        self.lock().unwrap_or_else(PoisonError::into_inner).answer(call)
    }

    fn response(&mut self, digest: &str) -> Result<String, NoAnswer> {
        self.lock().unwrap_or_else(PoisonError::into_inner).response(digest)
    }
}
