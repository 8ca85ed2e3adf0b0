//! OCR: Textract over the AWS SDK, and a local service that speaks its protocol.

pub mod local;
