//! The servers that `host dev` starts itself, as clients see them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod boto3;
mod postgres;
mod s3;
mod support;
mod textract;
