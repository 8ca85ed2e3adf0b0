//! Where a worker works: the database, the buckets and AWS. `host run` and `host lambda` take the same flags for it.

use std::time::Duration;

use clap::Args;

use super::args::{AwsArgs, BucketArgs, DatabaseArgs, ListenArgs};
use super::quantity::duration;
use super::worker::Place;
use crate::schedule::Term;
use crate::worker::{AwsSettings, Buckets};

/// All of it.
#[derive(Debug, Clone, Args)]
pub(super) struct PlaceArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    listen: ListenArgs,
    #[command(flatten)]
    aws: AwsArgs,
    #[command(flatten)]
    buckets: BucketArgs,
    /// How long S3 or Textract may be silent before a call to them is given up.
    #[arg(long, env = "WORKER_AWS_TIMEOUT", default_value = "60s", value_parser = duration, value_name = "TIME")]
    aws_timeout: Duration,
}

impl PlaceArgs {
    /// Reads the secrets that connection strings are kept in; what else can be wrong comes first.
    pub(super) async fn resolve(&self, term: Term) -> anyhow::Result<Place> {
        let buckets = Buckets { source: self.buckets.source()?, artifact: self.buckets.artifact()? };
        let overrides = self.aws.overrides();
        let database = self.database.parse(&overrides).await?;
        let listen = self.listen.direct(&self.database, &database, &overrides).await?;
        let aws = AwsSettings { overrides, timeout: self.aws_timeout };
        Ok(Place { term, database, listen, buckets, aws })
    }
}
