//! Every call of an import goes through here: it can be written to a trace, and it can be answered by an oracle (from a
//! trace, say) in place of the world. Where neither is asked for, it costs nothing.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::state::RunState;
use crate::trace::{Effect, Event, Json};

/// A call of an import.
#[derive(Debug, Clone)]
pub struct Call {
    /// Which one, e.g. `queue.job.image`.
    pub import: &'static str,
    /// What it does to the world.
    pub effect: Effect,
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

impl RunState {
    /// Begins a call; none where nobody wants to know.
    pub(super) fn call(&mut self, import: &'static str, effect: Effect, args: impl Serialize) -> Option<Call> {
        if self.tape.is_none() && self.oracle.is_none() {
            return None;
        }
        Some(Call { import, effect, args: Json::of(&args) })
    }

    /// The oracle's answer; none where the world is to be asked.
    pub(super) fn answered<A: DeserializeOwned>(&mut self, call: Option<&Call>) -> wasmtime::Result<Option<A>> {
        let (Some(oracle), Some(call)) = (&mut self.oracle, call) else { return Ok(None) };
        let Some(answer) = oracle.answer(call)? else { return Ok(None) };
        let unfit =
            |error: serde_json::Error| NoAnswer(format!("{}: the recorded result does not fit: {error}", call.import));
        Ok(Some(answer.read().map_err(unfit)?))
    }

    /// Writes a call and its result to the trace.
    pub(super) fn returned(&mut self, call: Option<Call>, result: &impl Serialize) {
        if let (Some(tape), Some(Call { import, effect, args })) = (&mut self.tape, call) {
            tape.push(Event::Call { import: import.into(), effect, args, result: Json::of(result) });
        }
    }

    /// A call that the handle itself can answer.
    pub(super) fn attribute<A: Serialize + DeserializeOwned>(
        &mut self,
        import: &'static str,
        args: impl Serialize,
        value: A,
    ) -> wasmtime::Result<A> {
        let call = self.call(import, Effect::None, args);
        let value = self.answered(call.as_ref())?.unwrap_or(value);
        self.returned(call, &value);
        Ok(value)
    }

    /// The number of a new handle: by it a trace names the handle, for as long as the run lasts.
    pub(super) fn next_handle(&mut self) -> u32 {
        self.handles += 1;
        self.handles
    }
}
