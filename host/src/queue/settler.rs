//! The settling half of the pump: gathers what came in while the last batch was written, writes it as one batch, and
//! keeps at it until every outcome is committed or refused. A lost reply is looked up, never guessed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::outage::Outage;
use super::pump::Shared;
use super::settle::{Entry, Outcome, Verdict, Verdicts, Writer};
use super::{Database, Job, QueueError};
use crate::failure::{Failure, FailureKind};

const LARGEST_BATCH: usize = 500;
const BLOCKED_PAUSE: Duration = Duration::from_millis(50);
/// A receipt that may become neither done nor dead is looked at again this much later.
const REFUSED_DELAY: Duration = Duration::from_secs(15 * 60);
/// How long a run waits for a receipt that somebody has locked.
const PATIENCE: Duration = Duration::from_secs(5);
/// After so long it is asked whether the receipt is locked at all, and again.
const SUSPICIOUS: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// One settle on its way, and who waits for it.
pub struct Settlement {
    pub entry: Entry,
    pub reply: Option<oneshot::Sender<Result<(), Failure>>>,
    pub since: Instant,
    /// A write of it ended without an answer: it may be committed, now or later.
    pub doubtful: bool,
    /// When it was last asked why its receipt stays locked.
    asked: Option<Instant>,
}

impl Settlement {
    /// Begins now.
    pub fn new(entry: Entry, reply: Option<oneshot::Sender<Result<(), Failure>>>) -> Self {
        Self { entry, reply, since: Instant::now(), doubtful: false, asked: None }
    }

    /// Gives back a job that no instance has begun: due at once, uncharged. Nobody waits for it.
    pub(super) fn unbegun(job: &Job) -> Self {
        let outcome = Outcome::Retry { delay: Duration::ZERO, charge: false, failure: None };
        Self::new(Entry { lease: job.lease, outcome, component: None }, None)
    }

    /// Whether its receipt has been locked for so long that it is time to ask whether it is. (To be put back, a job needs none.)
    fn is_suspicious(&self) -> bool {
        let needs_receipt = !matches!(self.entry.outcome, Outcome::Retry { .. });
        needs_receipt && self.asked.unwrap_or(self.since).elapsed() >= SUSPICIOUS
    }

    /// Somebody has the receipt open in a transaction. The settle goes on, but the run that waits for it is let go: a few
    /// open editors must not stop all instances.
    fn without_patience(mut self) -> Self {
        if self.since.elapsed() >= PATIENCE
            && let Some(reply) = self.reply.take()
        {
            let message = "the receipt is locked by another transaction; it will be settled when that ends";
            let _ = reply.send(Err(Failure::new(FailureKind::Unavailable, "queue.Locked", message)));
        }
        self
    }
}

/// Runs until the channel is closed and everything in it is settled.
pub(super) async fn run(
    database: Database,
    writer: Writer,
    mut incoming: mpsc::UnboundedReceiver<Settlement>,
    shared: Arc<Shared>,
) {
    let mut settler = Settler { database, shared, writer: Some(writer), batch: Vec::new() };
    let mut outage = Outage::new("settle", LONGEST_PAUSE);
    loop {
        if settler.batch.is_empty() && incoming.recv_many(&mut settler.batch, LARGEST_BATCH).await == 0 {
            return;
        }
        // What waits for a lock does not count: it must not keep the others out.
        for _ in 0..LARGEST_BATCH {
            let Ok(settlement) = incoming.try_recv() else { break };
            settler.batch.push(settlement);
        }
        match settler.write_batch().await {
            Ok(()) => {
                outage.over();
                if !settler.batch.is_empty() {
                    tokio::time::sleep(BLOCKED_PAUSE).await;
                }
            }
            Err(error) => tokio::time::sleep(outage.failed(&error)).await,
        }
    }
}

struct Settler {
    database: Database,
    shared: Arc<Shared>,
    writer: Option<Writer>,
    /// What is not settled yet.
    batch: Vec<Settlement>,
}

impl Settler {
    async fn write_batch(&mut self) -> Result<(), QueueError> {
        let writer = self.writer().await?;
        match writer.write(&self.entries()).await {
            Ok(verdicts) => {
                self.conclude(&writer, &verdicts).await?;
                self.writer = Some(writer);
                Ok(())
            }
            Err(error) => {
                self.batch.iter_mut().for_each(|settlement| settlement.doubtful = true);
                if error.is_lost_connection() {
                    return Err(error);
                }
                self.writer = Some(writer);
                if error.is_passing() && (self.batch.len() == 1 || !error.is_conflict()) {
                    return Err(error);
                }
                self.write_singly().await
            }
        }
    }

