//! What a worker needs of the world before it claims anything.

use std::sync::Arc;

use tokio::sync::Notify;

use super::error::WorkerError;
use super::settings::WorkerSettings;
use crate::aws::Aws;
use crate::queue::{Prepared, PumpSettings};
use crate::storage::{Artifacts, classify};

/// Connections that were tried and work.
pub(super) struct Reached {
    /// A pump that has claimed nothing.
    pub(super) prepared: Prepared,
    pub(super) artifacts: Artifacts,
    /// Wakes the pump.
    pub(super) wake: Arc<Notify>,
}

impl Reached {
    /// Looks at the buckets, stores something, and connects to the database.
    pub(super) async fn reach(settings: &WorkerSettings, aws: &Aws) -> Result<Self, WorkerError> {
        let WorkerSettings { buckets, work, database, .. } = settings;
        check_bucket(aws, &buckets.source, "SOURCE_BUCKET").await?;
        check_bucket(aws, &buckets.artifact, "ARTIFACT_BUCKET").await?;
        let artifacts = Artifacts::new(aws.s3.clone(), buckets.artifact.clone());
        // Before anything is paid for that could not be kept.
        artifacts.probe().await.map_err(WorkerError::NotStored)?;
        let pump = PumpSettings {
            capacity: work.concurrency.saturating_mul(2).max(2),
            max_attempts: work.max_attempts,
            lease: work.lease,
            every: work.every,
        };
        let wake = Arc::new(Notify::new());
        let prepared = Prepared::connect(database.clone(), pump, Arc::clone(&wake)).await?;
        Ok(Self { prepared, artifacts, wake })
    }
}

/// A bucket that is not there is an error of configuration; one that may not be looked at (HeadBucket needs
/// s3:ListBucket) is found out by the work itself.
async fn check_bucket(aws: &Aws, bucket: &str, variable: &'static str) -> Result<(), WorkerError> {
    let Err(error) = aws.s3.head_bucket().bucket(bucket).send().await else { return Ok(()) };
    let bucket = bucket.to_owned();
    match error.raw_response().map(|response| response.status().as_u16()) {
        Some(404) => Err(WorkerError::NoBucket { variable, bucket }),
        Some(301) => Err(WorkerError::OtherRegion { variable, bucket, region: aws.region.clone() }),
        Some(403) => {
            tracing::warn!(
                name: "storage.list_denied",
                bucket,
                "no permission to look at the bucket (s3:ListBucket); going on"
            );
            Ok(())
        }
        _ => {
            let source = classify(&error, &format!("bucket {bucket:?}"));
            Err(WorkerError::Unreachable { variable, source })
        }
    }
}
