//! `objects`: images and artifacts, held by the host.

use std::sync::Arc;

use wasmtime::component::Resource;

use crate::breaker::Step;
use crate::failure::{Failure, FailureKind};
use crate::sandbox::bindings::snapceit::receipts::objects::{Host, HostArtifact, HostImage};
use crate::sandbox::bindings::snapceit::receipts::types as wit;
use crate::sandbox::handles::{ArtifactInfo, ImageHandle, ImageInfo, TextInfo};
use crate::sandbox::import::{self, ImportCall};
use crate::sandbox::oracle::NoAnswer;
use crate::sandbox::state::RunState;

impl Host for RunState {}

impl HostImage for RunState {
    async fn size(&mut self, this: Resource<ImageHandle>) -> wasmtime::Result<u64> {
        let ImageInfo { image, size, .. } = self.table.get(&this)?.info;
        self.call(import::ImageSize { image }, async |_| size).await
    }

    async fn content_type(&mut self, this: Resource<ImageHandle>) -> wasmtime::Result<String> {
        let ImageInfo { image, content_type, .. } = self.table.get(&this)?.info.clone();
        self.call(import::ImageContentType { image }, async |_| content_type).await
    }

    async fn digest(&mut self, this: Resource<ImageHandle>) -> wasmtime::Result<String> {
        let ImageInfo { image, digest, .. } = self.table.get(&this)?.info.clone();
        self.call(import::ImageDigest { image }, async |_| digest).await
    }

    async fn drop(&mut self, this: Resource<ImageHandle>) -> wasmtime::Result<()> {
        let image = self.table.delete(this)?.info.image;
        self.call(import::DropImage { image }, async |_| ()).await
    }
}

impl HostArtifact for RunState {
    async fn key(&mut self, this: Resource<ArtifactInfo>) -> wasmtime::Result<String> {
        let ArtifactInfo { artifact, key } = self.table.get(&this)?.clone();
        self.call(import::ArtifactKey { artifact }, async |_| key).await
    }

    async fn json(&mut self, this: Resource<ArtifactInfo>) -> wasmtime::Result<Result<String, wit::Failure>> {
        let ArtifactInfo { artifact, key } = self.table.get(&this)?.clone();
        let call = import::ReadArtifact { artifact };
        self.text(call, Step::Find, &key, async |state| {
            let body = state.services()?.artifacts.read(&key).await?;
            if let Some(live) = &state.live {
                live.booked(Step::Find);
            }
            Ok(Arc::from(body))
        })
        .await
    }

    async fn drop(&mut self, this: Resource<ArtifactInfo>) -> wasmtime::Result<()> {
        let artifact = self.table.delete(this)?.artifact;
        self.call(import::DropArtifact { artifact }, async |_| ()).await
    }
}

impl RunState {
    /// A call that hands the body of an OCR response to the component, as text: JSON is UTF-8; anything else is no response.
    /// The trace has its digest; the text lies beside the trace.
    pub(super) async fn text<C: ImportCall<Answer = Result<TextInfo, Failure>>>(
        &mut self,
        call: C,
        step: Step,
        what: &str,
        body: impl AsyncFnOnce(&mut Self) -> Result<Arc<[u8]>, Failure>,
    ) -> wasmtime::Result<Result<String, wit::Failure>> {
        let mut live = None;
        let answer = self
            .call(call, async |state| {
                let body = body(state).await?;
                let Ok(text) = std::str::from_utf8(&body) else {
                    let message = format!("{what} is not UTF-8 text");
                    return Err(Failure::new(FailureKind::BadResponse, "ocr.NotUtf8", message));
                };
                live = Some(text.to_owned());
                // Nobody asks for the digest of what nobody records.
                let response = state.tape.as_mut().map(|tape| tape.attach(&body)).unwrap_or_default();
                Ok(TextInfo { response, bytes: body.len() as u64 })
            })
            .await?;
        let info = match answer {
            Ok(info) => info,
            Err(failure) => return Ok(Err(self.failed(failure, step).await)),
        };
        let Some(text) = live else { return self.recorded_text(&info).map(Ok) };
        if let Some(live) = self.live.as_mut().filter(|live| live.services.observer.is_some()) {
            live.last_response = Some(Arc::from(text.as_str()));
        }
        Ok(Ok(text))
    }

    fn recorded_text(&mut self, info: &TextInfo) -> wasmtime::Result<String> {
        let nobody = || NoAnswer("nobody has the text of a recorded response".to_owned());
        let text = self.oracle.as_mut().ok_or_else(nobody)?.response(&info.response)?;
        if let Some(tape) = &mut self.tape {
            tape.attach(&Arc::from(text.as_bytes()));
        }
        Ok(text)
    }
}
