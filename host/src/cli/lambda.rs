//! `host lambda`: the worker as a function of AWS Lambda's.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::folders::temporary_cache;
use super::place::PlaceArgs;
use super::quantity::duration;
use super::signals;
use super::unread::unread_keys;
use super::worker::WorkerArgs;
use crate::failure::chain;
use crate::lambda::{self, Configured, FunctionSettings};
use crate::schedule::Term;
use crate::worker::WorkerSettings;

/// Set in every function, and nowhere else.
pub(super) const VARIABLE: &str = "AWS_LAMBDA_RUNTIME_API";

/// Works the queue as a function of AWS Lambda's.
///
/// Each invocation (a schedule, SQS messages, a call) works what is due until nothing is or its time runs low, gives back what
/// is left, and answers {"statusCode":200,"body":"{\"processed\":1,…}"}. In a function this is what the program does without a
/// verb.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  host lambda                           what `bootstrap` of the zip does (make package)
  host lambda --linger 50s --every 15s  invoked every minute, looks every 15 s, and at once on a notification")]
pub(crate) struct Lambda {
    #[command(flatten)]
    place: PlaceArgs,
    /// How long a scheduled invocation stays when the queue is empty: schedules begin at one a minute. It looks every --every,
    /// and listens.
    #[arg(long, env = "WORKER_LINGER", value_parser = duration, value_name = "TIME")]
    linger: Option<Duration>,
    /// So long before the function's timeout no receipt is begun any more, at most half of the timeout: the time of a slow one.
    #[arg(long, env = "WORKER_SPARE", default_value = "10s", value_parser = duration, value_name = "TIME")]
    spare: Duration,
    #[command(flatten)]
    worker: WorkerArgs,
}

impl Lambda {
    pub(super) async fn execute(self) -> anyhow::Result<ExitCode> {
        let stop = signals::stop()?;
        if let Some(notice) = unread_keys() {
            tracing::warn!(name: "secret.key_unread", "{notice}");
        }
        let hours = FunctionSettings { linger: self.linger, spare: self.spare };
        lambda::serve(self, hours, stop).await?;
        Ok(ExitCode::SUCCESS)
    }

    async fn settings(&self) -> anyhow::Result<WorkerSettings> {
        // The invocation says for how long it is.
        let mut settings = self.worker.settings(self.place.resolve(Term::OnePass).await?)?;
        // A function has no home, and one folder that it may write to.
        settings.cache = settings.cache.or_else(|| self.worker.keeps_a_cache().then(temporary_cache));
        Ok(settings)
    }
}

/// A secret is read for each invocation.
impl Configured for Lambda {
    async fn worker(&self) -> Result<WorkerSettings, String> {
        self.settings().await.map_err(|error| chain(error.as_ref()))
    }
}
