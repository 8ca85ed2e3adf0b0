//! `host run`: the worker.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use clap::builder::FalseyValueParser;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};

use super::args::{AwsArgs, BucketArgs, DatabaseArgs, ListenArgs, SandboxArgs, at_least_one};
use super::output;
use super::patience::{patiently, unless_stopped};
use super::quantity::{duration, size};
use super::swapping::{RecordArgs, SwapArgs, Swapping};
use crate::aws::{self, Aws};
use crate::breaker::ServiceBreaker;
use crate::ocr::{LARGEST_INLINE, OcrApi, OcrSource, Textract};
use crate::queue::{Counts, Database, Prepared, PumpSettings, Settled, listen, reconcile};
use crate::sandbox::{Observer, Program, RunError, Sandbox, Services};
use crate::schedule::{self, AdmissionControl, Runs, ScheduleSettings, Stop};
use crate::storage::{Artifacts, Images};
use crate::swap::Swapper;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::stderr;
use crate::trace::Recorder;

/// Signals that come within this time of the first one are the same.
const ONE_SIGNAL: Duration = Duration::from_millis(500);
/// How long a stop at once waits to be seen.
const LAST_WORD: Duration = Duration::from_millis(200);

/// Works the queue.
///
/// Wakes at once when a receipt is inserted (NOTIFY), looks every --every for what a notification missed, and goes on
/// without waiting while there is work. SIGTERM or Ctrl-C drains: what was begun ends, the rest goes back.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  host run                                    the built-in component, configured by the environment
  host run --component worker.wasm            another one
  host run --once                             one pass, then a JSON summary; for cron and for tests
  host run --concurrency 16 --textract-tps 5  sixteen receipts at a time, five OCR calls a second")]
pub(crate) struct Run {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    listen: ListenArgs,
    #[command(flatten)]
    aws: AwsArgs,
    #[command(flatten)]
    buckets: BucketArgs,
    #[command(flatten)]
    work: WorkArgs,
    #[command(flatten)]
    sandbox: SandboxArgs,
    #[command(flatten)]
    swap: SwapArgs,
    #[command(flatten)]
    record: RecordArgs,
    /// How long S3 or Textract may be silent before a call to them is given up.
    #[arg(long, env = "WORKER_AWS_TIMEOUT", default_value = "60s", value_parser = duration, value_name = "TIME")]
    aws_timeout: Duration,
    /// One pass: work what is due now, print a JSON summary, exit.
    #[arg(long)]
    once: bool,
}

/// How the work is done; shared with `host dev`.
#[derive(Debug, Clone, Args)]
pub(super) struct WorkArgs {
    /// How often to look at the queue without a notification.
    #[arg(long, env = "WORKER_EVERY", default_value = "30s", value_parser = duration, value_name = "TIME")]
    every: Duration,
    /// Receipts worked at the same time.
    #[arg(long, env = "WORKER_CONCURRENCY", default_value_t = 4, value_parser = at_least_one, value_name = "N")]
    pub(super) concurrency: usize,
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

/// What one pass over the queue gives to reconciling, when that is due.
const RECONCILE_ONCE: Duration = Duration::from_secs(1);

/// What `--once` prints.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    #[serde(flatten)]
    counts: Counts,
    runs: u64,
    failed_runs: u64,
    milliseconds: u64,
    component: String,
}

