//! What becomes of a settle, by what the database said to it. Pure: what has to be asked first is an answer, too.

use super::QueueError;
use super::settle::SettleVerdict;

/// What is known of one settle of a batch that was written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said {
    /// None where the batch holds another outcome of the job than the one that is wanted now.
    pub(super) verdict: Option<SettleVerdict>,
    /// An earlier write of it ended without an answer: it may be committed.
    pub(super) doubtful: bool,
    /// It gives back a job that was not begun.
    pub(super) is_give_back: bool,
    /// Its receipt has been locked for so long that it is time to ask whether it is.
    pub(super) locked_for_long: bool,
}

/// What becomes of a settle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is committed.
    Committed,
    /// The lease is lost, and nothing was changed.
    LeaseLost,
    /// Row-level security keeps the receipt from this role: it is refused.
    Hidden,
    /// It is tried again.
    Waits,
    /// That depends on the answer.
    Unclear(Query),
}

/// What must be known of the database before the fate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Query {
    /// Whether a job was settled by this token.
    SettledBefore,
    /// Whether the receipt is one that this role may see and not change.
    ReadOnly,
}

/// `answer`: of the query that this was [`Fate::Unclear`] for.
pub(super) fn fate(said: &Said, answer: Option<bool>) -> Fate {
    match (said.verdict, answer) {
        (Some(SettleVerdict::Committed), _) => Fate::Committed,
        (Some(SettleVerdict::Hidden), _) => Fate::Hidden,
        (Some(SettleVerdict::LeaseLost), _) if !said.doubtful => Fate::LeaseLost,
        // It may have lost its lease to an earlier write of its own, whose answer never came: what is settled by this token was
        // settled by us.
        (Some(SettleVerdict::LeaseLost), None) => Fate::Unclear(Query::SettledBefore),
        (Some(SettleVerdict::LeaseLost), Some(true)) => Fate::Committed,
        // A job given back leaves no trace of it once another worker has settled it. Either way it is no longer ours, which
        // is all that was wanted.
        (Some(SettleVerdict::LeaseLost), Some(false)) if said.is_give_back => Fate::Committed,
        (Some(SettleVerdict::LeaseLost), Some(false)) => Fate::LeaseLost,
        // A lock ends. What row-level security lets a role see and not change looks the same to a settle, and never ends.
        (Some(SettleVerdict::Blocked), None) if said.locked_for_long => Fate::Unclear(Query::ReadOnly),
        (Some(SettleVerdict::Blocked), Some(true)) => Fate::Hidden,
        (Some(SettleVerdict::Blocked), _) | (None, _) => Fate::Waits,
    }
}

/// How a write failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteError {
    /// The connection is gone: whether it was committed is not known.
    Lost,
    /// Rows of the batch got in somebody's way: fewer of them may fare better.
    Conflict,
    /// It may succeed later: a lock, no memory.
    Passing,
    /// It never will, as it is.
    Refused,
}

impl From<&QueueError> for WriteError {
    fn from(error: &QueueError) -> Self {
        if error.is_lost_connection() {
            Self::Lost
        } else if error.is_conflict() {
            Self::Conflict
        } else if error.is_passing() {
            Self::Passing
        } else {
            Self::Refused
        }
    }
}

/// What is known of a batch whose write failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct FailedBatch {
    pub(super) error: WriteError,
    /// It is one settle.
    pub(super) is_alone: bool,
    /// One of its settles changes a receipt.
    pub(super) needs_receipts: bool,
    /// It is one settle that changes a receipt, and has been tried for so long that what ends by itself would have ended.
    pub(super) is_stuck: bool,
}

/// What becomes of a batch whose write failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// What changes receipts is tried one by one, beside the others.
    EachAlone,
    /// It is tried again as it is, after a pause.
    AsItIs,
    /// It is tried again in a moment.
    Soon,
    /// In two halves, at once.
    InHalves,
    /// The database does not take it, and will not.
    Refuse,
}

/// What failed together is tried in parts: at once, unless it was nobody's fault.
pub(super) fn next(batch: FailedBatch) -> Next {
    match (batch.error, batch.is_alone) {
        (WriteError::Lost, _) => Next::AsItIs,
        (WriteError::Passing, _) if batch.needs_receipts => Next::EachAlone,
        (WriteError::Passing, _) => Next::AsItIs,
        (WriteError::Conflict, true) if batch.is_stuck => Next::EachAlone,
        (WriteError::Conflict, true) => Next::Soon,
        (WriteError::Refused, true) => Next::Refuse,
        (WriteError::Conflict | WriteError::Refused, false) => Next::InHalves,
    }
}

/// What is known of a settle whose write failed though it was tried alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct FailedAlone {
    pub(super) error: WriteError,
    pub(super) needs_receipt: bool,
    /// It has been tried for so long that what ends by itself would have ended.
    pub(super) is_stuck: bool,
    /// Others were written meanwhile, or it has been tried for so long that this is waited for no more.
    pub(super) is_its_own: bool,
}

/// What becomes of a settle whose write failed though it was tried alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NextAlone {
    /// It is tried again, once the database is there.
    Reconnect,
    /// It is tried again in a moment.
    Soon,
    /// It is tried again when the others were, and may take longer.
    Later,
    /// It is put off, with the reason in its row.
    PutOff,
    /// The database does not take it, and will not.
    Refuse,
}

pub(super) fn next_alone(settle: FailedAlone) -> NextAlone {
    match settle.error {
        WriteError::Lost => NextAlone::Reconnect,
        WriteError::Refused => NextAlone::Refuse,
        WriteError::Conflict if !settle.is_stuck => NextAlone::Soon,
        WriteError::Conflict | WriteError::Passing if settle.needs_receipt && settle.is_its_own => NextAlone::PutOff,
        WriteError::Conflict | WriteError::Passing => NextAlone::Later,
    }
}

#[cfg(test)]
mod tests;
