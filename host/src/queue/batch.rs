//! A batch of settles in hand, and the lane that writes it: tells those who wait what became of each. A lost reply is looked up,
//! never guessed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::fate::{Fate, Query, Said, fate};
use super::lane::Lane;
use super::outcome::{JobOutcome, SettleEntry};
use super::settle::{SettleVerdict, SettleVerdicts, Writer};
use super::settlement::Settlement;
use super::shared::Shared;
use super::{Lease, QueueError};
use crate::failure::{Failure, FailureKind};

/// How long the last write of a host that ends may take.
const LAST_WRITE: Duration = Duration::from_secs(2);

pub(super) struct Batch {
    lane: Lane<Writer>,
    pub(super) shared: Arc<Shared>,
    /// What is being written; afterwards, what is not settled yet.
    pub(super) hand: Vec<Settlement>,
}

/// A settle whose fate depends on an answer.
struct Unclear {
    settlement: Settlement,
    said: Said,
    query: Query,
}

impl Batch {
    pub(super) fn new(lane: Lane<Writer>, shared: Arc<Shared>) -> Self {
        Self { lane, shared, hand: Vec::new() }
    }

    /// Writes what is in hand. An error leaves it there; what is left there without one is locked, or has another outcome now.
    pub(super) async fn write(&mut self, limit: Duration) -> Result<(), QueueError> {
        let shared = Arc::clone(&self.shared);
        self.write_unless(limit, shared.gives_up()).await
    }

    async fn write_unless(
        &mut self,
        limit: Duration,
        unless: impl Future<Output = ()> + Send,
    ) -> Result<(), QueueError> {
        let limit = limit.min(self.lane.timeout());
        let writer = self.lane.statements().await?;
        let entries: Vec<SettleEntry> = self.hand.iter().map(|settlement| settlement.entry.clone()).collect();
        let concluded = match writer.write(&entries, limit, unless).await {
            Ok(verdicts) => self.conclude(&verdicts).await,
            Err(error) => {
                self.hand.iter_mut().for_each(|settlement| settlement.doubtful = true);
                Err(error)
            }
        };
        // What passes ends no session.
        if concluded.as_ref().is_err_and(QueueError::is_lost_connection) {
            self.lane.disconnect();
        }
        concluded
    }

    /// The host ends: what could not be settled goes back, uncharged. Otherwise its leases would run out, at the cost of an
    /// attempt each, though nobody has failed.
    pub(super) async fn give_back(&mut self, rest: impl Iterator<Item = Settlement>) {
        let all = std::mem::take(&mut self.hand).into_iter().chain(rest);
        self.hand = all.map(Settlement::given_back).collect();
        if self.hand.is_empty() {
            return;
        }
        tracing::warn!(
            name: "settle.given_back",
            jobs = self.hand.len(),
            "not everything could be settled in time; it goes back, uncharged"
        );
        if let Err(error) = self.write_unless(LAST_WRITE, std::future::pending()).await {
            tracing::warn!(
                name: "settle.give_back_failed",
                %error,
                "jobs could not be given back; their leases run out"
            );
        }
    }

    /// The database does not take the only one in hand, and will not.
    pub(super) fn refuse(&mut self, error: &QueueError) {
        let Some(settlement) = self.hand.pop() else { return };
        tracing::error!(
            name: "settle.refused",
            job = settlement.entry.lease.job,
            %error,
            "the database does not take this outcome"
        );
        if matches!(settlement.entry.outcome, JobOutcome::Complete(_)) {
            self.shared.refusals.refused(settlement.entry.lease.job, error);
        }
        let failure = Failure::new(FailureKind::Internal, error.refusal(), error.to_string());
        self.refused(settlement, failure, error.is_about_the_data());
    }

