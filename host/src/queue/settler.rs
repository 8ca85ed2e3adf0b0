//! The settling half of the pump: gathers what came in while the last batch was written, writes it as one batch, and
//! keeps at it until every outcome is committed or refused. A lost reply is looked up, never guessed.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::pump::Shared;
use super::settle::{Entry, Outcome, Verdict, Writer};
use super::{Database, QueueError, bounded};
use crate::failure::{Failure, FailureKind};

const LARGEST_BATCH: usize = 500;
const BLOCKED_PAUSE: Duration = Duration::from_millis(50);
/// A receipt that may become neither done nor dead is looked at again this much later.
const REFUSED_DELAY: Duration = Duration::from_secs(15 * 60);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// One settle on its way, and who waits for it.
pub struct Settlement {
    pub entry: Entry,
    pub reply: Option<oneshot::Sender<Result<(), Failure>>>,
}

/// Runs until the channel is closed and everything in it is settled.
pub(super) async fn run(database: Database, mut incoming: mpsc::UnboundedReceiver<Settlement>, shared: Arc<Shared>) {
    let mut settler = Settler { database, shared, writer: None, batch: Vec::new(), uncertain: false };
    let mut pause = FIRST_PAUSE;
    loop {
        if settler.batch.is_empty() && incoming.recv_many(&mut settler.batch, LARGEST_BATCH).await == 0 {
            return;
        }
        while settler.batch.len() < LARGEST_BATCH {
            let Ok(settlement) = incoming.try_recv() else { break };
            settler.batch.push(settlement);
        }
        match settler.write_batch().await {
            Ok(()) => {
                pause = FIRST_PAUSE;
                if !settler.batch.is_empty() {
                    tokio::time::sleep(BLOCKED_PAUSE).await;
                }
            }
            Err(error) => {
                tracing::warn!(%error, waiting = settler.batch.len(), retry_in = ?pause, "cannot settle; trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

struct Settler {
    database: Database,
    shared: Arc<Shared>,
    writer: Option<Writer>,
    /// What is not settled yet.
    batch: Vec<Settlement>,
    /// The last write ended without a reply: part of the batch may be committed.
    uncertain: bool,
}

impl Settler {
    async fn write_batch(&mut self) -> Result<(), QueueError> {
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => Writer::connect(&self.database).await?,
        };
        if self.uncertain {
            let before = bounded(writer.settled_before(&self.entries())).await?;
            self.resolve(|entry| before.contains(&entry.lease.token).then_some(Verdict::Committed));
            self.uncertain = false;
        }
        match bounded(writer.write(&self.entries())).await {
            Ok(verdicts) => {
                self.resolve(|entry| verdicts.of(entry));
                self.writer = Some(writer);
                Ok(())
            }
            Err(error) => {
                self.uncertain = true;
                if !error.is_lost_connection() {
                    self.writer = Some(writer);
                }
                if error.is_about_the_data() {
                    return self.write_singly().await;
                }
                Err(error)
            }
        }
    }

    /// One row of the batch is not to the database's taste (a number too large for the app's column, say). The others
    /// must not wait for it, and it becomes a dead letter that says so; where the receipt may not even become that, it
    /// waits in the queue, with the reason, until somebody has mended what refuses it.
    async fn write_singly(&mut self) -> Result<(), QueueError> {
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => Writer::connect(&self.database).await?,
        };
        let before = bounded(writer.settled_before(&self.entries())).await?;
        self.resolve(|entry| before.contains(&entry.lease.token).then_some(Verdict::Committed));
        self.uncertain = false;
        for mut settlement in std::mem::take(&mut self.batch) {
            let written = bounded(writer.write(std::slice::from_ref(&settlement.entry))).await;
            if let Err(error @ QueueError::Query { .. }) = &written
                && error.is_about_the_data()
                && !matches!(settlement.entry.outcome, Outcome::Retry { .. })
            {
                tracing::error!(job = settlement.entry.lease.job, %error, "the database does not take this result");
                let failure = Failure::new(FailureKind::Internal, "queue.ResultRefused", error.to_string());
                if let Some(reply) = settlement.reply.take() {
                    let _ = reply.send(Err(failure.clone()));
                }
                settlement.entry.outcome = match settlement.entry.outcome {
                    Outcome::Complete(_) => Outcome::DeadLetter { failure, notes: "the database refused the result" },
                    _ => Outcome::Retry { delay: REFUSED_DELAY, charge: false, failure: Some(failure) },
                };
                self.batch.push(settlement);
                continue;
            }
            self.batch.push(settlement);
            match written {
                Ok(verdicts) => self.resolve(|entry| verdicts.of(entry)),
                Err(error) => {
                    self.uncertain = true;
                    tracing::warn!(%error, "cannot settle one job; trying again");
                }
            }
        }
        self.writer = Some(writer);
        Ok(())
    }

    fn entries(&self) -> Vec<Entry> {
        self.batch.iter().map(|settlement| settlement.entry.clone()).collect()
    }

    /// Answers those of the batch that have a final verdict, and keeps the others.
    fn resolve(&mut self, verdict: impl Fn(&Entry) -> Option<Verdict>) {
        for settlement in std::mem::take(&mut self.batch) {
            let committed = match verdict(&settlement.entry) {
                Some(Verdict::Committed) => true,
                Some(Verdict::LeaseLost) => false,
                Some(Verdict::Blocked) | None => {
                    self.batch.push(settlement);
                    continue;
                }
            };
            let Settlement { entry, reply } = settlement;
            self.shared.settled(&entry, committed);
            if !committed && reply.is_some() {
                tracing::warn!(
                    job = entry.lease.job,
                    token = entry.lease.token,
                    "lease lost: this settle changed nothing"
                );
            }
            if let Some(reply) = reply {
                let _ = reply.send(if committed { Ok(()) } else { Err(Failure::lease_lost()) });
            }
        }
    }
}
