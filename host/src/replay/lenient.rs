//! Another component on a recorded run: it may ask in another order, or for other things; what it asks for is looked up
//! wherever the trace has it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use super::decision::Decision;
use super::input_of;
use super::recorded::{self, UnreadableCall};
use crate::failure::{Failure, FailureKind};
use crate::sandbox::{AnyCall, Call, Import, JobInfo, Meter, NoAnswer, Oracle, Program, RunError, Summary, import};
use crate::trace::{Json, Trace};

/// What another component made of a recorded run.
#[derive(Debug)]
pub struct Improvised {
    /// How the run ended.
    pub result: Result<Summary, RunError>,
    /// What became of each receipt.
    pub decisions: BTreeMap<String, Decision>,
    /// Calls for which the trace has no answer.
    pub unrecorded: BTreeSet<Import>,
    /// Instructions that it took.
    pub work: u64,
}

/// Replays a trace on any component. `fuel` is the most instructions that it may take.
pub async fn with_another(meter: &Meter, program: &Program, world: LenientReplay, fuel: u64) -> Improvised {
    let input = input_of(&world.trace);
    let oracle = Arc::new(Mutex::new(world));
    let run = meter.run(program, input, fuel, Arc::clone(&oracle), None).await;
    let mut oracle = oracle.lock().unwrap_or_else(PoisonError::into_inner);
    Improvised {
        result: run.result,
        decisions: std::mem::take(&mut oracle.decisions),
        unrecorded: std::mem::take(&mut oracle.unrecorded),
        work: run.work,
    }
}

/// Answers another component with whatever the trace has for what it asks.
#[derive(Debug, Clone)]
pub struct LenientReplay {
    trace: Arc<Trace>,
    /// Calls of the trace by import and arguments.
    calls: BTreeMap<(Import, String), Answers>,
    /// Jobs of the trace that were not claimed yet.
    jobs: VecDeque<JobInfo>,
    /// What the world said to the settling of a job.
    settled: BTreeMap<u32, Json>,
    names: BTreeMap<u32, String>,
    decisions: BTreeMap<String, Decision>,
    unrecorded: BTreeSet<Import>,
    /// Responses that are not beside the trace, by digest.
    responses: BTreeMap<String, String>,
}

/// What the trace has to one call.
#[derive(Debug, Clone, Default)]
struct Answers {
    /// Answers that were not given yet.
    left: VecDeque<Json>,
    /// The answer that was given last.
    last: Option<Json>,
}

impl LenientReplay {
    /// Begins.
    ///
    /// Fails where a call of the trace cannot be read.
    pub fn new(trace: Arc<Trace>) -> Result<Self, UnreadableCall> {
        let mut calls = BTreeMap::<_, Answers>::new();
        let (mut jobs, mut settled) = (VecDeque::new(), BTreeMap::new());
        for recorded in recorded::calls(&trace) {
            let recorded = recorded?;
            if let AnyCall::Claim(claim) = &recorded.call {
                jobs.extend(recorded.answer(claim)?.unwrap_or_default());
            } else if let Some((job, _)) = Decision::of(&recorded.call) {
                settled.insert(job, recorded.result.clone());
            } else {
                let key = (recorded.import, recorded.args.as_str().to_owned());
                calls.entry(key).or_default().left.push_back(recorded.result.clone());
            }
        }
        Ok(Self {
            trace,
            calls,
            jobs,
            settled,
            names: BTreeMap::new(),
            decisions: BTreeMap::new(),
            unrecorded: BTreeSet::new(),
            responses: BTreeMap::new(),
        })
    }

    /// Knows one more response.
    pub fn with_response(mut self, digest: &str, text: &str) -> Self {
        self.responses.insert(digest.to_owned(), text.to_owned());
        self
    }

    fn claim(&mut self, limit: u32) -> Json {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).min(self.jobs.len());
        let jobs: Vec<JobInfo> = self.jobs.drain(..limit).collect();
        self.names.extend(jobs.iter().map(|job| (job.job, job.receipt_id.clone())));
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

    /// The answer where the trace has none. None where the handle itself knows it.
    fn unrecorded(&mut self, call: &Call) -> Option<Json> {
        let message = format!("the recorded run has no answer to {} {}", call.import, call.args);
        let failure = Failure::new(FailureKind::Unavailable, "replay.NotRecorded", message);
        let answer = call.import.failed(failure)?;
        self.unrecorded.insert(call.import);
        Some(answer)
    }
}

impl Oracle for LenientReplay {
    fn answer(&mut self, call: &Call) -> Result<Option<Json>, NoAnswer> {
        let asked = AnyCall::read(call.import, &call.args)
            .map_err(|error| NoAnswer(format!("{} {}: {error}", call.import, call.args)))?;
        if let AnyCall::Claim(import::Claim { limit }) = asked {
            return Ok(Some(self.claim(limit)));
        }
        if let Some((job, decision)) = Decision::of(&asked) {
            return Ok(Some(self.settle(job, decision)));
        }
        if let Some(Answers { left, last }) = self.calls.get_mut(&(call.import, call.args.as_str().to_owned())) {
            if let Some(answer) = left.pop_front() {
                *last = Some(answer);
            }
            return Ok(last.clone());
        }
        if matches!(asked, AnyCall::FindArtifact(_)) {
            // There was none to be looked for.
            return Ok(Some(Json::of(&Ok::<Option<()>, Failure>(None))));
        }
        Ok(self.unrecorded(call))
    }

    fn response(&mut self, digest: &str) -> Result<String, NoAnswer> {
        if let Some(text) = self.responses.get(digest) {
            return Ok(text.clone());
        }
        self.trace.response(digest).map_err(|error| NoAnswer(error.to_string()))
    }
}
