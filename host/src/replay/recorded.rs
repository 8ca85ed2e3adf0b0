//! The calls of a recorded run, as this host understands them.

use std::path::PathBuf;

use crate::sandbox::{AnyCall, CONTRACT_VERSION, Import, ImportCall};
use crate::trace::{Event, Header, Json, Trace};

/// A recorded call that this host cannot read: another version wrote it, or somebody made it up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}, line {line}: {problem}", path.display())]
pub struct UnreadableCall {
    /// The trace.
    pub path: PathBuf,
    /// The line in it, from 1.
    pub line: usize,
    /// Which call it is, what of it cannot be read, why, and who wrote it.
    pub problem: String,
}

/// A recorded call.
pub(super) struct Recorded<'a> {
    pub(super) import: Import,
    pub(super) call: AnyCall,
    pub(super) args: &'a Json,
    pub(super) result: &'a Json,
    trace: &'a Trace,
    line: usize,
}

impl Recorded<'_> {
    /// What was answered to it.
    pub(super) fn answer<C: ImportCall>(&self, call: &C) -> Result<C::Answer, UnreadableCall> {
        let problem = |error| format!("its result cannot be read: {error}");
        call.answer(self.result).map_err(|error| unreadable(self.trace, self.line, self.import.name(), &problem(error)))
    }
}

/// All calls, in their order.
pub(super) fn calls(trace: &Trace) -> impl Iterator<Item = Result<Recorded<'_>, UnreadableCall>> {
    // The header is the first line.
    (2..).zip(&trace.events).filter_map(move |(line, event)| {
        let Event::Call { import: name, args, result, .. } = event else { return None };
        let problem = |problem: &str| unreadable(trace, line, name, problem);
        let Some(import) = Import::of(name) else {
            return Some(Err(problem("this host knows no such import")));
        };
        let call =
            AnyCall::read(import, args).map_err(|error| problem(&format!("its arguments cannot be read: {error}")));
        Some(call.map(|call| Recorded { import, call, args, result, trace, line }))
    })
}

fn unreadable(trace: &Trace, line: usize, import: &str, problem: &str) -> UnreadableCall {
    let Header { host, contract, .. } = &trace.header;
    let this = env!("CARGO_PKG_VERSION");
    let problem = format!(
        "{import}: {problem}; it was recorded by host {host} for contract {contract}, and this is host {this} with contract \
         {CONTRACT_VERSION}"
    );
    UnreadableCall { path: trace.path.clone(), line, problem }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::super::{LenientReplay, Story, decisions_of};
    use crate::sandbox::Limits;
    use crate::trace::{Effect, Event, Header, Trace};
    use std::path::PathBuf;
    use std::sync::Arc;

    fn problems(event: Event) -> [String; 3] {
        let header = Header::new("c", "0.9.0", 1, Limits::default().settings());
        let trace = Trace { path: PathBuf::from("t"), header, events: vec![event], complete: true };
        [
            Story::of(&trace).unwrap_err(),
            decisions_of(&trace).unwrap_err(),
            LenientReplay::new(Arc::new(trace)).unwrap_err(),
        ]
        .map(|error| error.to_string())
    }

    #[test]
    fn a_receipt_that_cannot_be_read_is_an_error_and_no_empty_reading() {
        let args = json!({ "job": 1, "artifact": 2, "receipt": { "vendor": null, "sum": 5 } });
        for problem in problems(Event::call("queue.job.complete", Effect::Write, &args, &Ok::<_, ()>(()))) {
            assert!(problem.starts_with("t, line 2: queue.job.complete: its arguments cannot be read: "), "{problem}");
            assert!(problem.contains("for contract 0.9.0, and this is"), "{problem}");
        }
    }

    #[test]
    fn a_call_that_this_host_does_not_know_is_an_error() {
        for problem in problems(Event::call("queue.job.sing", Effect::Write, &json!({}), &json!(null))) {
            assert!(problem.starts_with("t, line 2: queue.job.sing: this host knows no such import"), "{problem}");
        }
    }

    #[test]
    fn a_claim_that_cannot_be_read_is_an_error() {
        let result = json!({ "Ok": [{ "job": 1 }] });
        for problem in problems(Event::call("queue.claim", Effect::Write, &json!({ "limit": 1 }), &result)) {
            assert!(problem.contains("queue.claim: its result cannot be read: missing field"), "{problem}");
        }
    }
}
