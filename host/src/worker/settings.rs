//! What a worker is told before it starts. Nothing here knows of flags or variables; see [`crate::cli`] for those.

use std::path::PathBuf;
use std::time::Duration;

use crate::admin::AdminSettings;
use crate::aws::AwsOverrides;
use crate::cloudwatch::CloudWatchSettings;
use crate::ocr::{OcrApi, OcrSource};
use crate::queue::Database;
use crate::sandbox::Limits;
use crate::schedule::Term;
use crate::swap::SwapSettings;
use crate::trace::RecordSettings;

/// All of it.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// For how long it works.
    pub term: Term,
    /// The queue.
    pub database: Database,
    /// Where to listen for notifications; none to poll alone.
    pub listen: Option<Database>,
    /// S3 and Textract.
    pub aws: AwsSettings,
    /// Where photos and answers are.
    pub buckets: Buckets,
    /// How the queue is worked.
    pub work: WorkSettings,
    /// What a component may take.
    pub limits: Limits,
    /// Folder for compiled and for confirmed components; none to keep none.
    pub cache: Option<PathBuf>,
    /// Which component works, and how another one takes over.
    pub swap: SwapSettings,
    /// Where runs are recorded; none to record none.
    pub record: Option<RecordSettings>,
    /// Where it can be asked.
    pub admin: AdminSettings,
    /// Whether CloudWatch is told what it does.
    pub cloudwatch: CloudWatchSettings,
}

/// How to reach AWS.
#[derive(Debug, Clone)]
pub struct AwsSettings {
    /// What the environment says otherwise.
    pub overrides: AwsOverrides,
    /// How long a service may be silent.
    pub timeout: Duration,
}

/// The two buckets.
#[derive(Debug, Clone)]
pub struct Buckets {
    /// The receipts' photos; nothing else is read.
    pub source: String,
    /// The OCR artifacts.
    pub artifact: String,
}

/// How the queue is worked.
#[derive(Debug, Clone)]
pub struct WorkSettings {
    /// How often to look at the queue without a notification.
    pub every: Duration,
    /// Receipts worked at the same time.
    pub concurrency: usize,
    /// Receipts that one run of the component takes, at most.
    pub batch_size: usize,
    /// Attempts before a receipt is given up.
    pub max_attempts: u32,
    /// How long a claimed receipt stays ours without a heartbeat.
    pub lease: Duration,
    /// How long after a receipt was inserted its photo may yet come.
    pub photo_grace: Duration,
    /// How long runs may take to end after a stop was asked for.
    pub drain_timeout: Duration,
    /// Bytes for photos held at a time, with their copies on the way to Textract.
    pub image_memory: usize,
    /// Which OCR call reads a photo.
    pub ocr_api: OcrApi,
    /// How a photo reaches Textract.
    pub ocr_source: OcrSource,
    /// OCR calls a second; none for no limit.
    pub ocr_calls_per_second: Option<f64>,
    /// How often to walk the receipts for some that are in no queue; none for never.
    pub reconcile_every: Option<Duration>,
}
