//! When to run: at once when there is work, again at once while there is more, at every notification, and at every
//! interval for what a notification missed. One run works a few jobs in a fresh instance; runs go side by side.

mod admission;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

pub use admission::{AdmissionControl, BreakerChange, BreakerName};

use self::admission::Admission;
use crate::queue::{Job, Pump};
use crate::sandbox::{RunEnd, Service};

/// How long one pass waits for a queue that cannot be reached.
const ONCE_TIMEOUT: Duration = Duration::from_secs(60);

/// How the schedule works.
#[derive(Debug, Clone)]
pub struct ScheduleSettings {
    /// Runs side by side.
    pub concurrency: usize,
    /// Jobs that one run takes, at most.
    pub batch: usize,
    /// For how long.
    pub term: Term,
    /// How long runs may take to end after a stop was asked for.
    pub drain_timeout: Duration,
}

/// For how long a worker works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Term {
    /// Until it is told to stop.
    UntilStopped,
    /// One pass over what is due, or until it is told to stop.
    OnePass,
    /// Until it is told to stop, which is soon: as one of many that follow each other.
    Shift,
}

impl Term {
    /// Whether others come before and after it: it waits for nothing that may be there for the next one, and is no event of its
    /// own.
    pub fn is_passing(self) -> bool {
        self != Self::UntilStopped
    }
}

/// What the process was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// Nothing: go on.
    No,
    /// Begin nothing, end what was begun.
    Drain,
}

/// What happened, besides what the pump counts.
#[derive(Debug, Clone, Default)]
pub struct Runs {
    /// Runs of the component.
    pub runs: u64,
    /// Runs that failed (trap, limit).
    pub failed: u64,
    /// Whether everything that was begun also ended.
    pub drained: bool,
    /// Why a pass was not worked to its end, or the work not to the stop.
    pub gave_up: Option<String>,
}

/// Calls `work` with jobs until a stop is asked for, or (in one pass) until nothing is due.
pub async fn run<F>(
    work: impl Fn(Vec<Job>) -> F,
    pump: Arc<Pump>,
    settings: ScheduleSettings,
    mut control: AdmissionControl,
    mut stop: watch::Receiver<Stop>,
) -> Runs
where
    F: Future<Output = RunEnd> + Send + 'static,
{
    let mut ready = pump.ready();
    let mut running = Running::default();
    let mut report = Runs::default();
    let one_pass = settings.term == Term::OnePass;
    while *stop.borrow_and_update() == Stop::No {
        let admission = control.admission();
        pump.admit(match admission {
            Admission::Nothing => 0,
            Admission::Probe => 1,
            Admission::Everything => usize::MAX,
        });
        match admission {
            Admission::Nothing => {}
            Admission::Probe => {
                if let Some(probe) = start_run(&pump, 1, &mut running, &work) {
                    control.probe(probe);
                }
            }
            Admission::Everything => start_runs(&settings, &pump, &mut running, &work),
        }
        if let Some(why) = pump.broken() {
            report.gave_up = Some(why);
            break;
        }
        if one_pass && running.set.is_empty() && pump.is_idle() {
            break;
        }
        if let Some(why) = control.why_nothing().filter(|_| one_pass && running.set.is_empty()) {
            // Nobody waits in one pass until something is mended; the next pass tries again.
            report.gave_up = Some(why);
            break;
        }
        if let Some((failing, why)) = pump.failing().filter(|(failing, _)| one_pass && *failing > ONCE_TIMEOUT) {
            report.gave_up = Some(format!("the queue could not be reached for {} s: {why}", failing.as_secs()));
            break;
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(5)), if one_pass => {}
            _ = stop.changed() => {}
            _ = ready.changed() => {}
            () = control.changed() => {}
            Some(ended) = running.set.join_next_with_id() => {
                let run = ended.as_ref().map_or_else(JoinError::id, |(run, _)| *run);
                let jobs = running.jobs.remove(&run).unwrap_or_default();
                match &ended {
                    Ok((_, end)) => control.ended(run, end.service),
                    Err(_) => {
                        control.ended(run, Service::Failed);
                        // What it has settled is not touched by this.
                        jobs.iter().for_each(|job| pump.release(job));
                    }
                }
                report.count(ended.map(|(_, end)| end));
            }
        }
    }
    if settings.term.is_passing() && report.gave_up.is_none() && *stop.borrow() != Stop::No {
        // Whoever sees that nothing was worked is to see why.
        let unreachable = || pump.failing().map(|(_, why)| format!("the queue could not be reached: {why}"));
        report.gave_up = control.why_nothing().or_else(unreachable);
    }
    drain(&pump, &mut running.set, &mut report, settings.drain_timeout).await;
    report
}

/// Runs that have begun, with the jobs of each: one that ends abnormally cannot give them back itself.
#[derive(Default)]
struct Running {
    set: JoinSet<RunEnd>,
    jobs: HashMap<Id, Vec<Job>>,
}

/// Spreads what waits over the free instances.
fn start_runs<F>(settings: &ScheduleSettings, pump: &Pump, running: &mut Running, work: &impl Fn(Vec<Job>) -> F)
where
    F: Future<Output = RunEnd> + Send + 'static,
{
    loop {
        let free = settings.concurrency.saturating_sub(running.set.len());
        let waiting = *pump.ready().borrow();
        if free == 0 || waiting == 0 {
            return;
        }
        if start_run(pump, waiting.div_ceil(free).clamp(1, settings.batch), running, work).is_none() {
            return;
        }
    }
}

/// Begins one run with up to `limit` jobs, if there are any.
fn start_run<F>(pump: &Pump, limit: usize, running: &mut Running, work: &impl Fn(Vec<Job>) -> F) -> Option<Id>
where
    F: Future<Output = RunEnd> + Send + 'static,
{
    let jobs = pump.take(limit);
    if jobs.is_empty() {
        return None;
    }
    let run = running.set.spawn(work(jobs.clone())).id();
    running.jobs.insert(run, jobs);
    Some(run)
}

/// Gives back what was not begun, then waits for what was, up to the timeout. (A second signal ends the process.)
async fn drain(pump: &Pump, running: &mut JoinSet<RunEnd>, report: &mut Runs, timeout: Duration) {
    pump.stop_claiming();
    if !running.is_empty() {
        tracing::info!(
            name: "worker.draining",
            running = running.len(),
            ?timeout,
            "draining: a second signal stops at once"
        );
    }
    let deadline = Instant::now() + timeout;
    let all = async {
        while let Some(ended) = running.join_next().await {
            report.count(ended);
        }
    };
    report.drained = tokio::select! {
        () = all => true,
        () = tokio::time::sleep_until(deadline) => {
            tracing::warn!(
                name: "worker.drain_timed_out",
                ?timeout,
                "runs did not end in time; their jobs go back to the queue"
            );
            false
        }
    };
    running.shutdown().await;
    pump.release_held();
    let rest = deadline.saturating_duration_since(Instant::now()).max(Duration::from_secs(5));
    if !pump.finish(rest).await {
        tracing::warn!(
            name: "worker.settle_timed_out",
            "not everything could be settled; the leases run out by themselves"
        );
        report.drained = false;
    }
}

impl Runs {
    fn count(&mut self, ended: Result<RunEnd, JoinError>) {
        self.runs += 1;
        match ended {
            Ok(RunEnd { result: Ok(_), .. }) => {}
            Ok(_) => self.failed += 1,
            Err(error) => {
                tracing::error!(
                    name: "worker.run_failed",
                    %error,
                    "a run ended abnormally; its jobs go back to the queue"
                );
                self.failed += 1;
            }
        }
    }
}
