//! The flags of a worker, which `host run` and `host dev` share, and the settings that they come to.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use clap::builder::FalseyValueParser;

use super::args::{AdminArgs, SandboxArgs, at_least_one};
use super::output;
use super::quantity::{duration, size};
use crate::cloudwatch::{CloudWatchMode, CloudWatchSettings};
use crate::ocr::{OcrApi, OcrSource};
use crate::queue::Database;
use crate::schedule::Term;
use crate::swap::gate::{GatePolicy, GateSettings};
use crate::swap::trust::{Trust, TrustError};
use crate::swap::{ProbationSettings, SwapSettings};
use crate::trace::RecordSettings;
use crate::worker::{AwsSettings, Buckets, WorkSettings, WorkerSettings};

/// All of them.
#[derive(Debug, Clone, Args)]
pub(super) struct WorkerArgs {
    #[command(flatten)]
    work: WorkArgs,
    #[command(flatten)]
    sandbox: SandboxArgs,
    #[command(flatten)]
    swap: SwapArgs,
    #[command(flatten)]
    record: RecordArgs,
    /// Whether CloudWatch is told each minute what was done and what waits (namespace Custom/ReceiptQueue): as lines of its embedded
    /// metric format on stdout (`emf`), by PutMetricData (`api`), by the first on Lambda and ECS and by the second elsewhere
    /// (`auto`), or not.
    #[arg(
        long,
        env = "WORKER_CLOUDWATCH",
        default_value = "off",
        value_name = "off|auto|emf|api",
        help_heading = "Metrics"
    )]
    cloudwatch: CloudWatchMode,
}

/// What each verb has flags of its own for.
pub(super) struct Place {
    pub(super) term: Term,
    pub(super) database: Database,
    /// Where to listen; none to poll alone.
    pub(super) listen: Option<Database>,
    pub(super) aws: AwsSettings,
    pub(super) buckets: Buckets,
}

/// A line for whatever collects stdout. Nobody is there any more, if it cannot be written.
fn print(line: &str) {
    let _ = output::line(line);
}

/// How the work is done.
#[derive(Debug, Clone, Args)]
struct WorkArgs {
    /// How often to look at the queue without a notification.
    #[arg(long, env = "WORKER_EVERY", default_value = "30s", value_parser = duration, value_name = "TIME")]
    every: Duration,
    /// Receipts worked at the same time.
    #[arg(long, env = "WORKER_CONCURRENCY", default_value_t = 4, value_parser = at_least_one, value_name = "N")]
    concurrency: usize,
    /// Receipts that one run of the component takes, at most.
    #[arg(long, env = "BATCH_SIZE", default_value_t = 10, value_parser = at_least_one, value_name = "N")]
    batch_size: usize,
    /// Attempts before a receipt is given up.
    #[arg(long, env = "MAX_ATTEMPTS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000), value_name = "N")]
    max_attempts: u32,
    /// How long a claimed receipt stays ours without a heartbeat: what a crash costs in time.
    #[arg(long, env = "WORKER_LEASE", default_value = "30s", value_parser = lease, value_name = "TIME")]
    lease: Duration,
    /// How long a claim, a heartbeat or a settle may take (a lock that somebody holds, a server that is gone). A claim takes
    /// at most a third of the lease, a heartbeat an eighth.
    #[arg(long, env = "WORKER_STATEMENT_TIMEOUT", default_value = "30s", value_parser = duration, value_name = "TIME")]
    statement_timeout: Duration,
    /// How long after a receipt was inserted its photo may yet come: until then one that is not there costs no attempt and is
    /// looked for again after seconds (0: not at all). One pass (--once) leaves it to the next one.
    #[arg(long, env = "WORKER_PHOTO_GRACE", default_value = "5m", value_parser = grace, value_name = "TIME")]
    photo_grace: Duration,
    /// How long runs may take to end after SIGTERM.
    #[arg(long, env = "WORKER_DRAIN_TIMEOUT", default_value = "25s", value_parser = duration, value_name = "TIME")]
    drain_timeout: Duration,
    /// Memory for photos held at a time, with the copies of those that travel in requests to Textract.
    #[arg(long, env = "WORKER_IMAGE_MEMORY", default_value = "256MiB", value_parser = size, value_name = "SIZE")]
    image_memory: usize,
    /// OCR calls a second, over all instances of this host; no limit if not given.
    #[arg(long, env = "TEXTRACT_TPS", value_parser = calls_per_second, value_name = "N")]
    textract_tps: Option<f64>,
    /// How a photo reaches Textract.
    #[arg(long, env = "TEXTRACT_SOURCE", default_value = "bytes")]
    textract_source: OcrSource,
    /// Never queue receipts that are pending and were never queued (they came by replication, from a backup, past a trigger that
    /// was off). For databases whose receipts must not be paid for: replicas that were promoted, restored copies.
    #[arg(long, env = "WORKER_NO_RECONCILE", value_parser = FalseyValueParser::new())]
    no_reconcile: bool,
    /// How often, over all hosts of a database, to walk the receipts for such; see host reconcile.
    #[arg(long, env = "WORKER_RECONCILE_EVERY", default_value = "1h", value_parser = duration, value_name = "TIME")]
    reconcile_every: Duration,
    /// Which call reads it: DetectDocumentText ($1.50 a thousand) or AnalyzeExpense ($10).
    #[arg(long, env = "OCR_API", default_value = "detect")]
    ocr_api: OcrApi,
}

