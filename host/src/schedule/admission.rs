//! What keeps the schedule from feeding what fails anyway: one breaker for the component that works, one for the services
//! that its jobs need, one for the database that is to take their results. While one is open nothing is claimed, and what was claimed goes back uncharged.

use std::sync::Arc;
use std::time::Instant;

use crate::breaker::{BreakerState, Report, SharedBreaker};
use crate::sandbox::Service;

/// Which breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerName {
    /// The component fails on everything.
    Component,
    /// Storage or OCR fail for everything.
    Services,
    /// The database takes no result.
    Settles,
}

impl BreakerName {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Component, Self::Services, Self::Settles];

    /// As metrics have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Component => "component",
            Self::Services => "services",
            Self::Settles => "settles",
        }
    }

    /// What is wrong when it is open, in words.
    pub fn subject(self) -> &'static str {
        match self {
            Self::Component => "the component fails on everything",
            Self::Services => "storage or OCR fail for everything",
            Self::Settles => "the database refuses every result",
        }
    }
}

/// What a breaker has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerChange {
    /// It was closed.
    Opened,
    /// The probe failed.
    Reopened,
    /// The cool-down is over.
    HalfOpened,
    /// It works again, or another component does.
    Closed,
}

/// Whoever wants to know of a breaker's changes.
type OnChange = Box<dyn Fn(BreakerName, &Report, BreakerChange) + Send + Sync>;

/// The breakers that stop the schedule.
pub struct AdmissionControl {
    /// Of the component that works at this moment.
    component: Box<dyn Fn() -> Arc<SharedBreaker> + Send + Sync>,
    services: Arc<SharedBreaker>,
    settles: Arc<SharedBreaker>,
    on_change: OnChange,
    /// As they were told last, and since when each has not been closed.
    told: [(BreakerState, Option<Instant>); 3],
    probing: Option<tokio::task::Id>,
}

/// How much may be begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Admission {
    /// Nothing, until a breaker half-opens.
    Nothing,
    /// One run with one job.
    Probe,
    /// As much as there is room for.
    Everything,
}

impl AdmissionControl {
    /// By these breakers; tells `on_change` what they do.
    pub fn new(
        component: impl Fn() -> Arc<SharedBreaker> + Send + Sync + 'static,
        services: Arc<SharedBreaker>,
        settles: Arc<SharedBreaker>,
        on_change: impl Fn(BreakerName, &Report, BreakerChange) + Send + Sync + 'static,
    ) -> Self {
        Self {
            component: Box::new(component),
            services,
            settles,
            on_change: Box::new(on_change),
            told: [(BreakerState::Closed, None); 3],
            probing: None,
        }
    }

    /// How much may be begun now; tells of what has changed.
    pub(super) fn admission(&mut self) -> Admission {
        let breakers = self.breakers();
        for ((which, breaker), told) in BreakerName::ALL.into_iter().zip(&breakers).zip(&mut self.told) {
            let state = breaker.state();
            let step = match (told.0, state) {
                (before, after) if before == after => continue,
                (BreakerState::Closed, _) => BreakerChange::Opened,
                (_, BreakerState::Open { .. }) => BreakerChange::Reopened,
                (_, BreakerState::HalfOpen) => BreakerChange::HalfOpened,
                (_, BreakerState::Closed) => BreakerChange::Closed,
            };
            let since = told.1.filter(|_| step != BreakerChange::Opened).unwrap_or_else(Instant::now);
            *told = (state, Some(since));
            let report = breaker.report();
            log(which, &report, state, since);
            (self.on_change)(which, &report, step);
        }
        let states = breakers.map(|breaker| match breaker.state() {
            BreakerState::Closed => Admission::Everything,
            BreakerState::Open { .. } => Admission::Nothing,
            BreakerState::HalfOpen => Admission::Probe,
        });
        let least = states.into_iter().min().unwrap_or(Admission::Everything);
        if least == Admission::Probe && self.probing.is_some() { Admission::Nothing } else { least }
    }

