//! Where a fault can hit: a step of a job's, and a moment of that step's round trip.

use clap::ValueEnum;

/// A round trip that a host makes for its jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Leases jobs.
    Claim,
    /// Renews leases.
    Heartbeat,
    /// Finds jobs whose worker died on their last attempt.
    Exhausted,
    /// Settles completed jobs.
    Complete,
    /// Asks what a claim leased whose reply was lost.
    Unanswered,
    /// Puts jobs back, or gives them back unworked.
    PutBack,
    /// Gives jobs up.
    DeadLetter,
    /// Asks which settles were committed although their reply was lost.
    LookUp,
    /// GET of a photo.
    ReadImage,
    /// HEAD of an artifact.
    FindArtifact,
    /// GET of an artifact.
    OpenArtifact,
    /// DetectDocumentText.
    Recognize,
    /// PUT of an artifact.
    StoreArtifact,
}

/// A moment of a round trip. The one after its answer was passed on is the next step's first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum Moment {
    /// Nothing of the request has reached the server.
    Before,
    /// Half of it has.
    MidRequest,
    /// The server has done it and answered; nothing of the answer has reached the host.
    Answered,
    /// Half of the answer has.
    MidAnswer,
}

/// What happens there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum Fault {
    /// SIGKILL for the host.
    Kill,
    /// The connection is lost.
    Cut,
}

/// One place where a fault can hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    pub step: Step,
    pub moment: Moment,
}

impl Step {
    /// By the statement, word for word as the host has it.
    pub(super) fn of_sql(sql: &str) -> Option<Self> {
        const STATEMENTS: [(Step, &str); 8] = [
            (Step::Claim, include_str!("../../../host/src/queue/sql/claim.sql")),
            (Step::Heartbeat, include_str!("../../../host/src/queue/sql/heartbeat.sql")),
            (Step::Exhausted, include_str!("../../../host/src/queue/sql/exhausted.sql")),
            (Step::Unanswered, include_str!("../../../host/src/queue/sql/unanswered.sql")),
            (Step::Complete, include_str!("../../../host/src/queue/sql/complete.sql")),
            (Step::PutBack, include_str!("../../../host/src/queue/sql/retry.sql")),
            (Step::DeadLetter, include_str!("../../../host/src/queue/sql/dead_letter.sql")),
            (Step::LookUp, include_str!("../../../host/src/queue/sql/settled_before.sql")),
        ];
        STATEMENTS.iter().find(|(_, statement)| *statement == sql).map(|(step, _)| *step)
    }

    /// By the request's method and path; buckets are paths here.
    pub(super) fn of_request(method: &str, path: &str) -> Option<Self> {
        let (bucket, key) = path.trim_start_matches('/').split_once('/').unwrap_or((path, ""));
        Some(match (method, bucket) {
            ("POST", "/") => Self::Recognize,
            ("GET", crate::SOURCE) if !key.is_empty() => Self::ReadImage,
            ("HEAD", crate::ARTIFACTS) if is_artifact(key) => Self::FindArtifact,
            ("GET", crate::ARTIFACTS) if is_artifact(key) => Self::OpenArtifact,
            ("PUT", crate::ARTIFACTS) if is_artifact(key) => Self::StoreArtifact,
            _ => return None,
        })
    }

    pub fn at(self, moment: Moment) -> Point {
        Point { step: self, moment }
    }
}

/// What a host stores to see whether it may is none.
fn is_artifact(key: &str) -> bool {
    key.starts_with("ocr/") && key != host::storage::PROBE
}
