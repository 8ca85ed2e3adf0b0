//! `textract`: the calls that cost money.

use std::sync::Arc;

use serde_json::json;
use wasmtime::component::Resource;

use crate::breaker::Step;
use crate::failure::{Failure, FailureKind};
use crate::ocr::OcrApi;
use crate::sandbox::bindings::snapceit::receipts::textract::{Api, Host, HostResponse};
use crate::sandbox::bindings::snapceit::receipts::types as wit;
use crate::sandbox::state::{ArtifactHandle, HeldResponse, ImageHandle, JobHandle, Live, ResponseHandle, RunState};
use crate::storage::{Artifacts, Image};
use crate::trace::Effect;

/// Both OCR calls, and one more: whoever asks oftener spends money on a mistake.
const MOST_CALLS: u32 = 3;

type Answer = Result<Resource<ResponseHandle>, wit::Failure>;

impl Host for RunState {
    async fn preferred_api(&mut self) -> wasmtime::Result<Api> {
        let api = match self.live.as_ref().map(|live| live.services.api) {
            Some(OcrApi::Expense) => Api::AnalyzeExpense,
            Some(OcrApi::Detect) | None => Api::DetectDocumentText,
        };
        self.attribute("textract.preferred-api", json!({}), api)
    }

    async fn detect_document_text(&mut self, image: Resource<ImageHandle>) -> wasmtime::Result<Answer> {
        self.read("textract.detect-document-text", &image, OcrApi::Detect).await
    }

    async fn analyze_expense(&mut self, image: Resource<ImageHandle>) -> wasmtime::Result<Answer> {
        self.read("textract.analyze-expense", &image, OcrApi::Expense).await
    }
}

impl RunState {
    async fn read(
        &mut self,
        import: &'static str,
        image: &Resource<ImageHandle>,
        api: OcrApi,
    ) -> wasmtime::Result<Answer> {
        let ImageHandle { info, held } = self.table.get(image)?.clone();
        let call = self.call(import, Effect::External, json!({ "image": info.image }));
        let (answer, held) = match self.answered::<Result<u32, Failure>>(call.as_ref())? {
            Some(answer) => (answer, None),
            None => match self.live_mut() {
                Ok(live) => match live.recognize(held, api).await {
                    Ok(held) => (Ok(self.next_handle()), Some(held)),
                    Err(failure) => (Err(failure), None),
                },
                Err(failure) => (Err(failure), None),
            },
        };
        self.returned(call, &answer);
        match answer {
            Ok(number) => Ok(Ok(self.table.push(ResponseHandle { number, held })?)),
            Err(failure) => {
                // Before it is paid for, the artifact bucket is asked whether it takes the answer.
                let step = if failure.code.starts_with("s3.") { Step::Store } else { Step::Recognize };
                Ok(Err(self.failed(failure, step).await))
            }
        }
    }
}

impl Live {
    async fn recognize(&mut self, image: Option<Arc<Image>>, api: OcrApi) -> Result<HeldResponse, Failure> {
        let image =
            image.ok_or_else(|| Failure::new(FailureKind::Internal, "host.NoImage", "the image is not held"))?;
        if let Some(job) = self.current.and_then(|current| self.open.get(&current)) {
            // What was paid for and could not be stored is not paid for again.
            let key = Artifacts::key(&job.receipt_id, &image.digest, api.as_str());
            if let Some(body) = self.services.artifacts.unstored(&key) {
                return Ok(HeldResponse { body, image, api });
            }
            // Nobody pays for a job that is someone else's by now.
            self.services.pump.confirm(job).await?;
            self.services.pump.rehearse(job).await?;
        }
        let calls = self.ocr_calls.entry(self.current).or_default();
        if *calls >= MOST_CALLS {
            let message = format!("the component has asked for OCR {MOST_CALLS} times for one job");
            return Err(Failure::new(FailureKind::LimitExceeded, "host.OcrCalls", message));
        }
        self.services.artifacts.check_before_paying().await?;
        *calls += 1;
        let body = self.services.ocr.read(&image, api).await?;
        self.serve(Step::Recognize);
        Ok(HeldResponse { body: Arc::from(body), image, api })
    }
}

impl HostResponse for RunState {
    async fn json(&mut self, this: Resource<ResponseHandle>) -> wasmtime::Result<Result<String, wit::Failure>> {
        let ResponseHandle { number, held } = self.table.get(&this)?;
        let (number, body) = (*number, held.as_ref().map(|held| Arc::clone(&held.body)));
        let call = self.call("textract.response.json", Effect::None, json!({ "response": number }));
        if let Some(answer) = self.answered(call.as_ref())? {
            return self.recorded_text(call, answer);
        }
        let body = body.ok_or_else(not_held);
        match self.text(call, body, "the OCR response") {
            Ok(text) => Ok(Ok(text)),
            Err(failure) => Ok(Err(self.failed(failure, Step::Recognize).await)),
        }
    }

    async fn store(
        &mut self,
        this: Resource<ResponseHandle>,
        job: Resource<JobHandle>,
    ) -> wasmtime::Result<Result<Resource<ArtifactHandle>, wit::Failure>> {
        let info = self.begin(&job)?;
        let ResponseHandle { number, held } = self.table.get(&this)?;
        let (number, held) = (*number, held.clone());
        let args = json!({ "response": number, "job": info.job });
        let call = self.call("textract.response.store", Effect::Write, args);
        let answer = match self.answered::<Result<ArtifactHandle, Failure>>(call.as_ref())? {
            Some(answer) => answer,
            None => match self.store_live(&info.receipt_id, held).await {
                Ok(key) => Ok(ArtifactHandle { artifact: self.next_handle(), key }),
                Err(failure) => Err(failure),
            },
        };
        self.returned(call, &answer);
        match answer {
            Ok(artifact) => {
                self.reads_from(&artifact.key);
                Ok(Ok(self.table.push(artifact)?))
            }
            Err(failure) => Ok(Err(self.failed(failure, Step::Store).await)),
        }
    }

    async fn drop(&mut self, this: Resource<ResponseHandle>) -> wasmtime::Result<()> {
        let response = self.table.delete(this)?.number;
        self.attribute("textract.response.drop", json!({ "response": response }), ())
    }
}

impl RunState {
    /// Stores a response and returns its key.
    async fn store_live(&mut self, receipt_id: &str, held: Option<HeldResponse>) -> Result<String, Failure> {
        let HeldResponse { body, image, api } = held.ok_or_else(not_held)?;
        let key = Artifacts::key(receipt_id, &image.digest, api.as_str());
        let metadata = [
            ("receipt-id", receipt_id.to_owned()),
            ("image-version", image.digest.clone()),
            ("component", self.component.to_string()),
            ("ocr-api", api.as_str().to_owned()),
        ];
        let stored = self.services()?.artifacts.store(&key, body, metadata).await?;
        if let Some(live) = &self.live {
            live.booked(Step::Store);
        }
        Ok(stored.key)
    }
}

fn not_held() -> Failure {
    Failure::new(FailureKind::Internal, "host.NoResponse", "the OCR response is not held")
}