/// Changing the component while it works.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Hot swap")]
struct SwapArgs {
    /// How often to look at a component in S3.
    #[arg(long, env = "WORKER_COMPONENT_POLL", default_value = "5s", value_parser = duration, value_name = "TIME")]
    component_poll: Duration,
    /// Only components that this key signed (NEW.wasm.minisig): a minisign public key, or its file. More than one: any.
    #[arg(long, env = "WORKER_TRUSTED_KEY", value_delimiter = ',', value_name = "KEY|FILE")]
    trusted_key: Vec<String>,
    /// Only components with this SHA-256. More than one: any.
    #[arg(long, env = "WORKER_COMPONENT_SHA256", value_delimiter = ',', value_name = "HEX")]
    component_sha256: Vec<String>,
    /// Recorded responses and traces on which a new component is compared with the old one.
    #[arg(long, env = "WORKER_GATE", value_delimiter = ',', value_name = "DIR")]
    gate: Vec<PathBuf>,
    /// …and so many of the runs that were recorded last (with --record).
    #[arg(long, env = "WORKER_GATE_RUNS", default_value_t = 100, value_name = "N")]
    gate_runs: usize,
    /// What refuses a new component: any difference; a trap, an error, a lost field or more than twice the work; nothing.
    #[arg(long, env = "WORKER_GATE_POLICY", default_value = "no-regressions")]
    gate_policy: GatePolicy,
    /// The comparison ends after this time, with whatever was compared by then.
    #[arg(long, env = "WORKER_GATE_TIMEOUT", default_value = "60s", value_parser = duration, value_name = "TIME")]
    gate_timeout: Duration,
    /// Jobs for which a new component is on probation; 0: none.
    #[arg(long, env = "WORKER_PROBATION", default_value_t = 100, value_name = "N")]
    probation: u64,
    /// By how much its share of traps, failures or empty readings may exceed the old one's before it is rolled back.
    #[arg(long, env = "WORKER_PROBATION_MARGIN", default_value = "0.05", value_parser = share, value_name = "SHARE")]
    probation_margin: f64,
    /// A component that reads every response beside the one that works, and decides nothing (see host shadow).
    #[arg(long, env = "WORKER_SHADOW", value_name = "FILE")]
    shadow: Option<PathBuf>,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Writing traces.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Recording")]
struct RecordArgs {
    /// Record every run as a trace in this folder (host replay, host trace).
    #[arg(long, env = "WORKER_RECORD", value_name = "DIR")]
    record: Option<PathBuf>,
    /// Bytes of all traces and their responses; the oldest go first.
    #[arg(long, env = "WORKER_RECORD_MAX_SIZE", default_value = "256MiB", value_parser = size, value_name = "SIZE")]
    record_max_size: usize,
    /// Age of the oldest trace.
    #[arg(long, env = "WORKER_RECORD_MAX_AGE", default_value = "7d", value_parser = duration, value_name = "TIME")]
    record_max_age: Duration,
    /// Traces of a run that gets longer than this end there.
    #[arg(long, env = "WORKER_RECORD_MAX_RUN", default_value = "16MiB", value_parser = size, value_name = "SIZE")]
    record_max_run: usize,
    /// Mask card and phone numbers.
    #[arg(long, env = "WORKER_RECORD_REDACT", value_parser = clap::builder::FalseyValueParser::new())]
    record_redact: bool,
}

impl WorkerArgs {
    /// Whether compiled components are kept where there is a folder for them.
    pub(super) fn keeps_a_cache(&self) -> bool {
        self.sandbox.keeps_a_cache()
    }

