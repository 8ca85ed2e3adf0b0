//! OCR: Textract over the AWS SDK, and a local service that speaks its protocol.

pub mod local;
mod rate;
mod textract;

pub use textract::{LARGEST_INLINE, OcrApi, OcrSource, Textract, kind_of_code};
