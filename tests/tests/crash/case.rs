//! What the matrix is made of, in one place: stages of a job × moments × faults × numbers of hosts.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use clap::ValueEnum;
use tests::wire::{Ambush, Fault, Moment, Step};

const HOSTS: [usize; 2] = [1, 3];

/// A step as a job comes to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stage {
    Claim,
    ReadImage,
    Recognize,
    StoreArtifact,
    Complete,
    /// Of a job whose artifact an earlier attempt has stored.
    FindArtifact,
    OpenArtifact,
    Heartbeat,
    /// The settle of a job that Textract throttled.
    RetryAfter,
    /// The settle of a job that Textract refused.
    DeadLetter,
    /// After a claim whose reply was lost.
    TakeIn,
    /// After a settle whose reply was lost.
    LookUp,
    /// Of jobs that a drain found unbegun.
    GiveBack,
    /// The look for jobs whose worker died on their last attempt.
    Exhausted,
}

/// One test.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) stage: Stage,
    pub(crate) moment: Moment,
    pub(crate) fault: Fault,
    pub(crate) hosts: usize,
}

impl Case {
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        Stage::value_variants().iter().flat_map(|&stage| {
            Moment::value_variants().iter().flat_map(move |&moment| {
                Fault::value_variants()
                    .iter()
                    .flat_map(move |&fault| HOSTS.map(|hosts| Self { stage, moment, fault, hosts }))
            })
        })
    }

    pub(crate) fn name(&self) -> String {
        let Self { stage, moment, fault, hosts } = self;
        let company = if *hosts == 1 { "alone" } else { "among_three" };
        format!("{}::{}::{}::{company}", word(stage), word(moment), word(fault))
    }

    pub(crate) fn ambush(&self) -> Ambush {
        let (step, nth) = match self.stage {
            Stage::Claim => (Step::Claim, 2),
            Stage::ReadImage => (Step::ReadImage, 2),
            Stage::Recognize => (Step::Recognize, 2),
            Stage::StoreArtifact => (Step::StoreArtifact, 2),
            Stage::Complete => (Step::Complete, 2),
            Stage::FindArtifact => (Step::FindArtifact, 2),
            Stage::OpenArtifact => (Step::OpenArtifact, 2),
            Stage::Heartbeat => (Step::Heartbeat, 1),
            Stage::RetryAfter | Stage::GiveBack => (Step::PutBack, 1),
            Stage::DeadLetter => (Step::DeadLetter, 1),
            Stage::TakeIn => (Step::Unanswered, 1),
            Stage::LookUp => (Step::LookUp, 1),
            Stage::Exhausted => (Step::Exhausted, 1),
        };
        Ambush { point: step.at(self.moment), fault: self.fault, nth }
    }

    /// Whether the server has done what it was asked for when the fault hits.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.moment, Moment::Answered | Moment::MidAnswer)
    }

    /// Notes that a host ran into the fault.
    pub(crate) fn reached(&self) {
        REACHED.lock().unwrap_or_else(PoisonError::into_inner).insert(self.name());
    }
}

static REACHED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

pub(crate) fn print_coverage() {
    let reached = REACHED.lock().unwrap_or_else(PoisonError::into_inner);
    let of_kind = |reached: &dyn Fn(&Case) -> bool, fault| {
        let points = Case::all().filter(|case| case.fault == fault && reached(case));
        points.map(|case| format!("{:?}", case.ambush().point) + &word(&case.stage)).collect::<BTreeSet<_>>().len()
    };
    for &fault in Fault::value_variants() {
        let hit = of_kind(&|case| reached.contains(&case.name()), fault);
        eprintln!("fault points reached by {}: {hit} of {}", word(&fault), of_kind(&|_| true, fault));
    }
    eprintln!("combinations reached: {} of {}", reached.len(), Case::all().count());
}

fn word(value: &impl ValueEnum) -> String {
    value.to_possible_value().unwrap().get_name().replace('-', "_")
}
