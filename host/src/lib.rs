//! The receipt worker's host: grants a sandboxed component the queue (Postgres), the objects (S3) and the OCR
//! (Textract) that it needs, and nothing else.

#![deny(clippy::print_stderr)]

pub mod admin;
pub mod aws;
pub mod backoff;
pub mod breaker;
pub mod charging;
pub mod cli;
pub mod cloudwatch;
pub mod dev;
pub mod failure;
mod folder;
pub mod health;
mod http;
pub mod lambda;
pub mod ocr;
pub mod queue;
pub mod reading;
pub mod replay;
pub mod sandbox;
pub mod schedule;
pub mod secret;
pub mod storage;
pub mod swap;
pub mod telemetry;
pub mod trace;
pub mod worker;