    /// One row of the batch is not to the database's taste (a number too large for the app's column, say). The others
    /// must not wait for it.
    async fn write_singly(&mut self) -> Result<(), QueueError> {
        let writer = self.writer().await?;
        let mut passing = None;
        let mut rest = std::mem::take(&mut self.batch).into_iter();
        while let Some(settlement) = rest.next() {
            match writer.write(std::slice::from_ref(&settlement.entry)).await {
                Ok(verdicts) => {
                    self.batch.push(settlement);
                    if let Err(error) = self.conclude(&writer, &verdicts).await {
                        self.batch.extend(rest);
                        return Err(error);
                    }
                }
                Err(error) if error.is_passing() && error.is_conflict() => {
                    self.batch.push(settlement);
                    passing = Some(error);
                }
                // Not this one's fault, and what comes after it would wait as long.
                Err(error) if error.is_lost_connection() || error.is_passing() => {
                    if !error.is_lost_connection() {
                        self.writer = Some(writer);
                    }
                    self.batch.push(settlement);
                    self.batch.extend(rest);
                    return Err(error);
                }
                Err(error) => {
                    tracing::error!(job = settlement.entry.lease.job, %error, "the database does not take this outcome");
                    let failure = Failure::new(FailureKind::Internal, error.refusal(), error.to_string());
                    self.refused(settlement, failure, error.is_about_the_data());
                }
            }
        }
        self.writer = Some(writer);
        passing.map_or(Ok(()), Err)
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
            .batch
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
        for settlement in &mut self.batch {
            let lease = settlement.entry.lease;
            if verdicts.of(&settlement.entry) == Some(Verdict::Blocked) && settlement.is_suspicious() {
                settlement.asked = Some(Instant::now());
                if writer.is_read_only(lease.job).await? {
                    read_only.insert(lease);
                }
            }
        }
        self.resolve(|Settlement { entry, .. }| {
            let waits = verdicts.of(entry) == Some(Verdict::Blocked) && read_only.contains(&entry.lease);
            waits.then_some(Verdict::Hidden)
        });
        Ok(())
    }

    /// The database does not take this outcome, and will not. A result that it does not take is a dead letter that says
    /// so; where it is rights or the schema that are wrong, or not even a dead letter is taken, the job waits in the queue
    /// with the reason until somebody has mended it; and failing that, its lease runs out.
    fn refused(&mut self, mut settlement: Settlement, failure: Failure, is_about_the_data: bool) {
        if let Some(reply) = settlement.reply.take() {
            let _ = reply.send(Err(failure.clone()));
        }
        settlement.entry.outcome = match settlement.entry.outcome {
            Outcome::Complete(_) if is_about_the_data => {
                Outcome::DeadLetter { failure, notes: "the database refused the result" }
            }
            Outcome::Complete(_) | Outcome::DeadLetter { .. } => {
                Outcome::Retry { delay: REFUSED_DELAY, charge: false, failure: Some(failure) }
            }
            Outcome::Retry { .. } => {
                self.shared.settled(&settlement.entry, false);
                return;
            }
        };
        self.batch.push(settlement);
    }

    fn entries(&self) -> Vec<Entry> {
        self.batch.iter().map(|settlement| settlement.entry.clone()).collect()
    }

    /// Answers those of the batch that have a final verdict, and keeps the others.
    fn resolve(&mut self, verdict: impl Fn(&Settlement) -> Option<Verdict>) {
        for settlement in std::mem::take(&mut self.batch) {
            let committed = match verdict(&settlement) {
                Some(Verdict::Committed) => true,
                Some(Verdict::LeaseLost) => false,
                Some(Verdict::Hidden) => {
                    let (job, message) = (
                        settlement.entry.lease.job,
                        "row-level security hides the receipt from this role, or lets it change nothing of it (host doctor)",
                    );
                    tracing::error!(job, "the outcome cannot be written: {message}");
                    let failure = Failure::new(FailureKind::AccessDenied, "queue.ReceiptHidden", message);
                    self.refused(settlement, failure, false);
                    continue;
                }
                Some(Verdict::Blocked) | None => {
                    self.batch.push(settlement.without_patience());
                    continue;
                }
            };
            let Settlement { entry, reply, .. } = settlement;
            let receipt = self.shared.settled(&entry, committed);
            // A spent job that another host buried first was never ours to lose.
            if !committed && (reply.is_some() || receipt.is_some()) {
                tracing::warn!(
                    receipt,
                    job = entry.lease.job,
                    token = entry.lease.token,
                    "lease lost: {} it changed nothing",
                    entry.outcome.doing()
                );
            }
            if let Some(reply) = reply {
                let _ = reply.send(if committed { Ok(()) } else { Err(Failure::lease_lost()) });
            }
        }
    }
}
