//! What the tests of the local services share.

use std::path::{Path, PathBuf};

use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use host::dev::s3::{self, LocalS3};
use tempfile::TempDir;

pub(crate) const BUCKETS: [&str; 2] = ["receipts", "artifacts"];

pub(crate) async fn local_s3() -> (LocalS3, TempDir) {
    let root = TempDir::new().unwrap();
    let mut settings = s3::Settings::new(root.path());
    settings.buckets = BUCKETS.map(str::to_owned).to_vec();
    (LocalS3::start(settings).await.unwrap(), root)
}

pub(crate) fn s3_client(s3: &LocalS3) -> aws_sdk_s3::Client {
    s3_client_as(s3, s3.secret_key())
}

pub(crate) fn s3_client_as(s3: &LocalS3, secret_key: &str) -> aws_sdk_s3::Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .endpoint_url(s3.endpoint())
        .force_path_style(true)
        .credentials_provider(Credentials::new(s3.access_key(), secret_key, None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    aws_sdk_s3::Client::from_conf(config)
}

pub(crate) fn textract_client(endpoint: &str) -> aws_sdk_textract::Client {
    let config = aws_sdk_textract::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new("local", "local-secret", None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    aws_sdk_textract::Client::from_conf(config)
}

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

pub(crate) fn receipt(name: &str) -> Vec<u8> {
    std::fs::read(repository().join("tests/receipts").join(name)).unwrap()
}
