//! What the host tells CloudWatch, once a minute and at its end: on Lambda and ECS as a line of the embedded metric format on stdout,
//! which costs no call; elsewhere by one PutMetricData. Nothing waits for it, and what could not be sent is not sent later: a
//! point that comes late says less than the next one.

mod data;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::Mutex;

use self::data::{Datum, data, embedded, put};
use crate::aws::call::{Caller, Service};
use crate::aws::{AwsError, AwsOverrides};
use crate::health::Depth;
use crate::telemetry::metrics::Metrics;

/// Between two points. CloudWatch keeps a minute's resolution, and charges by the call.
pub const EVERY: Duration = Duration::from_secs(60);

/// JSON is a protocol of CloudWatch's own beside the older form of query strings (its service model lists both).
const SERVICE: Service = Service {
    name: "monitoring",
    target: "GraniteServiceVersion20100801",
    endpoint: "AWS_ENDPOINT_URL_CLOUDWATCH",
    json: "1.0",
};

/// A value of `--cloudwatch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloudWatchMode {
    /// Nothing is told.
    Off,
    /// A line on stdout that whatever collects the log makes metrics of.
    Embedded,
    /// A call of PutMetricData.
    Call,
}

impl CloudWatchMode {
    /// On Lambda and ECS stdout goes to CloudWatch anyway.
    fn of_this_place() -> Self {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let collected = ["AWS_LAMBDA_FUNCTION_NAME", "ECS_CONTAINER_METADATA_URI_V4"].into_iter().any(is_set);
        if collected { Self::Embedded } else { Self::Call }
    }
}

impl FromStr for CloudWatchMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            "emf" => Ok(Self::Embedded),
            "api" => Ok(Self::Call),
            "auto" => Ok(Self::of_this_place()),
            _ => Err(format!("{text:?} is none of off, auto, emf and api")),
        }
    }
}

/// How CloudWatch is told.
#[derive(Debug, Clone, Copy)]
pub struct CloudWatchSettings {
    pub mode: CloudWatchMode,
    /// Writes a line to stdout.
    pub print: fn(&str),
}

/// Where points go.
pub struct CloudWatch {
    metrics: Arc<Metrics>,
    way: Way,
    /// One at a time; what failed last, so that it is said once.
    told: Mutex<Option<String>>,
}

enum Way {
    Embedded(fn(&str)),
    Call(Box<Caller>),
}

impl fmt::Debug for CloudWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudWatch").finish_non_exhaustive()
    }
}

impl CloudWatch {
    /// None where nothing is to be told.
    pub async fn new(
        settings: CloudWatchSettings,
        metrics: Arc<Metrics>,
        aws: &AwsOverrides,
    ) -> Result<Option<Self>, AwsError> {
        let way = match settings.mode {
            CloudWatchMode::Off => return Ok(None),
            CloudWatchMode::Embedded => Way::Embedded(settings.print),
            CloudWatchMode::Call => Way::Call(Box::new(Caller::load(aws).await?)),
        };
        Ok(Some(Self { metrics, way, told: Mutex::default() }))
    }

    /// Tells what happened since the last time, and what waits.
    pub async fn tell(&self, depth: Option<Depth>) {
        let mut told = self.told.lock().await;
        let data = data(&self.metrics.interval(), depth);
        match self.send(&data).await {
            Ok(()) => *told = None,
            Err(why) if told.as_ref() == Some(&why) => {}
            Err(why) => {
                tracing::warn!(name: "cloudwatch.untold", error = why, "CloudWatch could not be told; the work goes on");
                *told = Some(why);
            }
        }
    }

    async fn send(&self, data: &[Datum]) -> Result<(), String> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        match &self.way {
            Way::Embedded(print) => {
                let (print, line) = (*print, embedded(data, now).to_string());
                // Whoever reads stdout may have stopped reading.
                let _ = tokio::task::spawn_blocking(move || print(&line)).await;
                Ok(())
            }
            Way::Call(caller) => {
                let region = caller.region().map_err(|error| error.to_string())?;
                let input = put(data, now);
                let call = caller.call((&SERVICE, "PutMetricData"), &region, "PutMetricData", &input);
                call.await.map(drop).map_err(|failure| failure.to_string())
            }
        }
    }
}
