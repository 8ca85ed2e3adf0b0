//! Which deployment a verb is meant for: the one that the environment names, or the `host dev` of this machine.

use std::path::PathBuf;

use clap::Args;

use super::args::{AwsArgs, BucketArgs, DatabaseArgs, ListenArgs};
use super::folders::default_data_dir;
use crate::aws::AwsOverrides;
use crate::dev::DevState;
use crate::queue::Database;

/// Database, AWS and buckets.
#[derive(Debug, Clone, Args)]
pub(super) struct TargetArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    aws: AwsArgs,
    #[command(flatten)]
    buckets: BucketArgs,
    /// Folder of the `host dev` to talk to when no database is named.
    #[arg(long, env = "WORKER_DATA_DIR", value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
}

/// A deployment.
pub(super) struct Target {
    pub(super) database: Database,
    pub(super) aws: AwsOverrides,
    buckets: BucketArgs,
    dev: Option<DevState>,
}

impl TargetArgs {
    pub(super) async fn resolve(&self) -> anyhow::Result<Target> {
        let buckets = self.buckets.clone();
        if !self.database.is_given()
            && let Some(dev) = self.running_dev()
        {
            tracing::info!(
                name: "dev.found",
                folder = %dev.folder.display(),
                "no DATABASE_URL: talking to the running `host dev`"
            );
            return Ok(Target {
                database: self.database.schema().within(dev.database()?)?,
                aws: dev.aws(),
                buckets,
                dev: Some(dev),
            });
        }
        let aws = self.aws.overrides();
        Ok(Target { database: self.database.parse(&aws).await?, aws, buckets, dev: None })
    }

    fn running_dev(&self) -> Option<DevState> {
        let folder = self.data_dir.clone().or_else(default_data_dir)?;
        DevState::read(&folder)
    }
}

impl Target {
    /// Where a worker would listen; none if it would poll alone.
    pub(super) async fn direct(&self, args: &TargetArgs, listen: &ListenArgs) -> anyhow::Result<Option<Database>> {
        listen.direct(&args.database, &self.database, &self.aws).await
    }

    pub(super) fn source_bucket(&self) -> anyhow::Result<String> {
        match &self.dev {
            Some(dev) => Ok(dev.source_bucket.clone()),
            None => self.buckets.source(),
        }
    }

    pub(super) fn artifact_bucket(&self) -> anyhow::Result<String> {
        match &self.dev {
            Some(dev) => Ok(dev.artifact_bucket.clone()),
            None => self.buckets.artifact(),
        }
    }
}
