//! Storage: S3.
