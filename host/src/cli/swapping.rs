//! How `host run` records its runs and swaps its component: the flags, and what is made of them.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

use super::args::{AdminArgs, SandboxArgs};
use super::quantity::{duration, size};
use crate::admin::{Admin, AdminSettings};
use crate::aws::Aws;
use crate::breaker::SharedBreaker;
use crate::queue::{Database, QueueError, components};
use crate::sandbox::{EMBEDDED, Meter, Sandbox, prepare_cache_folder, read_component};
use crate::swap::gate::{GatePolicy, GateSettings};
use crate::swap::source::{ComponentLocation, FileSource, S3Source, Source};
use crate::swap::trust::{Distrusted, Trust, TrustError};
use crate::swap::{
    Candidate, Deployed, Keep, ProbationSettings, SIGNATURE_SUFFIX, Shadow, SwapSettings, Swapper, distrust_in_words,
};
use crate::telemetry::metrics::Metrics;
use crate::trace::{RecordSettings, Recorder};

/// Changing the component while it works.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Hot swap")]
pub(super) struct SwapArgs {
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
    /// By how much its share of traps, failures or empty readings may exceed the old one's before it is taken back.
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
pub(super) struct RecordArgs {
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

impl RecordArgs {
    pub(super) fn start(&self) -> anyhow::Result<Option<Arc<Recorder>>> {
        let Some(folder) = &self.record else { return Ok(None) };
        let settings = RecordSettings {
            folder: folder.clone(),
            max_bytes: self.record_max_size as u64,
            max_age: self.record_max_age,
            per_run_bytes: self.record_max_run as u64,
            redact: self.record_redact,
        };
        Ok(Some(Arc::new(Recorder::start(settings)?)))
    }
}

/// What is known of swapping before the work starts.
pub(super) struct Swapping {
    /// The component that works first.
    pub(super) first: Arc<Deployed>,
    settings: SwapSettings,
    meter: Arc<Meter>,
    /// Taken when watching starts.
    source: Mutex<Option<Source>>,
    admin: AdminSettings,
    shadow: Option<Arc<Shadow>>,
    keep: Option<Keep>,
    metrics: Arc<Metrics>,
    /// Taken when watching starts; until then, and where nothing is watched, a hangup must not end the process.
    hangups: Mutex<Option<Signal>>,
}

impl SwapArgs {
    /// Loads what is to work first, and checks everything that can be wrong with the flags.
    pub(super) async fn prepare(
        &self,
        sandbox: &Arc<Sandbox>,
        args: &SandboxArgs,
        record: &RecordArgs,
        (aws, database): (&Aws, &Database),
    ) -> anyhow::Result<Swapping> {
        let hangups = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
        let metrics = Arc::new(Metrics::new());
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
        let candidate = self.first(args.component.as_ref(), aws).await?;
        let offered = crate::storage::digest_of(&candidate.bytes);
        // Why another folder is not used is said where the component is compiled.
        let cache = args.cache_dir().filter(|cache| prepare_cache_folder(cache).is_ok());
        let keep = cache.as_deref().map(Keep::new);
        let ledger = Ledger::ask(database, &offered).await;
        let taken_back = ledger.distrusted.is_some();
        let first = load_first(sandbox, &trust, candidate, keep.as_ref(), ledger)?;
        // What was offered and may yet prove itself is offered again.
        let seen = (first.digest() == offered || taken_back).then_some(offered);
        let source = args.component.as_ref().map(|location| self.source(location, aws, seen));
        let shadow = self.shadow.as_ref().map(|path| load_shadow(sandbox, &trust, path, &metrics)).transpose()?;
        let cache = args.cache_dir();
        let meter = Arc::new(Meter::new(args.limits(), cache.as_deref())?);
        let gate = GateSettings {
            folders: self.gate.clone(),
            recorded: record.record.clone(),
            runs: self.gate_runs,
            policy: self.gate_policy,
            timeout: self.gate_timeout,
        };
        let probation = ProbationSettings { jobs: self.probation, margin: self.probation_margin };
        let settings = SwapSettings { trust, gate, probation };
        let admin = self.admin.settings();
        Ok(Swapping {
            first: Arc::new(first),
            settings,
            meter,
            source: Mutex::new(source),
            admin,
            shadow,
            keep,
            metrics,
            hangups: Mutex::new(Some(hangups)),
        })
    }

