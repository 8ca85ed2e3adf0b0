//! Counters for whoever watches over a fleet, in the text format that Prometheus reads.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::interval::{Interval, Running};
use super::stderr;
use crate::health::Depth;

/// Components that have counters of their own. Older ones lose theirs, or a host that swaps often would grow.
const COMPONENTS: usize = 16;
/// Digits of a digest that tell components apart in a dashboard.
const SHORT: usize = 12;

/// All metrics of a host. Their names begin with `receipt_worker_`.
pub struct Metrics {
    registry: Registry,
    swap_stages: Family<Stage, Counter>,
    runs: Family<Component, Counter>,
    jobs: Family<Component, Counter>,
    component_info: Family<Info, Gauge>,
    shadow: Family<Outcome, Counter>,
    traces: Family<Outcome, Counter>,
    breaker_state: Family<Breaker, Gauge>,
    breaker_openings: Family<Breaker, Counter>,
    log_lines_dropped: Counter,
    queue: QueueGauges,
    recording: Gauge,
    interval: Running,
    counted: Mutex<Counted>,
}

/// What waits. Kept as they were when the database is away: `database_up` says so.
struct QueueGauges {
    backlog: Gauge,
    oldest_age: Gauge,
    dead_letters: Gauge,
    reachable: Gauge,
}

impl QueueGauges {
    fn new(registry: &mut Registry) -> Self {
        let mut gauge = |name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        Self {
            backlog: gauge("backlog", "Receipts that wait or are worked, parked ones not; an estimate above 10,000"),
            oldest_age: gauge("oldest_age_seconds", "Since the oldest of these was enqueued"),
            dead_letters: gauge("dead_letters", "Receipts that were given up; an estimate above 10,000"),
            reachable: gauge("database_up", "Whether these could be read a moment ago"),
        }
    }
}

