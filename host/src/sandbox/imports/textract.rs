//! `textract`: the calls that cost money.

use std::sync::Arc;

use wasmtime::component::Resource;

use crate::breaker::Step;
use crate::failure::{Failure, FailureKind};
use crate::ocr::OcrApi;
use crate::sandbox::bindings::snapceit::receipts::textract::{Api, Host, HostResponse};
use crate::sandbox::bindings::snapceit::receipts::types as wit;
use crate::sandbox::handles::{ArtifactInfo, HeldResponse, ImageHandle, JobHandle, ResponseHandle};
use crate::sandbox::import::{self, ImportCall};
use crate::sandbox::state::{Live, RunState};
use crate::storage::{Artifacts, Image};

/// Both OCR calls, and one more: whoever asks oftener spends money on a mistake.
const MOST_CALLS: u32 = 3;

type Answer = Result<Resource<ResponseHandle>, wit::Failure>;

impl Host for RunState {
    async fn preferred_api(&mut self) -> wasmtime::Result<Api> {
        let api = match self.live.as_ref().map(|live| live.services.api) {
            Some(OcrApi::Expense) => Api::AnalyzeExpense,
            Some(OcrApi::Detect) | None => Api::DetectDocumentText,
        };
        self.call(import::PreferredApi {}, async |_| api).await
    }

    async fn detect_document_text(&mut self, image: Resource<ImageHandle>) -> wasmtime::Result<Answer> {
        let image = self.table.get(&image)?.clone();
        self.read(import::DetectDocumentText { image: image.info.image }, image.held, OcrApi::Detect).await
    }

    async fn analyze_expense(&mut self, image: Resource<ImageHandle>) -> wasmtime::Result<Answer> {
        let image = self.table.get(&image)?.clone();
        self.read(import::AnalyzeExpense { image: image.info.image }, image.held, OcrApi::Expense).await
    }
}

impl RunState {
    async fn read<C: ImportCall<Answer = Result<u32, Failure>>>(
        &mut self,
        call: C,
        image: Option<Arc<Image>>,
        api: OcrApi,
    ) -> wasmtime::Result<Answer> {
        let mut held = None;
        let answer = self
            .call(call, async |state| {
                held = Some(state.live_mut()?.recognize(image, api).await?);
                Ok(state.next_handle())
            })
            .await?;
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
        let call = import::ReadResponse { response: number };
        self.text(call, Step::Recognize, "the OCR response", async |_| body.ok_or_else(not_held)).await
    }

    async fn store(
        &mut self,
        this: Resource<ResponseHandle>,
        job: Resource<JobHandle>,
    ) -> wasmtime::Result<Result<Resource<ArtifactInfo>, wit::Failure>> {
        let info = self.begin(&job)?;
        let ResponseHandle { number, held } = self.table.get(&this)?;
        let (number, held) = (*number, held.clone());
        let call = import::StoreResponse { job: info.job, response: number };
        let answer = self
            .call(call, async |state| {
                let key = state.store_live(&info.receipt_id, held).await?;
                Ok(ArtifactInfo { artifact: state.next_handle(), key })
            })
            .await?;
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
        self.call(import::DropResponse { response }, async |_| ()).await
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
