//! A recorded run as a story: what became of each of its jobs, and why.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::Decision;
use crate::failure::Failure;
use crate::trace::{Event, FailedHow, Json, Trace, TraceError};

/// A recorded run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Story {
    /// SHA-256 of the component.
    pub component: String,
    /// Version of the contract.
    pub contract: String,
    /// Version of the host.
    pub host: String,
    /// When it began, in UTC.
    pub started: String,
    /// How many values are masked; none where nothing was to be masked.
    pub masked: Option<usize>,
    /// Whether all of the run was recorded.
    pub complete: bool,
    /// Its jobs, as they were claimed.
    pub jobs: Vec<JobStory>,
    /// How it ended.
    pub end: RunStory,
}

/// What became of one job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobStory {
    /// The queue row's id.
    pub id: u64,
    /// The receipt's id.
    pub receipt_id: String,
    /// Which attempt it was, from 1.
    pub attempt: u32,
    /// How many it may have.
    pub max_attempts: u32,
    /// The image, where it was fetched.
    pub image: Option<ImageStory>,
    /// The OCR response that the component read last.
    pub ocr: Option<OcrStory>,
    /// Key of the artifact that was stored in this run.
    pub stored: Option<String>,
    /// Calls about it that failed, in order.
    pub failures: Vec<CallFailure>,
    /// What the component decided; none where the run ended before that.
    pub decision: Option<Decision>,
    /// Whether the decision took effect.
    pub settled: bool,
    /// The handle's number in the trace.
    #[serde(skip)]
    job: u32,
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageStory {
    /// Media type.
    pub content_type: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256.
    pub digest: String,
    #[serde(skip_serializing)]
    image: u32,
}

/// An OCR response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OcrStory {
    /// Whether an earlier attempt had stored it, so that nothing was paid.
    pub from_artifact: bool,
    /// SHA-256.
    pub response: String,
    /// Bytes.
    pub bytes: u64,
}

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CallFailure {
    /// The import.
    pub import: String,
    /// Why.
    pub failure: Failure,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunStory {
    /// The component returned this.
    Returned(Json),
    /// It did not return.
    Failed {
        /// What ended it.
        how: FailedHow,
        /// Why.
        message: String,
    },
    /// The trace ends before the run.
    Unknown,
}

impl Story {
    /// Reads the story out of a trace.
    pub fn of(trace: &Trace) -> Self {
        let header = &trace.header;
        let masked = trace.events.iter().filter(|event| matches!(event, Event::Masked { .. })).count();
        let mut teller = Teller::default();
        let mut end = RunStory::Unknown;
        for event in &trace.events {
            match event {
                Event::Call { import, args, result, .. } => teller.call(import, args, result),
                Event::Return { result, .. } => end = RunStory::Returned(result.clone()),
                Event::Failed { how, message } => end = RunStory::Failed { how: *how, message: message.clone() },
                Event::Header(_) | Event::Enter { .. } | Event::Masked { .. } | Event::End { .. } => {}
            }
        }
        Self {
            component: header.component.clone(),
            contract: header.contract.clone(),
            host: header.host.clone(),
            started: header.started.clone(),
            masked: header.redacted.then_some(masked),
            complete: trace.complete,
            jobs: teller.jobs,
            end,
        }
    }
}

impl JobStory {
    /// What became of it, in words.
    pub fn outcome(&self) -> String {
        match &self.decision {
            None => "not decided".to_owned(),
            Some(decision) if self.settled => decision.in_words(),
            Some(decision) => format!("{}, which did not take effect", decision.in_words()),
        }
    }

    /// The parts of the story that contain this text, whatever its case, by name.
    pub fn mentions(&self, text: &str) -> Vec<&'static str> {
        let text = text.to_lowercase();
        let has = |value: &str| value.to_lowercase().contains(&text);
        let failed = |failure: &Failure| has(failure.kind.as_str()) || has(&failure.code) || has(&failure.message);
        let vendor = match &self.decision {
            Some(Decision::Complete(reading)) => reading.vendor.as_deref(),
            _ => None,
        };
        let decided = match &self.decision {
            Some(Decision::Retry { failure, .. } | Decision::DeadLetter { failure }) => failed(failure),
            _ => false,
        };
        let mut found = Vec::new();
        found.extend(has(&self.receipt_id).then_some("receipt"));
        found.extend(vendor.is_some_and(has).then_some("vendor"));
        found.extend((decided || self.failures.iter().any(|call| failed(&call.failure))).then_some("failure"));
        found
    }

    /// Whether the receipt's text, as OCR gave it, contains this, whatever its case. False where there was no OCR.
    ///
    /// Fails where the response beside the trace is missing or not what was recorded.
    pub fn text_mentions(&self, trace: &Trace, text: &str) -> Result<bool, TraceError> {
        #[derive(Deserialize)]
        struct Response {
            #[serde(rename = "Blocks", default)]
            blocks: Vec<Block>,
            #[serde(rename = "ExpenseDocuments", default)]
            documents: Vec<Self>,
        }
        #[derive(Deserialize)]
        struct Block {
            #[serde(rename = "Text")]
            text: Option<String>,
        }
        let Some(ocr) = &self.ocr else { return Ok(false) };
        let json = trace.response(&ocr.response)?;
        let text = text.to_lowercase();
        let has = |block: &Block| block.text.as_ref().is_some_and(|found| found.to_lowercase().contains(&text));
        Ok(match serde_json::from_str::<Response>(&json) {
            Ok(Response { blocks, documents }) => {
                blocks.iter().chain(documents.iter().flat_map(|document| &document.blocks)).any(has)
            }
            // What is no response may be what is looked for.
            Err(_) => json.to_lowercase().contains(&text),
        })
    }
}