/// Label sets that exist: the library does not tell.
#[derive(Default)]
struct Counted {
    /// Oldest first.
    components: VecDeque<String>,
    sets: HashSet<Component>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stage {
    stage: String,
    outcome: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Component {
    component: String,
    outcome: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Info {
    digest: String,
    state: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Breaker {
    breaker: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: String,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("receipt_worker");
        let swap_stages = Family::default();
        registry.register("swap_stages", "Stages of component swaps that ended", swap_stages.clone());
        let runs = Family::default();
        registry.register("runs", "Runs of a component", runs.clone());
        let jobs = Family::default();
        registry.register("jobs", "Jobs that a component worked", jobs.clone());
        let component_info = Family::default();
        registry.register("component_info", "Components that this host has, and what they do", component_info.clone());
        let shadow = Family::default();
        registry.register("shadow", "Responses that a shadow component read beside the current one", shadow.clone());
        let traces = Family::default();
        registry.register("traces", "Runs that were recorded, or should have been", traces.clone());
        let breaker_state = Family::default();
        let states = "What is let through: 0 everything (closed), 1 one probe (half-open), 2 nothing (open)";
        registry.register("breaker_state", states, breaker_state.clone());
        let breaker_openings = Family::default();
        registry.register("breaker_openings", "How often a breaker opened", breaker_openings.clone());
        let log_lines_dropped = Counter::default();
        let dropped = "Lines of the log that could not be written: who reads it is too slow, gone, or out of space";
        registry.register("log_lines_dropped", dropped, log_lines_dropped.clone());
        let queue = QueueGauges::new(&mut registry);
        let recording = Gauge::default();
        registry.register(
            "recording",
            "Whether runs are recorded: 1 yes, 0 not for now, -1 not wanted",
            recording.clone(),
        );
        recording.set(-1);
        let counted = Mutex::default();
        Self {
            registry,
            swap_stages,
            runs,
            jobs,
            component_info,
            shadow,
            traces,
            breaker_state,
            breaker_openings,
            log_lines_dropped,
            queue,
            recording,
            interval: Running::default(),
            counted,
        }
    }

    /// A stage of a swap ended: `ok`, `refused`, `rolled-back`.
    pub fn swap_stage(&self, stage: &str, outcome: &str) {
        self.swap_stages.get_or_create(&Stage { stage: stage.to_owned(), outcome: outcome.to_owned() }).inc();
    }

    /// A run of the component with this digest ended.
    pub fn run(&self, digest: &str, outcome: &str) {
        self.count(&self.runs, digest, outcome, 1);
    }

    /// The component with this digest worked jobs.
    pub fn jobs(&self, digest: &str, outcome: &str, jobs: u64) {
        self.count(&self.jobs, digest, outcome, jobs);
    }

    /// A job ended so long after its claim, processed, given up (`dead`) or put off (`retried`).
    pub fn job_took(&self, outcome: &str, took: Option<Duration>) {
        self.interval.add(|interval| {
            match outcome {
                "processed" => interval.processed += 1,
                "dead" => interval.failed += 1,
                "retried" => interval.retried += 1,
                _ => return,
            }
            if let Some(took) = took {
                interval.jobs.add(took);
            }
        });
    }

    /// A page was read, and is to be paid for.
    pub fn page_read(&self, took: Duration) {
        self.interval.add(|interval| {
            interval.ocr_pages += 1;
            interval.ocr.add(took);
        });
    }

    /// What happened since this was asked last.
    pub fn interval(&self) -> Interval {
        self.interval.take()
    }

    /// A shadow component read a response.
    pub fn shadow(&self, outcome: &str) {
        self.shadow.get_or_create(&Outcome { outcome: outcome.to_owned() }).inc();
    }

    /// How many runs were recorded so far, and how many could not be.
    pub fn traces(&self, written: u64, dropped: u64) {
        for (outcome, count) in [("written", written), ("dropped", dropped)] {
            let counter = self.traces.get_or_create(&Outcome { outcome: outcome.to_owned() });
            // Counted elsewhere; never less than before.
            counter.inner().fetch_max(count, Ordering::Relaxed);
        }
    }

    /// What waits in the queue; none where the database does not say.
    pub fn depth(&self, depth: Option<&Depth>) {
        self.queue.reachable.set(depth.is_some().into());
        let Some(depth) = depth else { return };
        self.queue.backlog.set(depth.backlog);
        self.queue.oldest_age.set(depth.oldest_age_seconds);
        self.queue.dead_letters.set(depth.dead_letters);
    }

    /// Whether what is to be recorded is.
    pub fn recording(&self, is_on: bool) {
        self.recording.set(is_on.into());
    }

    /// A breaker is in this state now, and has just opened or not.
    pub fn breaker(&self, breaker: &'static str, state: i64, opened: bool) {
        self.breaker_state.get_or_create(&Breaker { breaker }).set(state);
        self.breaker_openings.get_or_create(&Breaker { breaker }).inc_by(opened.into());
    }

    /// All components that the host has now: digest and state (`current`, `previous`, `shadow`, …).
    pub fn components(&self, components: &[(&str, &str)]) {
        self.component_info.clear();
        for (digest, state) in components {
            self.component_info
                .get_or_create(&Info { digest: (*digest).to_owned(), state: (*state).to_owned() })
                .set(1);
        }
    }

    /// All of them as text (OpenMetrics 1.0).
    pub fn encode(&self) -> String {
        self.log_lines_dropped.inner().fetch_max(stderr::dropped(), Ordering::Relaxed);
        let mut encoded = String::new();
        if let Err(error) = text::encode(&mut encoded, &self.registry) {
            tracing::warn!(name: "metrics.failed", %error, "cannot write the metrics");
        }
        encoded
    }

    fn count(&self, family: &Family<Component, Counter>, digest: &str, outcome: &str, count: u64) {
        let component = digest.get(..SHORT).unwrap_or(digest).to_owned();
        let labels = Component { component, outcome: outcome.to_owned() };
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.sets.insert(labels.clone()) {
            self.make_room(&mut counted, &labels.component);
        }
        family.get_or_create(&labels).inc_by(count);
    }

    fn make_room(&self, counted: &mut Counted, component: &String) {
        if counted.components.contains(component) {
            return;
        }
        counted.components.push_back(component.clone());
        if counted.components.len() <= COMPONENTS {
            return;
        }
        let Some(oldest) = counted.components.pop_front() else { return };
        for old in counted.sets.extract_if(|labels| labels.component == oldest) {
            self.runs.remove(&old);
            self.jobs.remove(&old);
        }
    }
}

/// The media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_named_and_labelled() {
        let (metrics, digest) = (Metrics::new(), "0123456789abcdef");
        metrics.swap_stage("gate", "refused");
        metrics.run(digest, "ok");
        metrics.jobs(digest, "processed", 7);
        metrics.shadow("same");
        metrics.traces(1, 0);
        metrics.breaker("component", 2, true);
        metrics.breaker("services", 0, false);
        let depth = Depth { backlog: 12, estimated: false, oldest_age_seconds: 34, dead_letters: 5 };
        metrics.depth(Some(&depth));
        metrics.depth(None);
        metrics.recording(false);
        metrics.components(&[("old", "current")]);
        metrics.components(&[(digest, "current"), ("old", "previous")]);
        let text = metrics.encode();
        for line in [
            "receipt_worker_swap_stages_total{stage=\"gate\",outcome=\"refused\"} 1",
            "receipt_worker_runs_total{component=\"0123456789ab\",outcome=\"ok\"} 1",
            "receipt_worker_jobs_total{component=\"0123456789ab\",outcome=\"processed\"} 7",
            "receipt_worker_shadow_total{outcome=\"same\"} 1",
            "receipt_worker_traces_total{outcome=\"written\"} 1",
            "receipt_worker_component_info{digest=\"0123456789abcdef\",state=\"current\"} 1",
            "receipt_worker_component_info{digest=\"old\",state=\"previous\"} 1",
            "receipt_worker_breaker_state{breaker=\"component\"} 2",
            "receipt_worker_breaker_openings_total{breaker=\"component\"} 1",
            "receipt_worker_breaker_state{breaker=\"services\"} 0",
            "receipt_worker_breaker_openings_total{breaker=\"services\"} 0",
            "receipt_worker_log_lines_dropped_total 0",
            "receipt_worker_backlog 12",
            "receipt_worker_oldest_age_seconds 34",
            "receipt_worker_dead_letters 5",
            "receipt_worker_database_up 0",
            "receipt_worker_recording 0",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
        }
        assert!(!text.contains("digest=\"old\",state=\"current\""), "{text}");
    }

    #[test]
    fn many_components_do_not_make_it_grow() {
        let metrics = Metrics::new();
        for number in 0..200 {
            let digest = format!("{number:064x}").chars().rev().collect::<String>();
            metrics.run(&digest, "ok");
            metrics.run(&digest, "trapped");
            metrics.jobs(&digest, "processed", 1);
        }
        let text = metrics.encode();
        assert_eq!(text.lines().filter(|line| line.contains("{component=")).count(), 3 * COMPONENTS, "{text}");
    }
}
