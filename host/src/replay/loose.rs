//! Another component on a recorded run: it may ask in another order, or for other things; what it asks for is looked up
//! wherever the trace has it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use serde_json::Value;

use super::decision::{ClaimedJob, Decision};
use super::limit_of;
use crate::failure::{Failure, FailureKind};
use crate::sandbox::{Call, Import, Meter, NoAnswer, Oracle, Program, RunError, Summary};
use crate::trace::{Event, Json, Trace};

/// What another component made of a recorded run.
#[derive(Debug)]
pub struct Improvised {
    /// How the run ended.
    pub result: Result<Summary, RunError>,
    /// What became of each receipt.
    pub decisions: BTreeMap<String, Decision>,
    /// Calls for which the trace has no answer.
    pub unrecorded: BTreeSet<String>,
    /// Instructions that it took.
    pub work: u64,
}

/// Replays a trace on any component. `fuel` is the most instructions that it may take.
pub async fn with_another(meter: &Meter, program: &Program, world: Loose, fuel: u64) -> Improvised {
    let start = (limit_of(&world.trace), world.trace.header.seed);
    let oracle = Arc::new(Mutex::new(world));
    let run = meter.run(program, start, fuel, Arc::clone(&oracle), None).await;
    let mut oracle = oracle.lock().unwrap_or_else(PoisonError::into_inner);
    Improvised {
        result: run.result,
        decisions: std::mem::take(&mut oracle.decisions),
        unrecorded: std::mem::take(&mut oracle.unrecorded),
        work: run.work,
    }
}

/// Answers another component with whatever the trace has for what it asks.
#[derive(Debug)]
pub struct Loose {
    trace: Arc<Trace>,
    /// Calls of the trace by import and arguments: the places that have not answered yet, and the last answer given.
    calls: BTreeMap<(String, String), (VecDeque<Json>, Option<Json>)>,
    /// Jobs of the trace that were not claimed yet.
    jobs: VecDeque<Value>,
    /// What the world said to the settling of a job.
    settled: BTreeMap<u32, Json>,
    names: BTreeMap<u32, String>,
    decisions: BTreeMap<String, Decision>,
    unrecorded: BTreeSet<String>,
    /// Responses that are not beside the trace, by digest.
    responses: BTreeMap<String, String>,
}

impl Loose {
    /// Begins.
    pub fn new(trace: Arc<Trace>) -> Self {
        let mut loose = Self {
            calls: BTreeMap::new(),
            jobs: VecDeque::new(),
            settled: BTreeMap::new(),
            names: BTreeMap::new(),
            decisions: BTreeMap::new(),
            unrecorded: BTreeSet::new(),
            responses: BTreeMap::new(),
            trace: Arc::clone(&trace),
        };
        for event in &trace.events {
            let Event::Call { import, args, result, .. } = event else { continue };
            if import == "queue.claim" {
                let jobs = result.read::<Result<VecDeque<Value>, Failure>>().ok().and_then(Result::ok);
                loose.jobs.extend(jobs.unwrap_or_default());
            } else if let Some((job, _)) = Decision::of(import, args) {
                loose.settled.insert(job, result.clone());
            } else {
                let key = (import.to_string(), args.as_str().to_owned());
                loose.calls.entry(key).or_default().0.push_back(result.clone());
            }
        }
        loose
    }

    /// Knows one more response.
    pub fn with_response(mut self, digest: &str, text: &str) -> Self {
        self.responses.insert(digest.to_owned(), text.to_owned());
        self
    }

    fn claim(&mut self, args: &Json) -> Json {
        #[derive(Deserialize)]
        struct Claim {
            limit: usize,
        }
        let limit = args.read().map_or(0, |Claim { limit }| limit).min(self.jobs.len());
        let jobs: Vec<Value> = self.jobs.drain(..limit).collect();
        let known = jobs.iter().filter_map(|job| ClaimedJob::deserialize(job).ok());
        self.names.extend(known.map(|claimed| (claimed.job, claimed.receipt_id)));
        Json::of(&Ok::<_, Failure>(jobs))
    }

    fn settle(&mut self, job: u32, decision: Decision) -> Json {
        let dropped = decision == Decision::Dropped;
        if let Some(name) = self.names.get(&job) {
            self.decisions.insert(name.clone(), decision);
        }
        match self.settled.get(&job) {
            Some(said) if !dropped && said.as_str() != "null" => said.clone(),
            _ if dropped => Json::of(&()),
            _ => Json::of(&Ok::<_, Failure>(())),
        }
    }

    fn unrecorded(&mut self, call: &Call) -> Json {
        self.unrecorded.insert(call.import.name().to_owned());
        let message = format!("the recorded run has no answer to {} {}", call.import, call.args);
        Json::of(&Err::<(), _>(Failure::new(FailureKind::Unavailable, "replay.NotRecorded", message)))
    }
}

impl Oracle for Loose {
    fn answer(&mut self, call: &Call) -> Result<Option<Json>, NoAnswer> {
        if call.import == Import::Claim {
            return Ok(Some(self.claim(&call.args)));
        }
        if let Some((job, decision)) = Decision::of(call.import.name(), &call.args) {
            return Ok(Some(self.settle(job, decision)));
        }
        let key = (call.import.name().to_owned(), call.args.as_str().to_owned());
        if let Some((answers, last)) = self.calls.get_mut(&key) {
            if let Some(answer) = answers.pop_front() {
                *last = Some(answer);
            }
            return Ok(last.clone());
        }
        Ok(match call.import.name() {
            // There was none to be looked for.
            "queue.job.stored-artifact" => Some(Json::of(&Ok::<Option<()>, Failure>(None))),
            "queue.job.image"
            | "objects.artifact.json"
            | "textract.detect-document-text"
            | "textract.analyze-expense"
            | "textract.response.json"
            | "textract.response.store" => Some(self.unrecorded(call)),
            // What the handle itself knows.
            _ => None,
        })
    }

    fn response(&mut self, digest: &str) -> Result<String, NoAnswer> {
        if let Some(text) = self.responses.get(digest) {
            return Ok(text.clone());
        }
        self.trace.response(digest).map_err(|error| NoAnswer(error.to_string()))
    }
}