/// Follows the handles, so that each call is told of the job that it was about.
#[derive(Default)]
struct Teller {
    jobs: Vec<JobStory>,
    images: HashMap<u32, u32>,
    responses: HashMap<u32, u32>,
    artifacts: HashMap<u32, u32>,
}

/// Handles among a call's arguments.
#[derive(Default, Deserialize)]
struct Handles {
    job: Option<u32>,
    image: Option<u32>,
    response: Option<u32>,
    artifact: Option<u32>,
}

#[derive(Deserialize)]
struct Claimed {
    job: u32,
    id: u64,
    receipt_id: String,
    attempt: u32,
    max_attempts: u32,
}

#[derive(Deserialize)]
struct Artifact {
    artifact: u32,
    key: String,
}

#[derive(Deserialize)]
struct Body {
    response: String,
    bytes: u64,
}

impl Teller {
    fn call(&mut self, import: &str, args: &Json, result: &Json) {
        if import == "queue.claim" {
            self.jobs.extend(answer::<Vec<Claimed>>(result).unwrap_or_default().into_iter().map(JobStory::from));
            return;
        }
        let handles: Handles = args.read().unwrap_or_default();
        let by_image = || self.images.get(&handles.image?);
        let by_response = || self.responses.get(&handles.response?);
        let by_artifact = || self.artifacts.get(&handles.artifact?);
        let number = handles.job.or_else(|| by_image().or_else(by_response).or_else(by_artifact).copied());
        let Some(number) = number else { return };
        let Some(job) = self.jobs.iter_mut().find(|job| job.job == number) else { return };
        if let Ok(Err(failure)) = result.read::<Result<serde::de::IgnoredAny, Failure>>() {
            job.failures.push(CallFailure { import: import.to_owned(), failure });
        }
        if let Some((_, decision)) = Decision::of(import, args)
            && job.decision.is_none()
        {
            job.settled = answer::<()>(result).is_some() || matches!(decision, Decision::Dropped);
            job.decision = Some(decision);
            return;
        }
        match import {
            "queue.job.image" => {
                job.image = answer(result);
                self.images.extend(job.image.iter().map(|image| (image.image, number)));
            }
            "queue.job.stored-artifact" => {
                let artifact = answer::<Option<Artifact>>(result).flatten();
                self.artifacts.extend(artifact.map(|found| (found.artifact, number)));
            }
            "textract.detect-document-text" | "textract.analyze-expense" => {
                self.responses.extend(answer::<u32>(result).map(|response| (response, number)));
            }
            "textract.response.store" => {
                if let Some(Artifact { artifact, key }) = answer(result) {
                    self.artifacts.insert(artifact, number);
                    job.stored = Some(key);
                }
            }
            "textract.response.json" | "objects.artifact.json" => {
                if let Some(Body { response, bytes }) = answer(result) {
                    let from_artifact = import == "objects.artifact.json" && job.stored.is_none();
                    job.ocr = Some(OcrStory { from_artifact, response, bytes });
                }
            }
            _ => {}
        }
    }
}

impl From<Claimed> for JobStory {
    fn from(claimed: Claimed) -> Self {
        let Claimed { job, id, receipt_id, attempt, max_attempts } = claimed;
        Self {
            id,
            receipt_id,
            attempt,
            max_attempts,
            image: None,
            ocr: None,
            stored: None,
            failures: Vec::new(),
            decision: None,
            settled: false,
            job,
        }
    }
}

fn answer<'de, T: Deserialize<'de>>(result: &'de Json) -> Option<T> {
    result.read::<Result<T, serde::de::IgnoredAny>>().ok()?.ok()
}
