//! The trace of a run while it runs: keeps what happens, and leaves all work on it to the recorder's thread.

use std::sync::Arc;

use super::event::{Event, FailedHow};
use super::handover::{Run, Shared};
use crate::storage::digest_of;

/// What an event costs in memory beside its texts.
const EVENT_BYTES: u64 = 128;

/// The trace of one run, while it runs. Dropped unfinished, it is a trace of a run that was stopped, or that the host
/// failed in.
#[derive(Debug)]
pub struct TraceBuilder {
    /// None where recording is off, and after the end.
    pub(super) run: Option<Run>,
    shared: Arc<Shared>,
}

impl TraceBuilder {
    pub(super) fn new(run: Option<Run>, shared: Arc<Shared>) -> Self {
        Self { run, shared }
    }

    /// Adds what happened next. Header and end are the recorder's own. How a run ended is kept however long it was.
    pub fn push(&mut self, event: Event) {
        let most = self.shared.settings.per_run_bytes;
        let is_last = matches!(event, Event::Return { .. } | Event::Failed { .. });
        if let Some(run) = &mut self.run
            && (run.has_room(size(&event), most) || is_last)
        {
            run.events.push(event);
        }
    }

    /// Keeps an OCR response beside the trace; returns the digest by which events name it.
    pub fn attach(&mut self, body: &Arc<[u8]>) -> String {
        let Some(run) = &mut self.run else { return digest_of(body) };
        if let Some((digest, _)) = run.bodies.iter().find(|(_, known)| Arc::ptr_eq(known, body)) {
            return digest.clone();
        }
        let digest = digest_of(body);
        let known = run.bodies.iter().any(|(known, _)| *known == digest);
        if !known && run.has_room(body.len() as u64, self.shared.settings.per_run_bytes) {
            run.bodies.push((digest.clone(), Arc::clone(body)));
        }
        digest
    }

    /// Whether anything is kept: where not, making events is a waste.
    pub fn is_on(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.complete)
    }

    /// Hands the trace over to be written. Never waits: where too many wait already, this one is dropped.
    pub fn finish(mut self) {
        if let Some(run) = self.run.take() {
            self.shared.send(run);
        }
    }
}

impl Drop for TraceBuilder {
    fn drop(&mut self) {
        let (how, message) = match std::thread::panicking() {
            false => (FailedHow::Cancelled, "the host stopped the run"),
            true => (FailedHow::Panic, "the host failed in the run"),
        };
        self.push(Event::Failed { how, message: message.to_owned() });
        if let Some(run) = self.run.take() {
            self.shared.send(run);
        }
    }
}

fn size(event: &Event) -> u64 {
    let texts = match event {
        Event::Enter { args, .. } => args.as_str().len(),
        Event::Call { args, result, .. } => args.as_str().len() + result.as_str().len(),
        Event::Return { result, .. } => result.as_str().len(),
        Event::Failed { message, .. } => message.len(),
        Event::Header(_) | Event::Masked { .. } | Event::End { .. } => 0,
    };
    EVENT_BYTES + texts as u64
}
