//! What the service refuses, in Textract's words.

use hyper::StatusCode;

/// An error as Textract tells it.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) kind: String,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(kind: &str, message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, kind: kind.to_owned(), message: message.into() }
    }

    pub(super) fn internal(message: &str) -> Self {
        tracing::warn!(name: "ocr.local_failed", message, "the local Textract failed");
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, ..Self::new("InternalServerError", message) }
    }

    pub(super) fn serialization(message: &str) -> Self {
        Self::new("SerializationException", message)
    }

    pub(super) fn invalid_parameter(message: &str) -> Self {
        Self::new("InvalidParameterException", message)
    }

    pub(super) fn unsupported(message: &str) -> Self {
        Self::new("UnsupportedDocumentException", message)
    }

    /// The synchronous operations take one page.
    pub(super) fn many_pages() -> Self {
        Self::unsupported("Request has unsupported document format: more than one page.")
    }

    pub(super) fn bad_document(message: &str) -> Self {
        Self::new("BadDocumentException", message)
    }

    pub(super) fn too_large(size: usize, limit: usize) -> Self {
        Self::new("DocumentTooLargeException", format!("The document has {size} bytes; the limit is {limit}."))
    }

    pub(super) fn unknown_operation() -> Self {
        Self::new("UnknownOperationException", "The operation is none of Textract's, or not served here.")
    }
}