    /// Fails where a key, a digest or a folder is none.
    pub(super) fn settings(&self, place: Place) -> anyhow::Result<WorkerSettings> {
        let Place { term, database, listen, aws, buckets } = place;
        Ok(WorkerSettings {
            term,
            database: database.with_statement_timeout(self.work.statement_timeout),
            listen,
            aws,
            buckets,
            work: self.work.settings(),
            limits: self.sandbox.limits(),
            cache: self.sandbox.cache_dir(),
            swap: self.swap.settings(&self.sandbox, &self.record)?,
            record: self.record.settings(),
            admin: self.swap.admin.settings(),
            cloudwatch: CloudWatchSettings { mode: self.cloudwatch, print },
        })
    }
}

impl WorkArgs {
    fn settings(&self) -> WorkSettings {
        WorkSettings {
            every: self.every,
            concurrency: self.concurrency,
            batch_size: self.batch_size,
            max_attempts: self.max_attempts,
            lease: self.lease,
            photo_grace: self.photo_grace,
            drain_timeout: self.drain_timeout,
            image_memory: self.image_memory,
            ocr_api: self.ocr_api,
            ocr_source: self.textract_source,
            ocr_calls_per_second: self.textract_tps,
            reconcile_every: (!self.no_reconcile).then_some(self.reconcile_every),
        }
    }
}

impl SwapArgs {
    fn settings(&self, sandbox: &SandboxArgs, record: &RecordArgs) -> anyhow::Result<SwapSettings> {
        let trust = Trust::new(&self.trusted_key, &self.component_sha256).map_err(|error| {
            let flag = match error {
                TrustError::Pin(_) => "--component-sha256 (WORKER_COMPONENT_SHA256)",
                _ => "--trusted-key (WORKER_TRUSTED_KEY)",
            };
            anyhow::Error::new(error).context(flag)
        })?;
        for folder in &self.gate {
            std::fs::read_dir(folder)
                .with_context(|| format!("--gate (WORKER_GATE): cannot read {}", folder.display()))?;
        }
        Ok(SwapSettings {
            component: sandbox.component.clone(),
            poll: self.component_poll,
            trust,
            gate: GateSettings {
                folders: self.gate.clone(),
                recorded: record.record.clone(),
                runs: self.gate_runs,
                policy: self.gate_policy,
                timeout: self.gate_timeout,
            },
            probation: ProbationSettings { jobs: self.probation, margin: self.probation_margin },
            shadow: self.shadow.clone(),
        })
    }
}

impl RecordArgs {
    fn settings(&self) -> Option<RecordSettings> {
        Some(RecordSettings {
            folder: self.record.clone()?,
            max_bytes: self.record_max_size as u64,
            max_age: self.record_max_age,
            per_run_bytes: self.record_max_run as u64,
            redact: self.record_redact,
        })
    }
}

fn grace(text: &str) -> Result<Duration, String> {
    match text.trim() {
        "0" | "0s" => Ok(Duration::ZERO),
        text => duration(text),
    }
}

fn lease(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        lease if lease < Duration::from_secs(1) => Err("a lease under 1s would end between heartbeats".to_owned()),
        lease => Ok(lease),
    }
}

