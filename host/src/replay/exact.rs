//! The same component on the same trace: the same calls with the same arguments, the same result.

use std::sync::{Arc, Mutex, PoisonError};

use super::input_of;
use crate::failure::Failure;
use crate::sandbox::{Call, Meter, NoAnswer, Oracle, Program, RunError, Summary};
use crate::trace::{Event, FailedHow, Json, Recorder, Trace};

/// Instructions that a second of computing comes to, at most, on any machine.
const INSTRUCTIONS_A_SECOND: u64 = 8_000_000_000;

/// Enough for every run that did not compute for very long. Where it is not, the replay begins again with more, so that an
/// endless loop is never burnt through to the end of what its deadline allows.
const FIRST_FUEL: u64 = 500_000_000;

/// How much more it is each time.
const MORE_FUEL: u64 = 8;

/// The first place where a replay is not as recorded.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Mismatch {
    /// Number of the event in the trace.
    pub event: u64,
    /// What the trace has there.
    pub expected: String,
    /// What the component did.
    pub found: String,
}

/// What a replay came to.
#[derive(Debug, Clone)]
pub struct Replayed {
    /// None where all was as recorded.
    pub mismatch: Option<Mismatch>,
    /// A response that the trace names and that is not as it was recorded: file, line and problem. Nothing can be said of
    /// the component then.
    pub unreadable: Option<String>,
    /// Events that were as recorded.
    pub events: u64,
    /// Instructions that the component took.
    pub work: u64,
}

/// Replays a trace on the component that was recorded. `record` writes the replay down as a trace of its own.
pub async fn exactly(meter: &Meter, program: &Program, trace: Arc<Trace>, record: Option<&Recorder>) -> Replayed {
    exactly_by(meter, program, trace, record, |exact| exact).await
}

/// The same through an oracle that asks the one it is made of, and may look at what it says. The replay can begin again
/// from the first event; then another one is made.
pub async fn exactly_by<O: Oracle + 'static>(
    meter: &Meter,
    program: &Program,
    trace: Arc<Trace>,
    record: Option<&Recorder>,
    oracle: impl Fn(Arc<Mutex<Exact>>) -> O,
) -> Replayed {
    let input = input_of(&trace);
    let most = fuel_for(&trace);
    let mut fuel = FIRST_FUEL.min(most);
    loop {
        let exact = Arc::new(Mutex::new(Exact::new(Arc::clone(&trace))));
        let run = meter.run(program, input, fuel, oracle(Arc::clone(&exact)), record).await;
        let mut exact = exact.lock().unwrap_or_else(PoisonError::into_inner);
        let starved = fuel < most && matches!(run.result, Err(RunError::Fuel(_)));
        if !starved || exact.at_a_stop() {
            return exact.end(&run.result, run.work);
        }
        fuel = fuel.saturating_mul(MORE_FUEL).min(most);
    }
}

/// Instructions for all the time that the run had.
fn fuel_for(trace: &Trace) -> u64 {
    let milliseconds = trace.header.settings.deadline_ms.clamp(1_000, 600_000);
    milliseconds.saturating_mul(INSTRUCTIONS_A_SECOND / 1_000)
}

/// Answers each call with what the trace has next, if it is the call that the trace has next.
#[derive(Debug)]
pub struct Exact {
    trace: Arc<Trace>,
    next: usize,
    mismatch: Option<Mismatch>,
    unreadable: Option<String>,
}

impl Exact {
    /// Begins at the first call.
    pub fn new(trace: Arc<Trace>) -> Self {
        let next = trace.events.iter().take_while(|event| matches!(event, Event::Enter { .. })).count();
        Self { trace, next, mismatch: None, unreadable: None }
    }

    /// Whether the run was stopped at this point from outside, at a moment that no replay can know.
    fn at_a_stop(&self) -> bool {
        match self.trace.events.get(self.next) {
            Some(
                Event::Failed { how: FailedHow::Trap | FailedHow::Limit, .. }
                | Event::Return { .. }
                | Event::Masked { .. },
            )
            | None => {
                // Calls are missing before the end.
                !self.trace.complete
            }
            Some(Event::Failed { .. }) => true,
            Some(_) => false,
        }
    }

    /// Number of the event before the next one.
    pub fn position(&self) -> usize {
        self.next
    }

    /// Compares the end.
    fn end(&mut self, result: &Result<Summary, RunError>, work: u64) -> Replayed {
        if self.mismatch.is_none() && self.unreadable.is_none() && !self.at_a_stop() {
            self.compare_end(result);
        }
        let (mismatch, unreadable) = (self.mismatch.take(), self.unreadable.take());
        Replayed { mismatch, unreadable, events: self.next as u64, work }
    }

    fn compare_end(&mut self, result: &Result<Summary, RunError>) {
        let found = match result {
            Ok(summary) => returned(&Ok::<_, Failure>(summary)),
            Err(RunError::Reported(failure)) => returned(&Err::<Summary, _>(failure)),
            Err(RunError::Trap(_)) => failed(FailedHow::Trap, result),
            Err(_) => failed(FailedHow::Limit, result),
        };
        let expected = self.trace.events.get(self.next);
        if expected == Some(&found) {
            self.next += 1;
        } else {
            self.differs(&found);
        }
    }

    fn differs(&mut self, found: &Event) {
        let n = self.next as u64 + 1;
        let expected = self.trace.events.get(self.next);
        let expected = expected.map_or_else(|| "the end of the trace".to_owned(), describe);
        self.mismatch = Some(Mismatch { event: n, expected, found: describe(found) });
    }
}

impl Oracle for Exact {
    fn answer(&mut self, call: &Call) -> Result<Option<Json>, NoAnswer> {
        match self.trace.events.get(self.next) {
            Some(Event::Call { import, args, result, .. }) if *import == call.import.name() && *args == call.args => {
                self.next += 1;
                Ok(Some(result.clone()))
            }
            _ if self.at_a_stop() => Err(NoAnswer("the recorded run was stopped here".to_owned())),
            _ => {
                let (import, effect, args) = (call.import.name(), call.import.effect(), call.args.clone());
                // The result is not known: the trace's own call, if it is one, has it.
                self.differs(&Event::Call { import: import.into(), effect, args, result: Json::of(&()) });
                Err(NoAnswer("the replay is not as recorded".to_owned()))
            }
        }
    }

    fn response(&mut self, digest: &str) -> Result<String, NoAnswer> {
        self.trace.response(digest).map_err(|error| {
            // The header is line 1, and the call that wants it was answered just now.
            let line = self.next + 1;
            let problem = format!("{}, line {line}: {error}", self.trace.path.display());
            self.unreadable = Some(problem.clone());
            NoAnswer(problem)
        })
    }
}

fn returned(result: &impl serde::Serialize) -> Event {
    Event::Return { export: "worker.run".into(), result: Json::of(result) }
}

fn failed(how: FailedHow, result: &Result<Summary, RunError>) -> Event {
    Event::Failed { how, message: result.as_ref().err().map(ToString::to_string).unwrap_or_default() }
}

/// An event as one line for a person; a call without its result, which is the world's.
fn describe(event: &Event) -> String {
    match event {
        Event::Call { import, args, .. } => format!("{import} {args}"),
        Event::Return { export, result } => format!("{export} returns {result}"),
        Event::Failed { message, .. } => format!("the run fails: {message}"),
        Event::Enter { export, args } => format!("{export} {args} is called"),
        Event::Header(_) | Event::Masked { .. } | Event::End { .. } => "the end of the run".to_owned(),
    }
}
