//! The receipt worker's host: grants a sandboxed component the queue (Postgres), the objects (S3) and the OCR
//! (Textract) that it needs, and nothing else.

pub mod dev;
pub mod ocr;
pub mod queue;
pub mod sandbox;
pub mod storage;