    async fn first(&self, location: Option<&ComponentLocation>, aws: &Aws) -> anyhow::Result<Candidate> {
        match location {
            None => {
                let name = "the built-in component".to_owned();
                Ok(Candidate { name, bytes: EMBEDDED.to_vec(), signature: None })
            }
            Some(ComponentLocation::File(path)) => read_candidate(path),
            Some(ComponentLocation::S3 { bucket, key }) => {
                let mut source = S3Source::new(aws.s3.clone(), bucket, key, self.component_poll, None);
                source.first().await.with_context(|| format!("cannot read the component s3://{bucket}/{key}"))
            }
        }
    }

    fn source(&self, location: &ComponentLocation, aws: &Aws, seen: Option<String>) -> Source {
        match location {
            ComponentLocation::File(path) => Source::File(FileSource::new(path.clone(), seen)),
            ComponentLocation::S3 { bucket, key } => {
                Source::S3(S3Source::new(aws.s3.clone(), bucket, key, self.component_poll, seen))
            }
        }
    }
}

impl Swapping {
    /// Who else wants to see what is read.
    pub(super) fn shadow(&self) -> Option<Arc<Shadow>> {
        self.shadow.clone()
    }

    /// Starts watching, and the admin endpoint.
    pub(super) async fn start(
        &self,
        sandbox: &Arc<Sandbox>,
        (database, worker): (Database, String),
        (outage, settles): (Arc<SharedBreaker>, Arc<SharedBreaker>),
        watching: bool,
    ) -> anyhow::Result<Swap> {
        let metrics = Arc::clone(&self.metrics);
        let (swapper, ledger) = Swapper::start(
            (Arc::clone(sandbox), Arc::clone(&self.meter)),
            self.settings.clone(),
            Arc::clone(&self.first),
            (database, worker, !watching),
            Arc::clone(&metrics),
            (self.shadow.clone(), outage, settles),
            self.keep.clone(),
        );
        if !watching {
            return Ok(Swap { swapper, ledger, metrics, watcher: None, admin: None });
        }
        let admin = Admin::start(&self.admin, Arc::new(Arc::clone(&swapper)), Arc::clone(&metrics)).await?;
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner).take();
        let hangups = self.hangups.lock().unwrap_or_else(PoisonError::into_inner).take();
        let watcher = hangups.map(|hangups| tokio::spawn(watch(Arc::clone(&swapper), source, hangups)));
        Ok(Swap { swapper, ledger, metrics, watcher, admin })
    }
}

/// Swapping while the work goes on.
pub(super) struct Swap {
    pub(super) swapper: Arc<Swapper>,
    pub(super) metrics: Arc<Metrics>,
    ledger: JoinHandle<()>,
    watcher: Option<JoinHandle<()>>,
    admin: Option<Admin>,
}

impl Swap {
    /// Ends it.
    pub(super) async fn stop(self) {
        let Self { swapper, ledger, watcher, admin, .. } = self;
        // An offer on its way is answered: nobody waits for a gate.
        swapper.drain();
        if let Some(watcher) = watcher {
            watcher.abort();
        }
        if let Some(admin) = admin {
            admin.shutdown().await;
        }
        swapper.stop(ledger).await;
    }
}

/// A hangup asks for another look at the component, also where nothing seems to have changed.
async fn watch(swapper: Arc<Swapper>, mut source: Option<Source>, mut hangups: Signal) {
    loop {
        let offered = async {
            match &mut source {
                Some(source) => source.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            candidate = offered => {
                swapper.offer(candidate).await;
            }
            _ = hangups.recv() => match &mut source {
                Some(source) => {
                    tracing::info!("SIGHUP: looking at the component again");
                    source.recheck();
                }
                None => tracing::info!("SIGHUP: the component is built in, there is nothing to look at"),
            }
        }
    }
}

/// The first component has nobody to be compared with; all else is checked as for any other. Where it was taken back, or
/// its probation was cut off, the one that proved itself last starts.
fn load_first(
    sandbox: &Sandbox,
    trust: &Trust,
    candidate: Candidate,
    keep: Option<&Keep>,
    ledger: Ledger,
) -> anyhow::Result<Deployed> {
    let digest = crate::storage::digest_of(&candidate.bytes);
    check(trust, &candidate).with_context(|| format!("{} is refused", candidate.name))?;
    let name = candidate.name.clone();
    let good = ledger.proven.and_then(|digest| last_good(digest, trust, keep));
    if let Some(why) = ledger.distrusted {
        let mut good = good.with_context(|| {
            format!(
                "{name} ({digest}) is refused: {why}; give another --component, or `host components allow {digest}`. \
                 There is no earlier component on this machine to start with"
            )
        })?;
        good.name = format!("the component that was confirmed last ({name} is refused)");
        tracing::error!("{name} is refused: {why}; starting with {}", good.name);
        return deploy(sandbox, good);
    }
    match good {
        Some(mut good) if good.bytes != candidate.bytes && ledger.unproven => {
            good.name = format!("the component that was confirmed last ({name} has yet to prove itself)");
            tracing::warn!("{name} was put to work before and did not end its probation; starting with {}", good.name);
            deploy(sandbox, good)
        }
        _ => deploy(sandbox, candidate),
    }
}

fn deploy(sandbox: &Sandbox, candidate: Candidate) -> anyhow::Result<Deployed> {
    let Candidate { name, bytes, signature } = candidate;
    let program = sandbox.load_bytes(&name, &bytes)?;
    Ok(Deployed::new(name, bytes, signature, program))
}

/// What is built in came with the host: whoever trusts the one trusts the other.
fn check(trust: &Trust, candidate: &Candidate) -> Result<(), Distrusted> {
    if candidate.bytes == EMBEDDED {
        return Ok(());
    }
    trust.check(&crate::storage::digest_of(&candidate.bytes), &candidate.bytes, candidate.signature.as_deref())
}

/// How often the ledger is asked at the start, and how soon again.
const LEDGER_TRIES: u32 = 3;
const LEDGER_PAUSE: Duration = Duration::from_millis(300);

/// What the ledger knows of the component that a host is to start with.
#[derive(Default)]
struct Ledger {
    /// Why it was taken back.
    distrusted: Option<String>,
    /// Its probation was cut off.
    unproven: bool,
    /// The digest that proved itself last.
    proven: Option<String>,
}

impl Ledger {
    /// Where the database cannot say, nobody knows whether it was taken back: asked again for a moment, and then told.
    async fn ask(database: &Database, digest: &str) -> Self {
        let mut tries = 0;
        loop {
            tries += 1;
            match Self::ask_once(database, digest).await {
                Ok(ledger) => return ledger,
                Err(error) if tries == LEDGER_TRIES || error.is_permanent() => {
                    tracing::error!(
                        component = digest,
                        %error,
                        "it cannot be told whether this component was rolled back; it is taken for trusted"
                    );
                    return Self::default();
                }
                Err(_) => tokio::time::sleep(LEDGER_PAUSE).await,
            }
        }
    }

    async fn ask_once(database: &Database, digest: &str) -> Result<Self, QueueError> {
        let client = database.connect().await?;
        let (distrust, unproven, proven) = tokio::try_join!(
            components::distrusted(&client, digest),
            components::unproven(&client, digest),
            components::last_confirmed(&client),
        )?;
        Ok(Self { distrusted: distrust.map(|distrust| distrust_in_words(&distrust)), unproven, proven })
    }
}

fn last_good(digest: String, trust: &Trust, keep: Option<&Keep>) -> Option<Candidate> {
    let (bytes, signature) = match digest == crate::storage::digest_of(EMBEDDED) {
        true => (EMBEDDED.to_vec(), None),
        false => keep?.load(&digest)?,
    };
    let good = Candidate { name: digest, bytes, signature };
    check(trust, &good).ok().map(|()| good)
}

fn load_shadow(
    sandbox: &Arc<Sandbox>,
    trust: &Trust,
    path: &std::path::Path,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Arc<Shadow>> {
    let candidate = read_candidate(path)?;
    check(trust, &candidate).with_context(|| format!("--shadow (WORKER_SHADOW): {} is refused", path.display()))?;
    let candidate = deploy(sandbox, candidate).context("--shadow (WORKER_SHADOW)")?;
    Ok(Shadow::start(Arc::clone(sandbox), candidate, Arc::clone(metrics)))
}

fn read_candidate(path: &std::path::Path) -> anyhow::Result<Candidate> {
    let bytes = read_component(path).with_context(|| format!("cannot read the component {}", path.display()))?;
    let mut signature = path.to_owned().into_os_string();
    signature.push(SIGNATURE_SUFFIX);
    let signature = std::fs::read_to_string(PathBuf::from(signature)).ok();
    Ok(Candidate { name: path.display().to_string(), bytes, signature })
}

fn share(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err(format!("{text:?} is no share; write a number from 0 to 1, e.g. 0.05")),
    }
}
