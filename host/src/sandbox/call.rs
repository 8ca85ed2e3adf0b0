//! The one way of every call of an import: an oracle (a trace, say) answers it, or else the world does, and it is written to
//! the run's trace. Where nobody records and no oracle answers, that costs nothing.

use super::import::ImportCall;
use super::oracle::{Call, NoAnswer};
use super::state::RunState;
use crate::trace::{Event, Json};

impl RunState {
    /// Makes a call. `live` asks the world.
    pub(super) async fn call<C: ImportCall>(
        &mut self,
        call: C,
        live: impl AsyncFnOnce(&mut Self) -> C::Answer,
    ) -> wasmtime::Result<C::Answer> {
        let wanted = self.tape.is_some() || self.oracle.is_some();
        let noted = wanted.then(|| Call { import: C::IMPORT, args: Json::of(&call) });
        let answer = match self.answered(&call, noted.as_ref())? {
            Some(answer) => answer,
            None => live(self).await,
        };
        if let (Some(tape), Some(Call { import, args })) = (&mut self.tape, noted) {
            let (import, effect, result) = (import.name().into(), import.effect(), Json::of(&answer));
            tape.push(Event::Call { import, effect, args, result });
        }
        Ok(answer)
    }

    /// The oracle's answer; none where the world is to be asked.
    fn answered<C: ImportCall>(&mut self, call: &C, noted: Option<&Call>) -> wasmtime::Result<Option<C::Answer>> {
        let (Some(oracle), Some(noted)) = (&mut self.oracle, noted) else { return Ok(None) };
        let Some(recorded) = oracle.answer(noted)? else { return Ok(None) };
        let unfit = |error| NoAnswer(format!("{}: the recorded result does not fit: {error}", noted.import));
        Ok(Some(call.answer(&recorded).map_err(unfit)?))
    }

    /// The number of a new handle: by it a trace names the handle, for as long as the run lasts.
    pub(super) fn next_handle(&mut self) -> u32 {
        self.handles += 1;
        self.handles
    }
}
