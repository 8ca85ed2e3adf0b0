//! The parts of a worker: how each is made, what it is given of the others, and the order in which they end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::error::WorkerError;
use super::patience::{patiently, unless_stopped};
use super::pulse::{Vitals, count as count_waiting, tell_each_minute, tell_the_last};
use super::reached::Reached;
use super::settings::{WorkSettings, WorkerSettings};
use crate::admin::{AdminAddress, Attendant, Subject};
use crate::aws::{self, Aws};
use crate::breaker::ServiceBreaker;
use crate::cloudwatch::CloudWatch;
use crate::health::Health;
use crate::ocr::{LARGEST_INLINE, OcrSource, Textract};
use crate::queue::{Counts, Pump, Settled, listen, reconcile};
use crate::sandbox::{Observer, RunError, Sandbox, Services};
use crate::schedule::{self, AdmissionControl, Runs, ScheduleSettings, Stop, Term};
use crate::storage::{Artifacts, Images};
use crate::swap::{self, HostBreakers, LedgerSettings, Swap, Swapper};
use crate::telemetry::metrics::Metrics;
use crate::trace::Recorder;

/// What one pass over the queue gives to reconciling, when that is due.
const RECONCILE_ONCE: Duration = Duration::from_secs(1);
/// How long the end waits for answers that are not stored yet.
const STORING: Duration = Duration::from_secs(5);

/// What can be made without looking at the queue.
pub(super) struct Loaded {
    pub(super) aws: Aws,
    pub(super) swap: swap::Loaded,
    sandbox: Arc<Sandbox>,
    recorder: Option<Arc<Recorder>>,
    cloudwatch: Option<Arc<CloudWatch>>,
}

/// Where the worker can be asked, from before it starts.
pub(super) struct Endpoint {
    admin: Option<Attendant>,
    pub(super) subject: Subject,
}

impl Endpoint {
    /// One pass has none: it would take the port from the host that works here.
    pub(super) fn open(settings: &WorkerSettings) -> Self {
        let subject = Subject::default();
        let admin = match settings.term.is_passing() {
            true => None,
            false => Attendant::start(&settings.admin, subject.clone()),
        };
        Self { admin, subject }
    }
}

/// A worker at work.
pub(super) struct Parts {
    settings: WorkerSettings,
    sandbox: Arc<Sandbox>,
    pump: Arc<Pump>,
    /// What runs may reach.
    services: Arc<Services>,
    breakers: HostBreakers,
    swap: Swap,
    admin: Option<Attendant>,
    subject: Subject,
    cloudwatch: Option<Arc<CloudWatch>>,
    /// They have no end of their own.
    tasks: Vec<JoinHandle<()>>,
}

impl Loaded {
    /// None where a stop came first.
    pub(super) async fn load(
        settings: &WorkerSettings,
        subject: &Subject,
        stop: &watch::Receiver<Stop>,
    ) -> Result<Option<Self>, WorkerError> {
        let aws = aws::load_with(&settings.aws.overrides, settings.aws.timeout);
        let Some(aws) = unless_stopped(stop, aws).await.transpose()? else { return Ok(None) };
        let (concurrency, cache) = (settings.work.concurrency, settings.cache.as_deref());
        let sandbox = Arc::new(Sandbox::new(settings.limits.clone(), concurrency, cache)?);
        let dependencies = swap::Dependencies {
            sandbox: &sandbox,
            limits: &settings.limits,
            cache,
            s3: &aws.s3,
            database: &settings.database,
            metrics: &subject.metrics,
        };
        let load = async || Ok(swap::Loaded::load(&settings.swap, &dependencies).await?);
        let Some(swap) = patiently(!settings.term.is_passing(), stop, &subject.health, load).await? else {
            return Ok(None);
        };
        let recorder = settings.record.clone().map(Recorder::start).transpose()?.map(Arc::new);
        let metrics = Arc::clone(&subject.metrics);
        let cloudwatch = CloudWatch::new(settings.cloudwatch, metrics, &settings.aws.overrides).await?.map(Arc::new);
        Ok(Some(Self { aws, swap, sandbox, recorder, cloudwatch }))
    }
}

