//! The start of swapping: what works first is loaded before anything is claimed, then its source is watched while the work
//! goes on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::candidate::Candidate;
use super::deployed::Deployed;
use super::error::StartError;
use super::first::{self, History};
use super::gate::GateSettings;
use super::ledger::LedgerSettings;
use super::probation::ProbationSettings;
use super::rollout;
use super::shadow::Shadow;
use super::source::{ComponentLocation, FileSource, S3Source, Source};
use super::store::ComponentStore;
use super::swapper::{HostBreakers, Rules, Swapper, SwapperParts};
use super::trust::Trust;
use crate::queue::Database;
use crate::sandbox::{EMBEDDED, Limits, Meter, Sandbox, prepare_cache_folder};
use crate::storage::digest_of;
use crate::telemetry::metrics::Metrics;

/// Which component works, and how another one takes over.
#[derive(Debug, Clone)]
pub struct SwapSettings {
    /// What works first, and is watched; none for the built-in component.
    pub component: Option<ComponentLocation>,
    /// How often to look at a component in S3.
    pub poll: Duration,
    /// Which components may be looked at.
    pub trust: Trust,
    /// What they are compared on.
    pub gate: GateSettings,
    /// How they are watched afterwards.
    pub probation: ProbationSettings,
    /// A component that reads beside the one that works.
    pub shadow: Option<PathBuf>,
}

/// What loading needs of the worker.
pub struct Dependencies<'a> {
    /// Where components run.
    pub sandbox: &'a Arc<Sandbox>,
    /// What one may take in the gate.
    pub limits: &'a Limits,
    /// The folder for compiled and for confirmed components.
    pub cache: Option<&'a Path>,
    /// Where components in S3 are read.
    pub s3: &'a aws_sdk_s3::Client,
    /// Where the ledger is.
    pub database: &'a Database,
    pub metrics: &'a Arc<Metrics>,
}

/// The component that works first, loaded, and all that swapping needs.
pub struct Loaded {
    /// It.
    pub first: Arc<Deployed>,
    /// What reads beside it.
    pub shadow: Option<Arc<Shadow>>,
    rules: Rules,
    source: Option<Source>,
    meter: Arc<Meter>,
    store: Option<ComponentStore>,
    sandbox: Arc<Sandbox>,
    metrics: Arc<Metrics>,
}

impl Loaded {
    /// Loads what is to work first.
    pub async fn load(settings: &SwapSettings, dependencies: &Dependencies<'_>) -> Result<Self, StartError> {
        let SwapSettings { component, trust, gate, probation, shadow, .. } = settings;
        let Dependencies { sandbox, limits, cache, s3, database, metrics } = dependencies;
        let candidate = settings.named(s3).await?;
        let offered = digest_of(&candidate.bytes);
        // Why another folder is not used is said where the component is compiled.
        let store = cache.filter(|cache| prepare_cache_folder(cache).is_ok()).map(ComponentStore::new);
        let history = History::query(database, &offered).await;
        let rolled_back = history.rolled_back.is_some();
        let first = first::load(sandbox, trust, candidate, store.as_ref(), history)?;
        // What was offered and may yet prove itself is offered again.
        let seen = (first.digest() == offered || rolled_back).then_some(offered);
        let source = component.as_ref().map(|location| settings.watch(location, s3, seen));
        let shadow = shadow.as_ref().map(|path| load_shadow(sandbox, trust, path, metrics)).transpose();
        Ok(Self {
            first: Arc::new(first),
            shadow: shadow.map_err(|error| StartError::Shadow(Box::new(error)))?,
            rules: Rules { trust: trust.clone(), gate: gate.clone(), probation: *probation },
            source,
            meter: Arc::new(Meter::new(Limits::clone(limits), *cache)?),
            store,
            sandbox: Arc::clone(sandbox),
            metrics: Arc::clone(metrics),
        })
    }

    /// Puts it to work. A hangup (`recheck`) asks for another look at the source; one pass looks at none.
    pub fn start(self, ledger: LedgerSettings, breakers: HostBreakers, recheck: Arc<Notify>) -> Swap {
        let Self { first, shadow, rules, source, meter, store, sandbox, metrics } = self;
        let watches = !ledger.passing;
        let parts = SwapperParts { sandbox, meter, metrics, store, shadow, breakers };
        let (swapper, ledger) = Swapper::start(first, rules, ledger, parts);
        let watcher = watches.then(|| tokio::spawn(watch(Arc::clone(&swapper), source, recheck)));
        Swap { swapper, ledger, watcher }
    }
}

impl SwapSettings {
    async fn named(&self, s3: &aws_sdk_s3::Client) -> Result<Candidate, StartError> {
        match &self.component {
            None => {
                let name = "the built-in component".to_owned();
                Ok(Candidate { name, bytes: EMBEDDED.to_vec(), signature: None })
            }
            Some(ComponentLocation::File(path)) => read(path),
            Some(location @ ComponentLocation::S3 { bucket, key }) => {
                let mut source = S3Source::new(s3.clone(), bucket, key, self.poll, None);
                source.first().await.map_err(|source| StartError::Fetch { name: location.to_string(), source })
            }
        }
    }

    fn watch(&self, location: &ComponentLocation, s3: &aws_sdk_s3::Client, seen: Option<String>) -> Source {
        match location {
            ComponentLocation::File(path) => Source::File(FileSource::new(path.clone(), seen)),
            ComponentLocation::S3 { bucket, key } => {
                Source::S3(S3Source::new(s3.clone(), bucket, key, self.poll, seen))
            }
        }
    }
}

/// Swapping while the work goes on.
pub struct Swap {
    /// What knows which component works.
    pub swapper: Arc<Swapper>,
    ledger: JoinHandle<()>,
    watcher: Option<JoinHandle<()>>,
}

impl Swap {
    /// Looks at the source no more, and refuses an offer that is on its way: nobody waits for a gate.
    pub fn drain(&self) {
        self.swapper.drain();
        if let Some(watcher) = &self.watcher {
            watcher.abort();
        }
    }

    /// Says goodbye to the ledger; for when no run is left.
    pub async fn stop(self) {
        self.drain();
        self.swapper.stop(self.ledger).await;
    }
}

/// Offers what the source has, as it comes.
async fn watch(swapper: Arc<Swapper>, mut source: Option<Source>, recheck: Arc<Notify>) {
    loop {
        let offered = async {
            match &mut source {
                Some(source) => source.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            candidate = offered => {
                rollout::offer(&swapper, candidate).await;
            }
            () = recheck.notified() => match &mut source {
                Some(source) => {
                    tracing::info!(name: "swap.recheck", "SIGHUP: looking at the component again");
                    source.recheck();
                }
                None => tracing::info!(
                    name: "swap.nothing_to_recheck",
                    "SIGHUP: the component is built in, there is nothing to look at"
                ),
            }
        }
    }
}

fn load_shadow(
    sandbox: &Arc<Sandbox>,
    trust: &Trust,
    path: &Path,
    metrics: &Arc<Metrics>,
) -> Result<Arc<Shadow>, StartError> {
    let candidate = read(path)?;
    let name = candidate.name.clone();
    first::check(trust, &candidate).map_err(|source| StartError::Distrusted { name, source })?;
    let candidate = first::deploy(sandbox, candidate)?;
    Ok(Shadow::start(Arc::clone(sandbox), candidate, Arc::clone(metrics)))
}

fn read(path: &Path) -> Result<Candidate, StartError> {
    Candidate::read(path).map_err(|source| StartError::Read { name: path.display().to_string(), source })
}
