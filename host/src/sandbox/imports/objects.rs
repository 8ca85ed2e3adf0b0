//! `objects`: images and artifacts, held by the host.

use wasmtime::component::Resource;

use crate::failure::{Failure, FailureKind};
use crate::sandbox::bindings::snapceit::receipts::objects::{Host, HostArtifact, HostImage};
use crate::sandbox::bindings::snapceit::receipts::types as wit;
use crate::sandbox::state::{ArtifactHandle, ImageHandle, RunState};

impl Host for RunState {}

impl HostImage for RunState {
    async fn size(&mut self, this: Resource<ImageHandle>) -> wasmtime::Result<u64> {
        Ok(self.table.get(&this)?.0.bytes.len() as u64)
    }

    async fn content_type(&mut self, this: Resource<ImageHandle>) -> wasmtime::Result<String> {
        Ok(self.table.get(&this)?.0.content_type.to_owned())
    }

    async fn digest(&mut self, this: Resource<ImageHandle>) -> wasmtime::Result<String> {
        Ok(self.table.get(&this)?.0.digest.clone())
    }

    async fn drop(&mut self, this: Resource<ImageHandle>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl HostArtifact for RunState {
    async fn key(&mut self, this: Resource<ArtifactHandle>) -> wasmtime::Result<String> {
        Ok(self.table.get(&this)?.key.clone())
    }

    async fn json(&mut self, this: Resource<ArtifactHandle>) -> wasmtime::Result<Result<String, wit::Failure>> {
        let key = self.table.get(&this)?.key.clone();
        let services = match self.services() {
            Ok(services) => services,
            Err(failure) => return Ok(Err(failure)),
        };
        let read = services.artifacts.read(&key).await;
        Ok(read.and_then(|body| utf8(body, &key)).map_err(Into::into))
    }

    async fn drop(&mut self, this: Resource<ArtifactHandle>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

/// JSON is UTF-8; anything else is no response.
pub(super) fn utf8(body: Vec<u8>, what: &str) -> Result<String, Failure> {
    String::from_utf8(body)
        .map_err(|_| Failure::new(FailureKind::BadResponse, "ocr.NotUtf8", format!("{what} is not UTF-8 text")))
}