impl Parts {
    /// Starts all of them. Nothing fails any more once the pump claims.
    pub(super) async fn start(
        settings: WorkerSettings,
        Endpoint { admin, subject }: Endpoint,
        loaded: Loaded,
        reached: Reached,
        recheck: Arc<Notify>,
    ) -> Self {
        let Loaded { aws, swap, sandbox, recorder, cloudwatch } = loaded;
        let Reached { prepared, artifacts, wake } = reached;
        let WorkerSettings { work, buckets, database, term, .. } = &settings;

        let outage = Arc::new(ServiceBreaker::default());
        let breakers = HostBreakers { services: outage.breaker(), settles: Arc::clone(&prepared.refusals().breaker) };
        let ledger = LedgerSettings {
            database: database.clone(),
            worker: prepared.worker().to_owned(),
            // One of many is no event.
            passing: term.is_passing(),
        };
        let observer = swap.shadow.clone().map(|shadow| shadow as Arc<dyn Observer>);
        let component = swap.first.digest().to_owned();
        let swap = swap.start(ledger, breakers.clone(), recheck);
        subject.controlled_by(Arc::new(Arc::clone(&swap.swapper)));
        if let Some(every) = work.reconcile_every.filter(|_| term.is_passing()) {
            reconcile::run_for(database, "one pass", every, RECONCILE_ONCE).await;
        }

        let counted = Arc::clone(&subject.metrics);
        let pump = Arc::new(prepared.start(move |component, settled, took| count(&counted, component, settled, took)));
        if *term == Term::OnePass {
            pump.one_pass();
        }
        let tasks = background(&settings, (&subject, cloudwatch.as_ref()), pump.worker(), wake);
        let vitals = Vitals {
            pump: Arc::clone(&pump),
            swapper: Arc::clone(&swap.swapper),
            breakers: breakers.clone(),
            recorder: recorder.clone(),
            every: work.every,
        };
        subject.health.works(move || vitals.pulse());
        let services = Arc::new(Services {
            pump: Arc::clone(&pump),
            images: images(work, &aws, &buckets.source),
            artifacts,
            ocr: Textract::new(aws.textract.clone(), work.ocr_source, work.ocr_calls_per_second)
                .counted_by(Arc::clone(&subject.metrics)),
            outage,
            api: work.ocr_api,
            photo_grace: work.photo_grace,
            recorder,
            observer,
        });
        tracing::info!(
            name: "worker.started",
            component,
            database = database.at(),
            source = buckets.source,
            artifacts = buckets.artifact,
            region = aws.region,
            concurrency = work.concurrency,
            every = ?work.every,
            "working"
        );
        Self { settings, sandbox, pump, services, breakers, swap, admin, subject, cloudwatch, tasks }
    }

    /// Runs the component on jobs until a stop, and drains.
    pub(super) async fn work(&self, stop: watch::Receiver<Stop>) -> Runs {
        let work = &self.settings.work;
        let settings = ScheduleSettings {
            concurrency: work.concurrency,
            batch: work.batch_size,
            term: self.settings.term,
            drain_timeout: work.drain_timeout,
        };
        let swapper = Arc::clone(&self.swap.swapper);
        let draining = draining(Arc::clone(&swapper), Arc::clone(&self.subject.health), stop.clone());
        let no_swaps = tokio::spawn(draining);
        let (current, teller) = (Arc::clone(&swapper), Arc::clone(&swapper));
        let control = AdmissionControl::new(
            move || Arc::clone(&current.current().program.tally.breaker),
            Arc::clone(&self.breakers.services),
            Arc::clone(&self.breakers.settles),
            move |which, report, step| teller.breaker_changed(which, report, step),
        );
        let run = |jobs| {
            let (sandbox, services, metrics) =
                (Arc::clone(&self.sandbox), Arc::clone(&self.services), Arc::clone(&self.subject.metrics));
            // What works at this moment; the run ends on it.
            let program = Arc::clone(&swapper.current().program);
            async move {
                let end = sandbox.run(&program, &services, jobs).await;
                metrics.run(program.digest(), end.result.as_ref().map_or_else(RunError::kind, |_| "ok"));
                if let Some(recorded) = services.recorder.as_ref().map(|recorder| recorder.stats()) {
                    metrics.traces(recorded.written, recorded.dropped);
                    metrics.recording(recorded.off.is_none());
                }
                end
            }
        };
        let runs = schedule::run(run, Arc::clone(&self.pump), settings, control, stop).await;
        no_swaps.abort();
        runs
    }

