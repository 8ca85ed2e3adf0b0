//! What is deployed on this host: which component works, how far it is trusted, and which one to go back to. Every change of
//! it is a function here, and all of them happen under one lock (see [`super::swapper`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::probation::{Judgement, ProbationSettings, judge};
use crate::sandbox::JobCounts;

/// What can be deployed.
pub(super) trait Component {
    /// SHA-256, hexadecimal.
    fn digest(&self) -> &str;
    /// What became of its jobs.
    fn counts(&self) -> JobCounts;
    /// What it decides against receipts from here on is remembered, to be undone.
    fn distrust(&self);
    /// All that it decided stands.
    fn trust(&self);
}

/// The state machine. Generic only so that its tests need no compiled component.
pub(super) struct Deployment<C> {
    /// The last one that proved itself: what works, or what to go back to.
    confirmed: Arc<C>,
    state: State<C>,
    /// Digests that were rolled back here, and why; the ledger has those of other hosts as well.
    rolled_back: BTreeMap<String, String>,
    /// What works, for whoever only reads that: follows `state`, and decides nothing.
    current: Arc<ArcSwap<C>>,
}

enum State<C> {
    /// The confirmed one works.
    Confirmed,
    /// Another one works, and must do no worse than the confirmed one did (`baseline`). What it decides against receipts is
    /// remembered beside its counts, where runs write both.
    OnProbation { component: Arc<C>, baseline: JobCounts },
}

/// What putting a component in the place of another one came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Switched {
    /// It is on probation.
    OnProbation,
    /// It is trusted at once: nothing is to be proved (any more).
    Confirmed(&'static str),
    /// The one that it was compared with does not work any more; nothing was changed.
    Outdated,
}

/// What became of a component on probation.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// It is on probation still.
    Undecided,
    /// It proved itself; how.
    Confirmed(String),
    /// It did worse, why; the confirmed one works again.
    RolledBack(String),
    /// Another one took its place before it was clear: nobody doubts it.
    Replaced,
}

impl<C: Component> Deployment<C> {
    /// The first one has nobody to be measured by.
    pub(super) fn new(first: Arc<C>) -> Self {
        let current = Arc::new(ArcSwap::new(Arc::clone(&first)));
        Self { confirmed: first, state: State::Confirmed, rolled_back: BTreeMap::new(), current }
    }

    /// What works at any moment, to be read without the lock.
    pub(super) fn reader(&self) -> Arc<ArcSwap<C>> {
        Arc::clone(&self.current)
    }

    /// What works.
    pub(super) fn current(&self) -> &Arc<C> {
        match &self.state {
            State::Confirmed => &self.confirmed,
            State::OnProbation { component, .. } => component,
        }
    }

    /// The last one that proved itself.
    pub(super) fn confirmed(&self) -> &Arc<C> {
        &self.confirmed
    }