    /// Why nothing may be begun, in words; none when something may.
    pub(super) fn why_nothing(&self) -> Option<String> {
        BreakerName::ALL.into_iter().zip(self.breakers()).find_map(|(which, breaker)| {
            let open = matches!(breaker.state(), BreakerState::Open { .. });
            breaker.report().why.filter(|_| open).map(|why| format!("{}: {why}", which.subject()))
        })
    }

    /// A probe has begun.
    pub(super) fn probe(&mut self, run: tokio::task::Id) {
        self.probing = Some(run);
    }

    /// A run has ended. A probe that the services served is their success, whatever became of its job; one that did without
    /// them says nothing, and another one is tried.
    pub(super) fn ended(&mut self, run: tokio::task::Id, service: Service) {
        if self.probing == Some(run) {
            self.probing = None;
            if service == Service::Served && self.services.state() == BreakerState::HalfOpen {
                self.services.succeeded(None);
            }
        }
    }

    /// Waits until something else may be admitted than now.
    pub(super) async fn changed(&self) {
        let [component, services, settles] = self.breakers();
        let until = [component.state(), services.state(), settles.state()]
            .into_iter()
            .filter_map(|state| match state {
                BreakerState::Open { until } => Some(until),
                BreakerState::Closed | BreakerState::HalfOpen => None,
            })
            .min();
        let cooled_down = async {
            match until {
                Some(until) => tokio::time::sleep_until(until.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = component.changed() => {}
            () = services.changed() => {}
            () = settles.changed() => {}
            () = cooled_down => {}
        }
    }

    fn breakers(&self) -> [Arc<SharedBreaker>; 3] {
        [(self.component)(), Arc::clone(&self.services), Arc::clone(&self.settles)]
    }
}

fn log(which: BreakerName, report: &Report, state: BreakerState, since: Instant) {
    let subject = which.subject();
    let why = report.why.as_deref().unwrap_or_default();
    match state {
        BreakerState::Open { until } => {
            let pause = until.saturating_duration_since(Instant::now());
            let advice = match which {
                BreakerName::Component => "swap in another one (host swap)",
                BreakerName::Services => "see to the service, its quota and the credentials",
                BreakerName::Settles => {
                    "see to the table, its triggers and constraints (host doctor), then host hurry --all"
                }
            };
            tracing::error!(
                name: "breaker.opened",
                breaker = which.as_str(),
                failures = report.failures,
                ?pause,
                "{subject}: nothing is claimed for now, then one receipt is tried; {advice}. The last failure: {why}"
            );
        }
        BreakerState::HalfOpen => {
            tracing::info!(
                name: "breaker.half_opened",
                breaker = which.as_str(),
                "{subject}: one receipt is tried, to see whether it still does"
            );
        }
        BreakerState::Closed => {
            let open_for = since.elapsed();
            tracing::info!(name: "breaker.closed", breaker = which.as_str(), ?open_for, "working again, at full speed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaker::BreakerSettings;

    #[tokio::test]
    async fn a_probe_that_needed_no_service_says_nothing_of_them() {
        let settings = BreakerSettings { first: std::time::Duration::ZERO, ..BreakerSettings::SERVICES };
        let services = Arc::new(SharedBreaker::new(settings));
        let component = Arc::new(SharedBreaker::new(BreakerSettings::COMPONENT));
        let settles = Arc::new(SharedBreaker::new(BreakerSettings::SETTLES));
        let mut control =
            AdmissionControl::new(move || Arc::clone(&component), Arc::clone(&services), settles, |_, _, _| {});
        (1..=3).for_each(|job| services.failed(Some(job), "503"));
        let run = tokio::spawn(async {}).id();
        for (service, admission) in [
            (Service::Unneeded, Admission::Probe),
            (Service::Failed, Admission::Probe),
            (Service::Served, Admission::Everything),
        ] {
            assert_eq!(control.admission(), Admission::Probe);
            control.probe(run);
            assert_eq!(control.admission(), Admission::Nothing, "one at a time");
            control.ended(run, service);
            assert_eq!(control.admission(), admission, "{service:?}");
        }
    }
}