    /// Ends all of them; for when no run is left.
    pub(super) async fn stop(self) -> Counts {
        let Self { settings, pump, services, swap, admin, subject, cloudwatch, tasks, .. } = self;
        store_what_is_left(&services.artifacts).await;
        swap.drain();
        if let Some(admin) = admin {
            admin.shutdown().await;
        }
        swap.stop().await;
        for task in tasks {
            task.abort();
        }
        if let Some(cloudwatch) = cloudwatch {
            tell_the_last(&cloudwatch, &settings.database, &subject).await;
        }
        let counts = pump.counts();
        tracing::info!(
            name: "worker.stopped",
            processed = counts.processed,
            retried = counts.retried,
            dead = counts.dead,
            lost = counts.lost,
            "stopped"
        );
        counts
    }
}

/// Listens for notifications, looks for receipts that no trigger saw, and counts what waits. None of it for one pass, and only the
/// first for one of many.
fn background(
    settings: &WorkerSettings,
    (subject, cloudwatch): (&Subject, Option<&Arc<CloudWatch>>),
    worker: &str,
    wake: Arc<Notify>,
) -> Vec<JoinHandle<()>> {
    let WorkerSettings { database, listen: direct, work, .. } = settings;
    let direct = direct.clone().filter(|_| settings.term != Term::OnePass);
    let listener = direct.map(|direct| tokio::spawn(listen(database.clone(), direct, wake)));
    let reconciling = work
        .reconcile_every
        .filter(|_| !settings.term.is_passing())
        .map(|every| tokio::spawn(reconcile::run(database.clone().of_worker(worker), worker.to_owned(), every)));
    // Nobody can ask for it where there is no endpoint.
    let is_asked = settings.admin.address != Some(AdminAddress::Off) || cloudwatch.is_some();
    let counting = (is_asked && !settings.term.is_passing()).then(|| {
        let database = database.clone().of_worker(worker);
        tokio::spawn(count_waiting(database, Arc::clone(&subject.health), Arc::clone(&subject.metrics)))
    });
    let telling = cloudwatch
        .filter(|_| !settings.term.is_passing())
        .map(|cloudwatch| tokio::spawn(tell_each_minute(Arc::clone(cloudwatch), Arc::clone(&subject.health))));
    listener.into_iter().chain(reconciling).chain(counting).chain(telling).collect()
}

fn images(work: &WorkSettings, aws: &Aws, bucket: &str) -> Images {
    let memory = u64::try_from(work.image_memory).unwrap_or(u64::MAX);
    let inline = match work.ocr_source {
        OcrSource::Bytes => LARGEST_INLINE as u64,
        OcrSource::S3 => 0,
    };
    Images::new(aws.s3.clone(), bucket.to_owned(), memory)
        .reached_at(aws.s3_endpoint.as_deref())
        .copied_up_to(inline)
        .shared_by(work.concurrency)
}

/// What was committed, whatever the component says that it did.
fn count(metrics: &Metrics, component: Option<&str>, settled: Settled, took: Option<Duration>) {
    metrics.job_took(settled.as_str(), took);
    if settled != Settled::Released {
        metrics.jobs(component.unwrap_or("host"), settled.as_str(), 1);
    }
}

/// No swap any more, and nobody takes the host for one that works.
async fn draining(swapper: Arc<Swapper>, health: Arc<Health>, mut stop: watch::Receiver<Stop>) {
    if stop.wait_for(|stop| *stop != Stop::No).await.is_ok() {
        health.stops();
        swapper.drain();
    }
}

/// What was paid for and not stored goes with the process.
async fn store_what_is_left(artifacts: &Artifacts) {
    match tokio::time::timeout(STORING, artifacts.flush()).await {
        Ok(0) => {}
        Ok(answers) => tracing::error!(
            name: "artifact.lost_at_stop",
            answers,
            "OCR answers that were paid for could not be stored and are lost"
        ),
        Err(_) => tracing::error!(
            name: "artifact.storing_timed_out",
            "OCR answers that were paid for could not be stored in time and are lost"
        ),
    }
}
