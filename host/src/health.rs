//! Whether this host works, as the platform that runs it asks (`/readyz`, `host health`): what its parts told last. Who tells
//! waits for nobody, and who asks makes nobody do anything: a question from outside costs no statement.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use serde::Serialize;

/// What a worker needs, in the order in which it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    Component,
    Storage,
    Database,
    Schema,
}

impl Part {
    const ALL: [Self; 4] = [Self::Component, Self::Storage, Self::Database, Self::Schema];

    fn as_str(self) -> &'static str {
        match self {
            Self::Component => "component",
            Self::Storage => "storage",
            Self::Database => "database",
            Self::Schema => "schema",
        }
    }
}

/// What waits in the queue, seen a moment ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Depth {
    /// Receipts that wait or are worked; those that a person parked are not counted.
    pub backlog: i64,
    /// Whether that is an estimate: it is counted up to 10,000.
    pub estimated: bool,
    /// Since the oldest of them was enqueued, of the 10,000 that were or will be due first.
    pub oldest_age_seconds: i64,
    /// Receipts that were given up; counted up to 10,000, too.
    pub dead_letters: i64,
}

/// How a worker is at this moment.
#[derive(Debug, Clone, Default)]
pub struct Pulse {
    /// The digest of the component that works.
    pub component: String,
    /// Why the queue cannot be reached.
    pub unreachable: Option<String>,
    /// Why nothing can be claimed or settled any more.
    pub broken: Option<String>,
    /// Since the queue was looked at.
    pub last_poll: Option<Duration>,
    /// That is longer ago than it should be, and there is nothing else to do.
    pub overdue: bool,
    /// What is not fed for now because it fails for everything, and why.
    pub paused: Vec<(&'static str, String)>,
    /// Why runs are not recorded that should be.
    pub recording_off: Option<String>,
}

/// What the parts of a host told last.
#[derive(Default)]
pub struct Health {
    told: Mutex<Told>,
    pulse: OnceLock<Box<dyn Fn() -> Pulse + Send + Sync>>,
}

#[derive(Debug, Default)]
struct Told {
    /// What the start waits for, and why.
    waits: Option<(Part, String)>,
    stopping: bool,
    depth: Option<Depth>,
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").field("told", &self.told).finish_non_exhaustive()
    }
}

/// The answer.
#[derive(Debug, Clone, Serialize)]
pub struct Readiness {
    /// Whether receipts are worked, or would be if there were any.
    pub ready: bool,
    /// By name; all must be ok.
    pub checks: BTreeMap<&'static str, Check>,
    /// The digest of the component that works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// Since the queue was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_poll_seconds: Option<f64>,
    /// What waits; none before it was counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<Depth>,
    /// What is not fed for now. A service that is away makes no host unready: another host would not reach it either.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub paused: BTreeMap<&'static str, String>,
    /// Why runs are not recorded that should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recording_off: Option<String>,
}

/// One of the checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    pub ok: bool,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Check {
    fn from(problem: Option<String>) -> Self {
        Self { ok: problem.is_none(), why: problem }
    }
}

impl Health {
    /// The start waits for this, and tries again.
    pub fn waits_for(&self, part: Part, why: String) {
        self.lock().waits = Some((part, why));
    }

    /// All is there. From now on the worker itself is asked how it is.
    pub fn works(&self, pulse: impl Fn() -> Pulse + Send + Sync + 'static) {
        self.lock().waits = None;
        let _ = self.pulse.set(Box::new(pulse));
    }

    /// It drains.
    pub fn stops(&self) {
        self.lock().stopping = true;
    }

    /// What waits in the queue; none where that cannot be told.
    pub fn counted(&self, depth: Option<Depth>) {
        self.lock().depth = depth;
    }

    /// What waited a moment ago.
    pub fn depth(&self) -> Option<Depth> {
        self.lock().depth
    }

    /// How it is.
    pub fn readiness(&self) -> Readiness {
        let pulse = self.pulse.get().map(|pulse| pulse());
        let told = self.lock();
        let mut checks: BTreeMap<_, _> = match &pulse {
            None => Part::ALL.map(|part| (part.as_str(), Check::from(Some(told.before_start(part))))).into(),
            Some(pulse) => pulse.checks().into(),
        };
        if told.stopping {
            checks.insert("stop", Check::from(Some("the host is draining".to_owned())));
        }
        let ready = checks.values().all(|check| check.ok);
        let pulse = pulse.unwrap_or_default();
        Readiness {
            ready,
            checks,
            component: Some(pulse.component).filter(|digest| !digest.is_empty()),
            last_poll_seconds: pulse.last_poll.map(|since| (since.as_secs_f64() * 1000.0).round() / 1000.0),
            queue: told.depth,
            paused: pulse.paused.into_iter().collect(),
            recording_off: pulse.recording_off,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    fn before_start(&self, part: Part) -> String {
        match &self.waits {
            Some((waits, why)) if *waits == part => why.clone(),
            _ => "not looked at yet: the host is starting".to_owned(),
        }
    }
}

impl Pulse {
    fn checks(&self) -> [(&'static str, Check); 5] {
        let component = self.paused.iter().find(|(which, _)| *which == "component");
        let idle = self.overdue.then(|| "the queue was not looked at for too long".to_owned());
        [
            (
                Part::Component.as_str(),
                Check::from(component.map(|(_, why)| format!("it fails for everything: {why}"))),
            ),
            // Both were looked at before the worker began. What becomes of them later is the work's to find out.
            (Part::Storage.as_str(), Check::from(None)),
            (Part::Schema.as_str(), Check::from(None)),
            (Part::Database.as_str(), Check::from(self.unreachable.clone())),
            ("polling", Check::from(self.broken.clone().or(idle))),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(readiness: &Readiness) -> Vec<&str> {
        readiness.checks.iter().filter(|(_, check)| !check.ok).map(|(name, _)| *name).collect()
    }

    #[test]
    fn a_start_says_what_it_waits_for() {
        let health = Health::default();
        assert_eq!(failed(&health.readiness()), ["component", "database", "schema", "storage"]);
        health.waits_for(Part::Database, "nobody answers".to_owned());
        let why = |name: &str| health.readiness().checks.get(name).and_then(|check| check.why.clone());
        assert_eq!(why("database").as_deref(), Some("nobody answers"));
        assert!(why("schema").is_some_and(|why| why.starts_with("not looked at yet")));
        health.works(Pulse::default);
        assert!(health.readiness().ready);
        health.stops();
        assert_eq!(failed(&health.readiness()), ["stop"]);
    }

    #[test]
    fn each_thing_that_keeps_receipts_from_being_worked_makes_it_unready() {
        let cases = [
            (Pulse { unreachable: Some("gone".into()), ..Pulse::default() }, vec!["database"]),
            (Pulse { broken: Some("a task ended".into()), ..Pulse::default() }, vec!["polling"]),
            (Pulse { overdue: true, ..Pulse::default() }, vec!["polling"]),
            (Pulse { paused: vec![("component", "traps".into())], ..Pulse::default() }, vec!["component"]),
            // It would be no better elsewhere.
            (Pulse { paused: vec![("services", "Textract is away".into())], ..Pulse::default() }, vec![]),
            (Pulse { recording_off: Some("the disk is full".into()), ..Pulse::default() }, vec![]),
        ];
        for (pulse, expected) in cases {
            let health = Health::default();
            let now = pulse.clone();
            health.works(move || now.clone());
            assert_eq!(failed(&health.readiness()), expected, "{pulse:?}");
        }
    }
}
