//! A connection that settles, and what it has in hand: writes it, and tells those who wait what became of it. A lost reply is
//! looked up, never guessed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::settle::{Entry, Outcome, Verdict, Verdicts, Writer};
use super::settlement::Settlement;
use super::shared::Shared;
use super::{Database, QueueError};
use crate::failure::{Failure, FailureKind};

/// How long the last write of a host that ends may take.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// One connection that settles.
pub(super) struct Lane {
    database: Database,
    pub(super) shared: Arc<Shared>,
    writer: Option<Writer>,
    /// What is being written; afterwards, what is not settled yet.
    pub(super) hand: Vec<Settlement>,
}

impl Lane {
    pub(super) fn new(database: Database, shared: Arc<Shared>, writer: Option<Writer>) -> Self {
        Self { database, shared, writer, hand: Vec::new() }
    }

    /// The time that any statement may take.
    pub(super) fn statement_timeout(&self) -> Duration {
        self.database.statement_timeout()
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
        let writer = self.writer().await?;
        let entries: Vec<Entry> = self.hand.iter().map(|settlement| settlement.entry.clone()).collect();
        match writer.write(&entries, limit.min(self.statement_timeout()), unless).await {
            Ok(verdicts) => {
                self.conclude(&writer, &verdicts).await?;
                self.writer = Some(writer);
                Ok(())
            }
            Err(error) => {
                self.hand.iter_mut().for_each(|settlement| settlement.doubtful = true);
                if !error.is_lost_connection() {
                    self.writer = Some(writer);
                }
                Err(error)
            }
        }
    }

    /// The host ends: what could not be settled goes back, uncharged. Otherwise its leases would run out, at the cost of an
    /// attempt each, though nobody has failed.
    pub(super) async fn give_back(&mut self, rest: impl Iterator<Item = Settlement>) {
        let all = std::mem::take(&mut self.hand).into_iter().chain(rest);
        self.hand = all.map(Settlement::given_back).collect();
        if self.hand.is_empty() {
            return;
        }
        tracing::warn!(jobs = self.hand.len(), "not everything could be settled in time; it goes back, uncharged");
        if let Err(error) = self.write_unless(LAST_WRITE, std::future::pending()).await {
            tracing::warn!(%error, "jobs could not be given back; their leases run out");
        }
    }

    /// The database does not take the only one in hand, and will not.
    pub(super) fn refuse(&mut self, error: &QueueError) {
        let Some(settlement) = self.hand.pop() else { return };
        tracing::error!(job = settlement.entry.lease.job, %error, "the database does not take this outcome");
        if matches!(settlement.entry.outcome, Outcome::Complete(_)) {
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

    /// The connection, made anew where it is gone. Postgres may end a session for being idle.
    async fn writer(&mut self) -> Result<Writer, QueueError> {
        match self.writer.take().filter(|writer| !writer.is_closed()) {
            Some(writer) => Ok(writer),
            None => Writer::connect(&self.database).await,
        }
    }

    /// Answers those that have a final verdict. A doubtful one whose lease is lost may have lost it to an earlier write of
    /// its own, whose answer never came: what is settled by this token was settled by us.
    async fn conclude(&mut self, writer: &Writer, verdicts: &Verdicts) -> Result<(), QueueError> {
        let lost = |settlement: &Settlement| verdicts.of(&settlement.entry) == Some(Verdict::LeaseLost);
        let doubted: Vec<Entry> = self
            .hand
            .iter()
            .filter(|settlement| settlement.doubtful && lost(settlement))
            .map(|settlement| settlement.entry.clone())
            .collect();
        self.resolve(|settlement| {
            verdicts.of(&settlement.entry).filter(|_| !(settlement.doubtful && lost(settlement)))
        });
        if !doubted.is_empty() {
            let before = writer.settled_before(&doubted).await?;
            self.resolve(|settlement| match before.contains(&settlement.entry.lease.token) {
                _ if !lost(settlement) => None,
                true => Some(Verdict::Committed),
                // A job given back leaves no trace of it once another worker has settled it. Either way it is no longer
                // ours, which is all that was wanted.
                false if settlement.entry.outcome.is_give_back() => Some(Verdict::Committed),
                false => Some(Verdict::LeaseLost),
            });
        }
        self.unmask(writer, verdicts).await
    }

    /// A lock ends. What row-level security lets a role see and not change looks the same to a settle, and never ends: so it
    /// is asked why a receipt is blocked for long.
    async fn unmask(&mut self, writer: &Writer, verdicts: &Verdicts) -> Result<(), QueueError> {
        let mut read_only = BTreeSet::new();
        for settlement in &mut self.hand {
            let lease = settlement.entry.lease;
            if verdicts.of(&settlement.entry) == Some(Verdict::Blocked)
                && settlement.is_suspicious()
                && writer.is_read_only(lease.job).await?
            {
                read_only.insert(lease);
            }
        }
        self.resolve(|Settlement { entry, .. }| {
            let waits = verdicts.of(entry) == Some(Verdict::Blocked) && read_only.contains(&entry.lease);
            waits.then_some(Verdict::Hidden)
        });
        Ok(())
    }

    /// Answers those in hand that have a final verdict, and keeps the others.
    fn resolve(&mut self, verdict: impl Fn(&Settlement) -> Option<Verdict>) {
        for settlement in std::mem::take(&mut self.hand) {
            // Decided a moment ago, and not written yet.
            if settlement.redecided && verdict(&settlement).is_none() {
                self.hand.push(settlement);
                continue;
            }
            match verdict(&settlement) {
                Some(Verdict::Committed) => self.end(settlement, true),
                Some(Verdict::LeaseLost) => self.end(settlement, false),
                Some(Verdict::Hidden) => {
                    let (job, message) = (
                        settlement.entry.lease.job,
                        "row-level security hides the receipt from this role, or lets it change nothing of it (host doctor)",
                    );
                    tracing::error!(job, "the outcome cannot be written: {message}");
                    if matches!(settlement.entry.outcome, Outcome::Complete(_)) {
                        self.shared.refusals.refused_for(job, message.to_owned(), message);
                    }
                    let failure = Failure::new(FailureKind::AccessDenied, "queue.ReceiptHidden", message);
                    self.refused(settlement, failure, false);
                }
                Some(Verdict::Blocked) | None => self.hand.push(settlement.without_patience()),
            }
        }
    }

    fn end(&self, settlement: Settlement, committed: bool) {
        let entry = &settlement.entry;
        let receipt = self.shared.settled(entry, committed);
        // A spent job that another host buried first was never ours to lose.
        if !committed && (settlement.reply.is_some() || receipt.is_some()) {
            tracing::warn!(
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