impl Run {
    pub(super) async fn execute(self) -> anyhow::Result<ExitCode> {
        let started = Instant::now();
        let stop = stop_on_signals()?;
        let database = self.database.parse()?.with_statement_timeout(self.work.statement_timeout);
        let direct = self.listen.direct(&self.database, &database)?;
        let (source, artifact) = (self.buckets.source()?, self.buckets.artifact()?);
        let overrides = self.aws.overrides();
        let Some(aws) = unless_stopped(&stop, aws::load_with(&overrides, self.aws_timeout)).await.transpose()? else {
            return Ok(ExitCode::SUCCESS);
        };
        let sandbox = sandbox(&self.sandbox, self.work.concurrency)?;
        let prepare = async || self.swap.prepare(&sandbox, &self.sandbox, &self.record, (&aws, &database)).await;
        let Some(swapping) = patiently(!self.once, &stop, prepare).await? else { return Ok(ExitCode::SUCCESS) };
        let recorder = self.record.start()?;
        let worker = Worker { database, direct, aws, source, artifact, sandbox, swapping, recorder };
        let (counts, runs) = worker.run(&self.work, self.once, stop).await?;
        if let Some(why) = runs.gave_up {
            anyhow::bail!(why);
        }
        if self.once {
            let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            let component = worker.swapping.first.digest().to_owned();
            output::json(&Summary { counts, runs: runs.runs, failed_runs: runs.failed, milliseconds, component })?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Makes the sandbox and loads the component.
pub(super) fn load(args: &SandboxArgs, concurrency: usize) -> anyhow::Result<(Arc<Sandbox>, Arc<Program>)> {
    let sandbox = sandbox(args, concurrency)?;
    let program = sandbox.load(args.component_file()?)?;
    Ok((sandbox, Arc::new(program)))
}

/// Makes the sandbox.
pub(super) fn sandbox(args: &SandboxArgs, concurrency: usize) -> anyhow::Result<Arc<Sandbox>> {
    Ok(Arc::new(Sandbox::new(args.limits(), concurrency, args.cache_dir().as_deref())?))
}

/// Everything that a worker needs, configured and checked.
pub(super) struct Worker {
    pub(super) database: Database,
    /// Where to listen; none to poll alone.
    pub(super) direct: Option<Database>,
    pub(super) aws: Aws,
    pub(super) source: String,
    pub(super) artifact: String,
    pub(super) sandbox: Arc<Sandbox>,
    pub(super) swapping: Swapping,
    pub(super) recorder: Option<Arc<Recorder>>,
}

impl Worker {
    /// Works until told to stop, or (with `once`) until nothing is due. Whatever can fail at a start comes before the first
    /// claim, and nothing after it: a job that was claimed and not worked would cost an attempt.
    pub(super) async fn run(
        &self,
        work: &WorkArgs,
        once: bool,
        stop: watch::Receiver<Stop>,
    ) -> anyhow::Result<(Counts, Runs)> {
        let artifacts = Artifacts::new(self.aws.s3.clone(), self.artifact.clone());
        let wake = Arc::new(Notify::new());
        let settings = PumpSettings {
            capacity: work.concurrency.saturating_mul(2).max(2),
            max_attempts: work.max_attempts,
            lease: work.lease,
            every: work.every,
        };
        let reach = async || {
            check_bucket(&self.aws, &self.source, "SOURCE_BUCKET").await?;
            check_bucket(&self.aws, &self.artifact, "ARTIFACT_BUCKET").await?;
            // Before anything is paid for that could not be kept.
            artifacts.probe().await.context("ARTIFACT_BUCKET: nothing can be stored in it (host doctor)")?;
            Ok(Prepared::connect(self.database.clone(), settings.clone(), Arc::clone(&wake)).await?)
        };
        let Some(prepared) = patiently(!once, &stop, reach).await? else { return Ok(Default::default()) };
        let outage = Arc::new(ServiceBreaker::default());
        let of = (self.database.clone(), prepared.worker().to_owned());
        let settles = Arc::clone(&prepared.refusals().breaker);
        let breakers = (outage.breaker(), Arc::clone(&settles));
        let swap = self.swapping.start(&self.sandbox, of, breakers, !once).await?;
        let metrics = Arc::clone(&swap.metrics);
        if once && !work.no_reconcile {
            reconcile::run_for(&self.database, "one pass", work.reconcile_every, RECONCILE_ONCE).await;
        }
        let pump = Arc::new(prepared.start(move |component, settled| count(&metrics, component, settled)));
        if once {
            pump.one_pass();
        }
        let direct = self.direct.clone().filter(|_| !once);
        let listener = direct.map(|direct| tokio::spawn(listen(self.database.clone(), direct, wake)));
        let image_memory = u64::try_from(work.image_memory).unwrap_or(u64::MAX);
        let inline = match work.textract_source {
            OcrSource::Bytes => LARGEST_INLINE as u64,
            OcrSource::S3 => 0,
        };
        let services = Arc::new(Services {
            pump: Arc::clone(&pump),
            images: Images::new(self.aws.s3.clone(), self.source.clone(), image_memory)
                .reached_at(self.aws.s3_endpoint.as_deref())
                .copied_up_to(inline)
                .shared_by(work.concurrency),
            artifacts: artifacts.clone(),
            ocr: Textract::new(self.aws.textract.clone(), work.textract_source, work.textract_tps),
            outage: Arc::clone(&outage),
            api: work.ocr_api,
            photo_grace: work.photo_grace,
            recorder: self.recorder.clone(),
            observer: self.swapping.shadow().map(|shadow| shadow as Arc<dyn Observer>),
        });
        let reconciling = (!once && !work.no_reconcile).then(|| {
            let worker = pump.worker().to_owned();
            tokio::spawn(reconcile::run(self.database.clone().of_worker(&worker), worker, work.reconcile_every))
        });
        tracing::info!(
            component = self.swapping.first.digest(),
            database = self.database.at(),
            source = self.source,
            artifacts = self.artifact,
            region = self.aws.region,
            concurrency = work.concurrency,
            every = ?work.every,
            "working"
        );
        let settings = ScheduleSettings {
            concurrency: work.concurrency,
            batch: work.batch_size,
            once,
            drain_timeout: work.drain_timeout,
        };
        tokio::spawn(no_swap_while_draining(Arc::clone(&swap.swapper), stop.clone()));
        let (current, teller) = (Arc::clone(&swap.swapper), Arc::clone(&swap.swapper));
        let control = AdmissionControl::new(
            move || Arc::clone(&current.current().program.tally.breaker),
            outage.breaker(),
            settles,
            move |which, report, step| teller.breaker_changed(which, report, step),
        );
        let (sandbox, swapper, metrics) =
            (Arc::clone(&self.sandbox), Arc::clone(&swap.swapper), Arc::clone(&swap.metrics));
        let run = move |jobs| {
            let (sandbox, services, metrics) = (Arc::clone(&sandbox), Arc::clone(&services), Arc::clone(&metrics));
            // What works at this moment; the run ends on it.
            let program = Arc::clone(&swapper.current().program);
            async move {
                let end = sandbox.run(&program, &services, jobs).await;
                metrics.run(program.digest(), end.result.as_ref().map_or_else(RunError::kind, |_| "ok"));
                if let Some(recorded) = services.recorder.as_ref().map(|recorder| recorder.stats()) {
                    metrics.traces(recorded.written, recorded.dropped);
                }
                end
            }
        };
        let runs = schedule::run(run, Arc::clone(&pump), settings, control, stop).await;
        save(&artifacts).await;
        swap.stop().await;
        for task in listener.into_iter().chain(reconciling) {
            task.abort();
        }
        let counts = pump.counts();
        tracing::info!(
            processed = counts.processed,
            retried = counts.retried,
            dead = counts.dead,
            lost = counts.lost,
            "stopped"
        );
        Ok((counts, runs))
    }
}

/// What was committed, whatever the component says that it did.
fn count(metrics: &Metrics, component: Option<&str>, settled: Settled) {
    if settled != Settled::Released {
        metrics.jobs(component.unwrap_or("host"), settled.as_str(), 1);
    }
}

async fn no_swap_while_draining(swapper: Arc<Swapper>, mut stop: watch::Receiver<Stop>) {
    if stop.wait_for(|stop| *stop != Stop::No).await.is_ok() {
        swapper.drain();
    }
}

/// What was paid for and not stored goes with the process.
async fn save(artifacts: &Artifacts) {
    const PATIENCE: Duration = Duration::from_secs(5);
    match tokio::time::timeout(PATIENCE, artifacts.flush()).await {
        Ok(0) => {}
        Ok(answers) => tracing::error!(answers, "OCR answers that were paid for could not be stored and are lost"),
        Err(_) => tracing::error!("OCR answers that were paid for could not be stored in time and are lost"),
    }
}

/// A bucket that is not there is an error of configuration; one that may not be looked at (HeadBucket needs
/// s3:ListBucket) is found out by the work itself.
async fn check_bucket(aws: &Aws, bucket: &str, variable: &str) -> anyhow::Result<()> {
    let Err(error) = aws.s3.head_bucket().bucket(bucket).send().await else { return Ok(()) };
    match error.raw_response().map(|response| response.status().as_u16()) {
        Some(404) => anyhow::bail!("{variable}: there is no bucket {bucket:?}"),
        Some(301) => anyhow::bail!("{variable}: bucket {bucket:?} is in another region than {}", aws.region),
        Some(403) => {
            tracing::warn!(bucket, "no permission to look at the bucket (s3:ListBucket); going on");
            Ok(())
        }
        _ => {
            let failure = crate::storage::classify(&error, &format!("bucket {bucket:?}"));
            Err(failure).with_context(|| format!("{variable}: S3 cannot be reached"))
        }
    }
}

/// The first SIGTERM or SIGINT drains, the second one stops the process where it is: leases run out by themselves.
pub(super) fn stop_on_signals() -> anyhow::Result<watch::Receiver<Stop>> {
    let mut term = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut int = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let (stop, receiver) = watch::channel(Stop::No);
    tokio::spawn(async move {
        let mut signalled = async || {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
        };
        signalled().await;
        stop.send_replace(Stop::Drain);
        // A process group and its parent often send the same one: all of this moment are one.
        let moment = tokio::time::sleep(ONE_SIGNAL);
        tokio::pin!(moment);
        loop {
            tokio::select! {
                () = &mut moment => break,
                () = signalled() => {}
            }
        }
        signalled().await;
        // Nobody else is told: whoever ended for it would be quicker, with another exit code.
        tracing::warn!("stopping at once; what was being worked comes back when its lease ends");
        stderr::flush(LAST_WORD);
        std::process::exit(143);
    });
    Ok(receiver)
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