fn calls_per_second(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate >= 0.001 => Ok(rate),
        _ => Err(format!("{text:?} is no rate; write calls a second, e.g. 5 or 0.5")),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err(format!("{text:?} is no share; write a number from 0 to 1, e.g. 0.05")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        worker: WorkerArgs,
    }

    fn worker(flags: &str) -> WorkerArgs {
        Only::try_parse_from(std::iter::once("host").chain(flags.split_whitespace())).unwrap().worker
    }

    /// Each with a value of its own. A setting without a flag here does not compile.
    #[test]
    fn each_flag_comes_to_its_setting() {
        let seconds = Duration::from_secs;
        let args = worker(
            "--every 1s --lease 2s --photo-grace 3s --drain-timeout 4s --reconcile-every 5s --statement-timeout 6s \
             --concurrency 7 --batch-size 8 --max-attempts 9 --image-memory 10 --textract-tps 11 \
             --textract-source s3 --ocr-api expense --component-poll 12s --gate-timeout 13s --gate-runs 14 --gate g,h \
             --gate-policy strict --probation 15 --probation-margin 0.16 --component s3://b/k --shadow s.wasm \
             --record r --record-max-size 17 --record-max-age 18s --record-max-run 19 --record-redact",
        );
        let WorkSettings {
            every,
            lease,
            photo_grace,
            drain_timeout,
            reconcile_every,
            concurrency,
            batch_size,
            max_attempts,
            image_memory,
            ocr_calls_per_second,
            ocr_source,
            ocr_api,
        } = args.work.settings();
        assert_eq!([every, lease, photo_grace, drain_timeout], [1, 2, 3, 4].map(seconds));
        assert_eq!((reconcile_every, args.work.statement_timeout), (Some(seconds(5)), seconds(6)));
        assert_eq!((concurrency, batch_size, max_attempts, image_memory), (7, 8, 9, 10));
        assert_eq!((ocr_calls_per_second, ocr_source, ocr_api), (Some(11.0), OcrSource::S3, OcrApi::Expense));

        let RecordSettings { folder, max_bytes, max_age, per_run_bytes, redact } = args.record.settings().unwrap();
        assert_eq!((folder, redact), (PathBuf::from("r"), true));
        assert_eq!((max_bytes, max_age, per_run_bytes), (17, seconds(18), 19));

        // The folders need not be there to be named.
        let without = SwapArgs { gate: Vec::new(), ..args.swap.clone() };
        assert_eq!(args.swap.gate, [PathBuf::from("g"), PathBuf::from("h")]);
        let SwapSettings { component, poll, trust: _, gate, probation, shadow } =
            without.settings(&args.sandbox, &args.record).unwrap();
        let GateSettings { folders: _, recorded, runs, policy, timeout } = gate;
        assert_eq!((poll, timeout, runs, policy), (seconds(12), seconds(13), 14, GatePolicy::Strict));
        assert_eq!((recorded, probation), (Some(PathBuf::from("r")), ProbationSettings { jobs: 15, margin: 0.16 }));
        assert_eq!(component.map(|at| at.to_string()).as_deref(), Some("s3://b/k"));
        assert_eq!(shadow, Some(PathBuf::from("s.wasm")));
    }

    #[test]
    fn what_is_switched_off_is_no_setting() {
        assert_eq!(worker("--no-reconcile").work.settings().reconcile_every, None);
        assert_eq!(worker("--record-redact").record.settings(), None);
    }
}