    fn refused(&mut self, settlement: Settlement, failure: Failure, is_about_the_data: bool) {
        if settlement.needs_receipt() {
            self.hand.push(settlement.refused(failure, is_about_the_data));
            return;
        }
        // Not even that it is put off is taken: its lease runs out.
        self.shared.settled(&settlement.entry, false);
        settlement.end(Err(failure));
    }

    /// Tells those whose fate is known, asks about the others, and keeps what waits.
    async fn conclude(&mut self, verdicts: &SettleVerdicts) -> Result<(), QueueError> {
        let mut unclear = Vec::new();
        for mut settlement in std::mem::take(&mut self.hand) {
            let verdict = verdicts.of(&settlement.entry);
            let said = Said {
                verdict,
                doubtful: settlement.doubtful,
                is_give_back: settlement.entry.outcome.is_give_back(),
                locked_for_long: verdict == Some(SettleVerdict::Blocked) && settlement.is_suspicious(),
            };
            match fate(&said, None) {
                Fate::Unclear(query) => unclear.push(Unclear { settlement, said, query }),
                fate => self.meet(settlement, fate),
            }
        }
        let queries = unclear.iter().map(|it| (it.query, it.settlement.entry.clone())).collect();
        let answered = self.query(queries).await;
        for Unclear { settlement, said, .. } in unclear {
            match &answered {
                Ok(yes) => {
                    let answer = yes.contains(&settlement.entry.lease);
                    self.meet(settlement, fate(&said, Some(answer)));
                }
                Err(_) => self.hand.push(settlement),
            }
        }
        answered.map(drop)
    }

    /// The leases for which the answer is yes.
    async fn query(&mut self, queries: Vec<(Query, SettleEntry)>) -> Result<BTreeSet<Lease>, QueueError> {
        let mut yes = BTreeSet::new();
        let about = |wanted| queries.iter().filter(move |(query, _)| *query == wanted).map(|(_, entry)| entry);
        let doubted: Vec<SettleEntry> = about(Query::SettledBefore).cloned().collect();
        if !doubted.is_empty() {
            let tokens = self.lane.statements().await?.settled_before(&doubted).await?;
            yes.extend(doubted.iter().map(|entry| entry.lease).filter(|lease| tokens.contains(&lease.token)));
        }
        for entry in about(Query::ReadOnly) {
            if self.lane.statements().await?.is_read_only(entry.lease.job).await? {
                yes.insert(entry.lease);
            }
        }
        Ok(yes)
    }

    fn meet(&mut self, settlement: Settlement, fate: Fate) {
        match fate {
            Fate::Committed => self.end(settlement, true),
            Fate::LeaseLost => self.end(settlement, false),
            Fate::Hidden => {
                let (job, message) = (
                    settlement.entry.lease.job,
                    "row-level security hides the receipt from this role, or lets it change nothing of it (host doctor)",
                );
                tracing::error!(name: "settle.hidden", job, "the outcome cannot be written: {message}");
                if matches!(settlement.entry.outcome, JobOutcome::Complete(_)) {
                    self.shared.refusals.refused_for(job, message.to_owned(), message);
                }
                let failure = Failure::new(FailureKind::AccessDenied, "queue.ReceiptHidden", message);
                self.refused(settlement, failure, false);
            }
            Fate::Waits | Fate::Unclear(_) => self.hand.push(settlement.answered_if_stuck()),
        }
    }

    fn end(&self, settlement: Settlement, committed: bool) {
        let entry = &settlement.entry;
        let receipt = self.shared.settled(entry, committed);
        // An exhausted job that another host dead-lettered first was never ours to lose.
        if !committed && (settlement.reply.is_some() || receipt.is_some()) {
            tracing::warn!(
                name: "lease.lost",
                receipt,
                job = entry.lease.job,
                token = entry.lease.token,
                "lease lost: {} it changed nothing",
                entry.outcome.doing()
            );
        }
        settlement.end(if committed { Ok(()) } else { Err(Failure::lease_lost()) });
    }
}