    /// The state of what works, in words.
    pub(super) fn state(&self) -> &'static str {
        match self.state {
            State::Confirmed => "confirmed",
            State::OnProbation { .. } => "on probation",
        }
    }

    /// Digests that were rolled back here, and why.
    pub(super) fn rolled_back(&self) -> &BTreeMap<String, String> {
        &self.rolled_back
    }

    /// Somebody allowed it since.
    pub(super) fn allow(&mut self, digest: &str) {
        self.rolled_back.remove(digest);
    }

    /// Puts `next` in the place of `compared`, the one that it was compared with.
    pub(super) fn switch(&mut self, next: &Arc<C>, compared: &Arc<C>, settings: ProbationSettings) -> Switched {
        if !Arc::ptr_eq(self.current(), compared) {
            return Switched::Outdated;
        }
        if Arc::ptr_eq(next, &self.confirmed) {
            self.confirm(next);
            return Switched::Confirmed("it was confirmed before");
        }
        if settings.jobs == 0 {
            self.confirm(next);
            return Switched::Confirmed("no probation is configured");
        }
        // Before a run can begin on it.
        next.distrust();
        // Measured by one that proved itself, while it worked: the one before may have been on probation, too.
        let baseline = self.confirmed.counts();
        self.enter(State::OnProbation { component: Arc::clone(next), baseline });
        Switched::OnProbation
    }

    /// Judges a component that was put on probation by what became of its jobs since.
    pub(super) fn judge(&mut self, component: &Arc<C>, settings: ProbationSettings) -> Judged {
        let State::OnProbation { component: current, baseline } = &self.state else { return Judged::Replaced };
        if !Arc::ptr_eq(current, component) {
            return Judged::Replaced;
        }
        let counts = component.counts();
        match judge(settings, *baseline, counts) {
            Judgement::Wait => Judged::Undecided,
            Judgement::Confirm => {
                self.confirm(component);
                Judged::Confirmed(format!("did no worse in {} jobs", counts.jobs))
            }
            Judgement::RollBack(why) => {
                self.rolled_back.insert(component.digest().to_owned(), why.clone());
                self.enter(State::Confirmed);
                Judged::RolledBack(why)
            }
        }
    }

    fn confirm(&mut self, component: &Arc<C>) {
        component.trust();
        self.confirmed = Arc::clone(component);
        self.enter(State::Confirmed);
    }

    fn enter(&mut self, state: State<C>) {
        self.state = state;
        self.current.store(Arc::clone(self.current()));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    const SETTINGS: ProbationSettings = ProbationSettings { jobs: 10, margin: 0.1 };

    /// A component that did as it is told.
    #[derive(Debug)]
    struct Fake {
        digest: &'static str,
        counts: Mutex<JobCounts>,
        trusted: AtomicBool,
    }

    fn component(digest: &'static str) -> Arc<Fake> {
        Arc::new(Fake { digest, counts: Mutex::default(), trusted: AtomicBool::new(true) })
    }

    impl Fake {
        fn worked(&self, jobs: u64, failures: u64) {
            *self.counts.lock().unwrap() = JobCounts { jobs, failures, ..JobCounts::default() };
        }

        fn is_trusted(&self) -> bool {
            self.trusted.load(Ordering::Relaxed)
        }
    }

    impl Component for Fake {
        fn digest(&self) -> &str {
            self.digest
        }

        fn counts(&self) -> JobCounts {
            *self.counts.lock().unwrap()
        }

        fn distrust(&self) {
            self.trusted.store(false, Ordering::Relaxed);
        }

        fn trust(&self) {
            self.trusted.store(true, Ordering::Relaxed);
        }
    }

    /// What works, what to go back to, and whether whoever reads only the pointer sees the same.
    fn names(deployment: &Deployment<Fake>) -> (&'static str, &'static str) {
        assert!(Arc::ptr_eq(&deployment.reader().load(), deployment.current()), "the cache follows");
        (deployment.current().digest, deployment.confirmed().digest)
    }

    #[test]
    fn a_component_that_does_no_worse_is_confirmed() {
        let (old, new) = (component("old"), component("new"));
        let mut deployment = Deployment::new(Arc::clone(&old));
        assert_eq!(deployment.switch(&new, &old, SETTINGS), Switched::OnProbation);
        assert_eq!((names(&deployment), deployment.state()), (("new", "old"), "on probation"));
        assert!(!new.is_trusted());
        new.worked(9, 0);
        assert_eq!(deployment.judge(&new, SETTINGS), Judged::Undecided);
        new.worked(10, 0);
        assert_eq!(deployment.judge(&new, SETTINGS), Judged::Confirmed("did no worse in 10 jobs".to_owned()));
        assert_eq!((names(&deployment), deployment.state()), (("new", "new"), "confirmed"));
        assert!(new.is_trusted());
    }

    #[test]
    fn one_that_does_worse_is_rolled_back_and_remembered() {
        let (old, bad) = (component("old"), component("bad"));
        let mut deployment = Deployment::new(Arc::clone(&old));
        deployment.switch(&bad, &old, SETTINGS);
        bad.worked(2, 2);
        assert!(matches!(deployment.judge(&bad, SETTINGS), Judged::RolledBack(why) if why.contains("2 failures")));
        assert_eq!((names(&deployment), deployment.state()), (("old", "old"), "confirmed"));
        assert!(!bad.is_trusted(), "what it has in hand is not final");
        assert!(deployment.rolled_back().get("bad").is_some_and(|why| why.contains("2 failures")));
        deployment.allow("bad");
        assert!(deployment.rolled_back().is_empty());
        // Once is enough.
        assert_eq!(deployment.judge(&bad, SETTINGS), Judged::Replaced);
        assert_eq!(names(&deployment), ("old", "old"));
    }

    #[test]
    fn one_that_is_replaced_on_probation_is_neither_doubted_nor_a_measure_for_the_next() {
        let (old, bad, worse) = (component("old"), component("bad"), component("worse"));
        let mut deployment = Deployment::new(Arc::clone(&old));
        old.worked(10, 0);
        deployment.switch(&bad, &old, SETTINGS);
        bad.worked(2, 2);
        assert_eq!(deployment.switch(&worse, &bad, SETTINGS), Switched::OnProbation);
        assert_eq!(names(&deployment), ("worse", "old"));
        assert_eq!(deployment.judge(&bad, SETTINGS), Judged::Replaced);
        assert!(deployment.rolled_back().is_empty() && !bad.is_trusted());
        worse.worked(3, 2);
        assert!(matches!(deployment.judge(&worse, SETTINGS), Judged::RolledBack(_)), "measured by the old one");
        assert_eq!(names(&deployment), ("old", "old"));
    }

    #[test]
    fn what_the_old_one_does_after_the_switch_excuses_nothing() {
        let (old, new) = (component("old"), component("new"));
        let mut deployment = Deployment::new(Arc::clone(&old));
        deployment.switch(&new, &old, SETTINGS);
        old.worked(100, 100);
        new.worked(2, 2);
        assert!(matches!(deployment.judge(&new, SETTINGS), Judged::RolledBack(_)));
    }

    #[test]
    fn a_comparison_with_what_works_no_more_changes_nothing() {
        let (old, bad, next) = (component("old"), component("bad"), component("next"));
        let mut deployment = Deployment::new(Arc::clone(&old));
        deployment.switch(&bad, &old, SETTINGS);
        bad.worked(2, 2);
        deployment.judge(&bad, SETTINGS);
        assert_eq!(deployment.switch(&next, &bad, SETTINGS), Switched::Outdated);
        assert_eq!(names(&deployment), ("old", "old"));
        assert!(next.is_trusted());
    }

    #[test]
    fn the_confirmed_one_comes_back_without_probation() {
        let (old, new) = (component("old"), component("new"));
        let mut deployment = Deployment::new(Arc::clone(&old));
        deployment.switch(&new, &old, SETTINGS);
        assert_eq!(deployment.switch(&old, &new, SETTINGS), Switched::Confirmed("it was confirmed before"));
        assert_eq!((names(&deployment), deployment.state()), (("old", "old"), "confirmed"));
        assert!(old.is_trusted() && deployment.rolled_back().is_empty());
        assert_eq!(deployment.judge(&new, SETTINGS), Judged::Replaced);
    }

    #[test]
    fn without_probation_everything_is_confirmed_at_once() {
        let (old, new) = (component("old"), component("new"));
        let mut deployment = Deployment::new(Arc::clone(&old));
        let none = ProbationSettings { jobs: 0, ..SETTINGS };
        assert_eq!(deployment.switch(&new, &old, none), Switched::Confirmed("no probation is configured"));
        assert_eq!(names(&deployment), ("new", "new"));
        assert!(new.is_trusted());
    }
}
