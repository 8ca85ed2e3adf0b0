//! A Textract-compatible service for development: AWS JSON 1.1 on loopback, read by Tesseract.
//!
//! It refuses what Textract refuses, with the same error types and statuses, so that what works here works there. It
//! differs in how well it reads, in that a signature must be there but is not checked, and in that AnalyzeExpense and
//! AnalyzeDocument give the text's blocks without fields, tables or queries.

mod blocks;
mod document;
mod error;
mod faults;
mod reader;
mod refusal;
mod service;
mod settings;
mod turned;

use std::collections::HashMap;
use std::sync::Arc;

use hyper::body::Bytes;

pub use self::document::{MAX_INLINE_BYTES, MAX_S3_BYTES, sha256};
pub use self::error::Error;
pub use self::faults::{Fault, Faults};
pub use self::reader::{Reader, Recordings};
use self::service::Service;
pub use self::settings::Settings;
use crate::http::Server;

/// A running service.
pub struct LocalTextract {
    server: Server,
    service: Arc<Service>,
}

impl LocalTextract {
    pub async fn start(settings: Settings) -> Result<Self, Error> {
        settings.reader.check().await?;
        let listen = settings.listen;
        let service = Arc::new(Service::new(settings));
        let server = Server::start(listen, service::Handler(Arc::clone(&service)), usize::MAX)
            .await
            .map_err(|source| Error::Listen { address: listen, source })?;
        Ok(Self { server, service })
    }

    /// `http://127.0.0.1:PORT`
    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// The handle with which a test makes this service fail.
    pub fn faults(&self) -> &Faults {
        &self.service.settings.faults
    }

    /// Calls that AWS would have put on the bill: the page was read, whether or not the answer arrived whole.
    pub fn calls(&self) -> u64 {
        self.service.log().calls.values().sum()
    }

    /// Billed calls by the SHA-256 (hex) of the image.
    pub fn calls_by_image(&self) -> HashMap<String, u64> {
        self.service.log().calls.clone()
    }

    /// Requests of any outcome, refused ones and faults too.
    pub fn requests(&self) -> u64 {
        self.service.log().requests
    }

    /// The bytes of the last answer that was sent whole.
    pub fn last_body(&self) -> Option<Bytes> {
        self.service.log().last_body.clone()
    }

    /// The bytes that were last answered for the image with this SHA-256 (hex).
    pub fn body_for(&self, digest: &str) -> Option<Bytes> {
        self.service.log().bodies.get(digest).cloned()
    }

    /// Answers what was asked already, takes no more, and returns when the port is free.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}
