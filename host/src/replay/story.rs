//! A recorded run as a story: what became of each of its jobs, and why.

use std::collections::HashMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::Decision;
use super::recorded::{Recorded, UnreadableCall, calls};
use crate::failure::Failure;
use crate::sandbox::{AnyCall, ArtifactInfo, ImageInfo, JobInfo, TextInfo};
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageStory {
    /// Media type.
    pub content_type: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256.
    pub digest: String,
}

impl From<ImageInfo> for ImageStory {
    fn from(image: ImageInfo) -> Self {
        let ImageInfo { content_type, size, digest, .. } = image;
        Self { content_type, size, digest }
    }
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
    ///
    /// Fails where a call cannot be read.
    pub fn of(trace: &Trace) -> Result<Self, UnreadableCall> {
        let header = &trace.header;
        let masked = trace.events.iter().filter(|event| matches!(event, Event::Masked { .. })).count();
        let mut teller = Teller::default();
        for recorded in calls(trace) {
            teller.call(&recorded?)?;
        }
        let mut end = RunStory::Unknown;
        for event in &trace.events {
            match event {
                Event::Return { result, .. } => end = RunStory::Returned(result.clone()),
                Event::Failed { how, message } => end = RunStory::Failed { how: *how, message: message.clone() },
                Event::Call { .. }
                | Event::Header(_)
                | Event::Enter { .. }
                | Event::Masked { .. }
                | Event::End { .. } => {}
            }
        }
        Ok(Self {
            component: header.component.clone(),
            contract: header.contract.clone(),
            host: header.host.clone(),
            started: header.started.clone(),
            masked: header.redacted.then_some(masked),
            complete: trace.complete,
            jobs: teller.jobs,
            end,
        })
    }
}

impl JobStory {
    /// Notes a response that the component was given.
    fn read(&mut self, answer: Result<TextInfo, Failure>, from_artifact: bool) {
        if let Ok(TextInfo { response, bytes }) = answer {
            self.ocr = Some(OcrStory { from_artifact, response, bytes });
        }
    }

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

impl Teller {
    fn call(&mut self, recorded: &Recorded<'_>) -> Result<(), UnreadableCall> {
        if let AnyCall::Claim(call) = &recorded.call {
            self.jobs.extend(recorded.answer(call)?.unwrap_or_default().into_iter().map(JobStory::from));
            return Ok(());
        }
        let Some(number) = self.about(recorded) else { return Ok(()) };
        let Some(job) = self.jobs.iter_mut().find(|job| job.job == number) else { return Ok(()) };
        if let Ok(Err(failure)) = recorded.result.read::<Result<IgnoredAny, Failure>>() {
            job.failures.push(CallFailure { import: recorded.import.name().to_owned(), failure });
        }
        if let Some((_, decision)) = Decision::of(&recorded.call)
            && job.decision.is_none()
        {
            job.settled = matches!(decision, Decision::Dropped)
                || matches!(recorded.result.read::<Result<IgnoredAny, IgnoredAny>>(), Ok(Ok(_)));
            job.decision = Some(decision);
            return Ok(());
        }
        match &recorded.call {
            AnyCall::FetchImage(call) => {
                let image = recorded.answer(call)?.ok();
                self.images.extend(image.iter().map(|image| (image.image, number)));
                job.image = image.map(ImageStory::from);
            }
            AnyCall::FindArtifact(call) => {
                let artifact = recorded.answer(call)?.ok().flatten();
                self.artifacts.extend(artifact.map(|found| (found.artifact, number)));
            }
            AnyCall::DetectDocumentText(call) => {
                self.responses.extend(recorded.answer(call)?.ok().map(|response| (response, number)));
            }
            AnyCall::AnalyzeExpense(call) => {
                self.responses.extend(recorded.answer(call)?.ok().map(|response| (response, number)));
            }
            AnyCall::StoreResponse(call) => {
                if let Ok(ArtifactInfo { artifact, key }) = recorded.answer(call)? {
                    self.artifacts.insert(artifact, number);
                    job.stored = Some(key);
                }
            }
            AnyCall::ReadResponse(call) => job.read(recorded.answer(call)?, false),
            AnyCall::ReadArtifact(call) => job.read(recorded.answer(call)?, job.stored.is_none()),
            AnyCall::Claim(_)
            | AnyCall::Complete(_)
            | AnyCall::RetryAfter(_)
            | AnyCall::DeadLetter(_)
            | AnyCall::DropJob(_)
            | AnyCall::JobId(_)
            | AnyCall::JobReceiptId(_)
            | AnyCall::JobAttempt(_)
            | AnyCall::JobMaxAttempts(_)
            | AnyCall::JobSeed(_)
            | AnyCall::JobHasArtifact(_)
            | AnyCall::ImageSize(_)
            | AnyCall::ImageContentType(_)
            | AnyCall::ImageDigest(_)
            | AnyCall::DropImage(_)
            | AnyCall::ArtifactKey(_)
            | AnyCall::DropArtifact(_)
            | AnyCall::PreferredApi(_)
            | AnyCall::DropResponse(_) => {}
        }
        Ok(())
    }

    /// The number of the job that a call is about.
    fn about(&self, recorded: &Recorded<'_>) -> Option<u32> {
        /// Handles among a call's arguments.
        #[derive(Default, Deserialize)]
        struct Handles {
            job: Option<u32>,
            image: Option<u32>,
            response: Option<u32>,
            artifact: Option<u32>,
        }
        let handles: Handles = recorded.args.read().unwrap_or_default();
        let by_image = || self.images.get(&handles.image?);
        let by_response = || self.responses.get(&handles.response?);
        let by_artifact = || self.artifacts.get(&handles.artifact?);
        handles.job.or_else(|| by_image().or_else(by_response).or_else(by_artifact).copied())
    }
}

impl From<JobInfo> for JobStory {
    fn from(claimed: JobInfo) -> Self {
        let JobInfo { job, id, receipt_id, attempt, max_attempts, .. } = claimed;
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
