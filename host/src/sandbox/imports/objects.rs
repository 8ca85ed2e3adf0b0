//! `objects`: images and artifacts, held by the host.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;
use wasmtime::component::Resource;

use crate::breaker::Step;
use crate::failure::{Failure, FailureKind};
use crate::sandbox::bindings::snapceit::receipts::objects::{Host, HostArtifact, HostImage};
use crate::sandbox::bindings::snapceit::receipts::types as wit;
use crate::sandbox::call::Call;
use crate::sandbox::state::{ArtifactHandle, ImageHandle, RunState};
use crate::trace::Effect;

impl Host for RunState {}

impl HostImage for RunState {
    async fn size(&mut self, this: Resource<ImageHandle>) -> wasmtime::Result<u64> {
        let info = &self.table.get(&this)?.info;
        let (image, size) = (info.image, info.size);
        self.attribute("objects.image.size", json!({ "image": image }), size)
    }

    async fn content_type(&mut self, this: Resource<ImageHandle>) -> wasmtime::Result<String> {
        let info = &self.table.get(&this)?.info;
        let (image, content_type) = (info.image, info.content_type.clone());
        self.attribute("objects.image.content-type", json!({ "image": image }), content_type)
    }

    async fn digest(&mut self, this: Resource<ImageHandle>) -> wasmtime::Result<String> {
        let info = &self.table.get(&this)?.info;
        let (image, digest) = (info.image, info.digest.clone());
        self.attribute("objects.image.digest", json!({ "image": image }), digest)
    }

    async fn drop(&mut self, this: Resource<ImageHandle>) -> wasmtime::Result<()> {
        let image = self.table.delete(this)?.info.image;
        self.attribute("objects.image.drop", json!({ "image": image }), ())
    }
}

impl HostArtifact for RunState {
    async fn key(&mut self, this: Resource<ArtifactHandle>) -> wasmtime::Result<String> {
        let ArtifactHandle { artifact, key } = self.table.get(&this)?.clone();
        self.attribute("objects.artifact.key", json!({ "artifact": artifact }), key)
    }

    async fn json(&mut self, this: Resource<ArtifactHandle>) -> wasmtime::Result<Result<String, wit::Failure>> {
        let ArtifactHandle { artifact, key } = self.table.get(&this)?.clone();
        let call = self.call("objects.artifact.json", Effect::Read, json!({ "artifact": artifact }));
        if let Some(answer) = self.answered(call.as_ref())? {
            return self.recorded_text(call, answer);
        }
        let read = match self.services() {
            Ok(services) => services.artifacts.read(&key).await.map(Arc::from),
            Err(failure) => Err(failure),
        };
        if let (Ok(_), Some(live)) = (&read, &self.live) {
            live.booked(Step::Find);
        }
        match self.text(call, read, &key) {
            Ok(text) => Ok(Ok(text)),
            Err(failure) => Ok(Err(self.failed(failure, Step::Find).await)),
        }
    }

    async fn drop(&mut self, this: Resource<ArtifactHandle>) -> wasmtime::Result<()> {
        let artifact = self.table.delete(this)?.artifact;
        self.attribute("objects.artifact.drop", json!({ "artifact": artifact }), ())
    }
}

/// An OCR response as a trace has it: the text is beside the trace, once.
#[derive(Serialize, Deserialize)]
pub(super) struct TextInfo {
    /// SHA-256 of the text.
    response: String,
    bytes: u64,
}

impl RunState {
    /// Hands the body of an OCR response to the component, as text: JSON is UTF-8; anything else is no response.
    pub(super) fn text(
        &mut self,
        call: Option<Call>,
        body: Result<Arc<[u8]>, Failure>,
        what: &str,
    ) -> Result<String, Failure> {
        let text = body.and_then(|body| match std::str::from_utf8(&body) {
            Ok(text) => Ok((Arc::clone(&body), text.to_owned())),
            Err(_) => Err(Failure::new(FailureKind::BadResponse, "ocr.NotUtf8", format!("{what} is not UTF-8 text"))),
        });
        if let Ok((_, text)) = &text
            && let Some(live) = self.live.as_mut().filter(|live| live.services.observer.is_some())
        {
            live.last_response = Some(Arc::from(text.as_str()));
        }
        if let Some(tape) = &mut self.tape {
            let info =
                text.as_ref().map(|(body, _)| TextInfo { response: tape.attach(body), bytes: body.len() as u64 });
            self.returned(call, &info);
        }
        text.map(|(_, text)| text)
    }

    /// The same from an oracle.
    pub(super) fn recorded_text(
        &mut self,
        call: Option<Call>,
        answer: Result<TextInfo, Failure>,
    ) -> wasmtime::Result<Result<String, wit::Failure>> {
        let text = match (&answer, &mut self.oracle) {
            (Ok(info), Some(oracle)) => Ok(oracle.response(&info.response)?),
            (Ok(_), None) => Ok(String::new()),
            (Err(failure), _) => Err(failure.clone().into()),
        };
        if let (Ok(text), Some(tape)) = (&text, &mut self.tape) {
            tape.attach(&Arc::from(text.as_bytes()));
        }
        self.returned(call, &answer);
        Ok(text)
    }
}
