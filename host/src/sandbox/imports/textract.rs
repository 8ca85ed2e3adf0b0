//! `textract`: the calls that cost money.

use std::sync::Arc;

use wasmtime::component::Resource;

use super::objects::utf8;
use crate::failure::{Failure, FailureKind};
use crate::ocr::OcrApi;
use crate::sandbox::bindings::snapceit::receipts::textract::{Api, Host, HostResponse};
use crate::sandbox::bindings::snapceit::receipts::types as wit;
use crate::sandbox::state::{ArtifactHandle, ImageHandle, JobHandle, ResponseHandle, RunState};
use crate::storage::Artifacts;

/// Both OCR calls, and one more: whoever asks oftener spends money on a mistake.
const MOST_CALLS: u32 = 3;

type Answer = Result<Resource<ResponseHandle>, wit::Failure>;

impl Host for RunState {
    async fn preferred_api(&mut self) -> wasmtime::Result<Api> {
        Ok(match self.services.as_ref().map(|services| services.api) {
            Some(OcrApi::Expense) => Api::AnalyzeExpense,
            Some(OcrApi::Detect) | None => Api::DetectDocumentText,
        })
    }

    async fn detect_document_text(&mut self, image: Resource<ImageHandle>) -> wasmtime::Result<Answer> {
        self.read(&image, OcrApi::Detect).await
    }

    async fn analyze_expense(&mut self, image: Resource<ImageHandle>) -> wasmtime::Result<Answer> {
        self.read(&image, OcrApi::Expense).await
    }
}

impl RunState {
    async fn read(&mut self, image: &Resource<ImageHandle>, api: OcrApi) -> wasmtime::Result<Answer> {
        let image = Arc::clone(&self.table.get(image)?.0);
        let services = match self.services() {
            Ok(services) => services,
            Err(failure) => return Ok(Err(failure)),
        };
        // Nobody pays for a job that is someone else's by now.
        if let Some(job) = self.current.and_then(|current| self.open.get(&current))
            && let Err(failure) = services.pump.confirm(job).await
        {
            return Ok(Err(failure.into()));
        }
        let calls = self.ocr_calls.entry(self.current).or_default();
        if *calls >= MOST_CALLS {
            let message = format!("the component has asked for OCR {MOST_CALLS} times for one job");
            return Ok(Err(Failure::new(FailureKind::LimitExceeded, "host.OcrCalls", message).into()));
        }
        *calls += 1;
        match services.ocr.read(&image, api).await {
            Ok(body) => Ok(Ok(self.table.push(ResponseHandle { body, image, api })?)),
            Err(failure) => Ok(Err(failure.into())),
        }
    }
}

impl HostResponse for RunState {
    async fn json(&mut self, this: Resource<ResponseHandle>) -> wasmtime::Result<Result<String, wit::Failure>> {
        let body = self.table.get(&this)?.body.clone();
        Ok(utf8(body, "the OCR response").map_err(Into::into))
    }

    async fn store(
        &mut self,
        this: Resource<ResponseHandle>,
        job: Resource<JobHandle>,
    ) -> wasmtime::Result<Result<Resource<ArtifactHandle>, wit::Failure>> {
        let job = self.begin(&job)?;
        let response = self.table.get(&this)?;
        let (body, api) = (response.body.clone(), response.api);
        let digest = response.image.digest.clone();
        let services = match self.services() {
            Ok(services) => services,
            Err(failure) => return Ok(Err(failure)),
        };
        let key = Artifacts::key(&job.receipt_id, &digest, api.as_str());
        let metadata = [
            ("receipt-id", job.receipt_id.clone()),
            ("image-version", digest),
            ("component", self.component.to_string()),
            ("ocr-api", api.as_str().to_owned()),
        ];
        match services.artifacts.store(&key, body, metadata).await {
            Ok(artifact) => Ok(Ok(self.table.push(ArtifactHandle { key: artifact.key })?)),
            Err(failure) => Ok(Err(failure.into())),
        }
    }

    async fn drop(&mut self, this: Resource<ResponseHandle>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
