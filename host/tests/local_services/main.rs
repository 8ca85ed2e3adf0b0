//! The servers that `host dev` starts itself, as clients see them.
#![allow(clippy::unwrap_used, clippy::panic)]
// Straight to the server: a test may name its statements.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod boto3;
mod postgres;
mod s3;
mod support;
mod textract;
