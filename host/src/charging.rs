//! Who pays for an attempt: whether it counts towards `MAX_ATTEMPTS`, and whether the receipt is given up. The component decides
//! by a failure's kind, for it sees one receipt. The host sees all of them, and overrules it here and nowhere else. Pure.
//!
//! docs/failures.md ("Who pays for an attempt") has [`charge`] as a table, and a test compares the two case by case.

use crate::failure::FailureKind;

/// Claims of one job from which on a retry is charged though nobody is to blame (throttling excepted): with the waits of an
/// outage about a week. What nobody can read must not go round for ever.
pub const MOST_UNCHARGED_CLAIMS: u32 = 1000;
/// Failures on one job that are charged to nobody while the component fails on everything: with the host's backoff some hours.
pub const MOST_UNCHARGED_FAILURES: u32 = 20;

/// What an attempt costs its receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charge {
    /// One of its attempts.
    Charged,
    /// Nothing: it is tried again, as if there had been no attempt.
    Uncharged,
    /// Everything: it is given up.
    Dead,
}

/// How an attempt ended that did not complete the receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The component asks for another attempt.
    Retry { kind: FailureKind, charge: bool },
    /// The component gives the receipt up.
    GiveUp { kind: FailureKind },
    /// The component trapped, hit a limit or ended with an error while it worked the receipt, or the host panicked.
    Crash,
    /// The job goes back without having been worked: it was not begun, or the component let it go, or the host ends.
    Unworked,
    /// The database refuses the result, for what is in it.
    ResultRefused,
    /// The outcome cannot be written for any other reason: a lock, a missing right.
    Unwritable,
    /// The lease ended and nobody renewed it: the worker crashed.
    WorkerLost,
}

/// What is known of a job when its attempt ends. By default nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Circumstances {
    pub attempt: Attempt,
    pub component: ComponentHealth,
    pub dependencies: DependencyHealth,
}

/// Which attempt it was.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// Attempts granted.
    pub granted: u32,
    /// How often the job was claimed; uncharged attempts count as well.
    pub claims: u32,
}

impl Default for Attempt {
    fn default() -> Self {
        Self { number: 1, granted: u32::MAX, claims: 1 }
    }
}

impl Attempt {
    /// Whether no other one is granted.
    pub fn is_last(self) -> bool {
        self.number >= self.granted
    }
}

/// How the component fares with other jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ComponentHealth {
    /// It works for others; where it fails, this job may be to blame.
    #[default]
    Works,
    /// It fails on everything, and has failed on this job so often, this time included.
    FailsOnAll { times: u32 },
    /// It has yet to prove itself, or was rolled back.
    Unproven,
}

/// How storage and OCR fare with other jobs, where they failed on this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DependencyHealth {
    /// Nothing that the component does not know: its word stands.
    #[default]
    Unknown,
    /// They fail on others, too.
    Down,
    /// They work for others: the failure is this receipt's own.
    WorkForOthers,
    /// The photo is not there, and may yet come.
    PhotoMayCome,
}

/// What this attempt costs.
pub fn charge(cause: Cause, known: &Circumstances) -> Charge {
    use DependencyHealth as D;
    let attempt = known.attempt;
    let costs = match (cause, known.dependencies) {
        (Cause::Unworked | Cause::Unwritable, _) => Charge::Uncharged,
        (Cause::ResultRefused, _) => Charge::Dead,
        (Cause::WorkerLost, _) => Charge::Charged,
        (Cause::Crash, _) => of_crash(known.component),
        (Cause::Retry { .. }, D::PhotoMayCome) => Charge::Uncharged,
        (Cause::Retry { kind, .. }, D::Down) | (Cause::Retry { kind, charge: false }, D::Unknown) => {
            at_nobodys_cost(kind, attempt)
        }
        (Cause::Retry { charge: true, .. }, D::Unknown) | (Cause::Retry { .. }, D::WorkForOthers) => Charge::Charged,
        // The attempts ran out on what is nobody's fault.
        (Cause::GiveUp { .. }, D::PhotoMayCome) if attempt.is_last() => Charge::Uncharged,
        (Cause::GiveUp { kind }, D::Down) if attempt.is_last() => at_nobodys_cost(kind, attempt),
        (Cause::GiveUp { .. }, _) => Charge::Dead,
    };
    match costs {
        // The limit is the host's to keep, whatever the component decides.
        Charge::Charged if attempt.is_last() => Charge::Dead,
        costs => costs,
    }
}

fn of_crash(component: ComponentHealth) -> Charge {
    match component {
        ComponentHealth::Works => Charge::Charged,
        // Spared so often it may be the reason.
        ComponentHealth::FailsOnAll { times } if times > MOST_UNCHARGED_FAILURES => Charge::Charged,
        ComponentHealth::FailsOnAll { .. } | ComponentHealth::Unproven => Charge::Uncharged,
    }
}

fn at_nobodys_cost(kind: FailureKind, attempt: Attempt) -> Charge {
    match attempt.claims >= MOST_UNCHARGED_CLAIMS && kind != FailureKind::Throttled {
        true => Charge::Charged,
        false => Charge::Uncharged,
    }
}

#[cfg(test)]
mod tests;
