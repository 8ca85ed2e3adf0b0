//! The settling half of the pump: gathers what came in while the last batch was written, writes it as one batch, and
//! keeps at it until every outcome is committed or refused. What fails together is tried in parts, so that one that is to
//! blame holds up nobody; what is too slow together, or fails for now, goes to a connection of its own ([`super::suspects`]).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::batch::Batch;
use super::fate::{FailedBatch, Next, WriteError, next};
use super::lane::Lane;
use super::outage::Outage;
use super::settle::Writer;
use super::settlement::Settlement;
use super::shared::Shared;
use super::{QueueError, suspects};

const LARGEST_BATCH: usize = 500;
/// A batch takes so long at most; what it might have held up is tried one by one then.
const BATCH_LIMIT: Duration = Duration::from_secs(3);
/// A batch is as large as can be written in this time.
const BATCH_TIME: Duration = Duration::from_secs(1);
const BLOCKED_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Runs until the channel is closed and everything in it is settled.
pub(super) async fn run(
    lane: Lane<Writer>,
    second: Lane<Writer>,
    incoming: mpsc::UnboundedReceiver<Settlement>,
    shared: Arc<Shared>,
) {
    let (suspects, suspected) = mpsc::unbounded_channel();
    // Ended with this task, however that ends.
    let mut side = JoinSet::new();
    side.spawn(suspects::run(Batch::new(second, Arc::clone(&shared)), suspected));
    let settler = Settler {
        batch: Batch::new(lane, shared),
        incoming,
        is_closed: false,
        queue: VecDeque::new(),
        parts: Vec::new(),
        blocked: Vec::new(),
        most: LARGEST_BATCH,
        suspects,
    };
    settler.run().await;
    side.join_next().await;
}

struct Settler {
    batch: Batch,
    incoming: mpsc::UnboundedReceiver<Settlement>,
    is_closed: bool,
    /// What has not been tried yet.
    queue: VecDeque<Settlement>,
    /// What failed together, to be tried in these parts, the last first.
    parts: Vec<Vec<Settlement>>,
    /// What somebody has locked, and when it is tried again.
    blocked: Vec<(Instant, Settlement)>,
    /// How large a batch may be.
    most: usize,
    suspects: mpsc::UnboundedSender<Settlement>,
}

impl Settler {
    async fn run(mut self) {
        let mut outage = Outage::new("settle", LONGEST_PAUSE);
        while self.gather().await {
            if self.batch.shared.is_giving_up() {
                let parts = self.parts.drain(..).flatten();
                let rest: Vec<_> =
                    parts.chain(self.queue.drain(..)).chain(self.blocked.drain(..).map(|it| it.1)).collect();
                self.batch.give_back(rest.into_iter()).await;
                continue;
            }
            if !self.take() {
                continue;
            }
            let (count, started) = (self.batch.hand.len(), Instant::now());
            match self.batch.write(BATCH_LIMIT).await {
                Ok(()) => {
                    outage.over();
                    self.most = larger(count, started.elapsed(), self.most);
                    self.keep_what_is_left();
                }
                Err(error) => {
                    if let Some(pause) = self.failed(&error, &mut outage) {
                        tokio::select! {
                            () = tokio::time::sleep(pause) => {}
                            () = self.batch.shared.gives_up() => {}
                        }
                    }
                }
            }
        }
    }

    /// Waits until there is something to write; false when there never will be.
    async fn gather(&mut self) -> bool {
        loop {
            self.unblock();
            // What waits for a lock does not count: it must not keep the others out.
            while self.queue.len() < LARGEST_BATCH
                && let Ok(settlement) = self.incoming.try_recv()
            {
                self.queue.push_back(settlement);
            }
            if !self.queue.is_empty() || !self.parts.is_empty() {
                return true;
            }
            let next = self.blocked.iter().map(|(due, _)| *due).min();
            if self.is_closed && next.is_none() {
                return false;
            }
            let unblocked = async {
                match next {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                settlement = self.incoming.recv(), if !self.is_closed => match settlement {
                    Some(settlement) => self.queue.push_back(settlement),
                    None => self.is_closed = true,
                },
                () = unblocked => {}
                () = self.batch.shared.gives_up(), if next.is_some() => return true,
            }
        }
    }

    fn unblock(&mut self) {
        let now = Instant::now();
        let (due, blocked) = std::mem::take(&mut self.blocked).into_iter().partition(|(due, _)| *due <= now);
        self.blocked = blocked;
        self.queue.extend(Vec::into_iter(due).map(|(_, settlement)| settlement));
    }

    /// Takes the next batch in hand. One that was too slow before holds up no others again.
    fn take(&mut self) -> bool {
        if let Some(part) = self.parts.pop() {
            self.batch.hand = part;
            return true;
        }
        let count = self.queue.len().min(self.most);
        for settlement in self.queue.drain(..count) {
            if settlement.needs_receipt() && self.batch.shared.is_suspect(settlement.entry.lease.job) {
                let _ = self.suspects.send(settlement);
            } else {
                self.batch.hand.push(settlement);
            }
        }
        !self.batch.hand.is_empty()
    }

    fn keep_what_is_left(&mut self) {
        let due = Instant::now() + BLOCKED_PAUSE;
        for mut settlement in self.batch.hand.drain(..) {
            if std::mem::take(&mut settlement.redecided) {
                self.parts.push(vec![settlement]);
            } else {
                self.blocked.push((due, settlement));
            }
        }
    }

    /// Sees to a batch that was not written. Returns how long to wait before anything else is.
    fn failed(&mut self, error: &QueueError, outage: &mut Outage) -> Option<Duration> {
        let mut hand = std::mem::take(&mut self.batch.hand);
        let is_alone = hand.len() == 1;
        let next = next(FailedBatch {
            error: WriteError::from(error),
            is_alone,
            needs_receipts: hand.iter().any(Settlement::needs_receipt),
            is_stuck: is_alone && hand.iter().any(|it| it.needs_receipt() && it.is_stuck()),
        });
        match next {
            Next::AsItIs => {
                self.parts.push(hand);
                return Some(outage.failed(error));
            }
            Next::EachAlone => {
                if error.is_late() {
                    self.most = (hand.len() / 2).max(1);
                }
                let (suspects, others): (Vec<_>, Vec<_>) = hand.into_iter().partition(Settlement::needs_receipt);
                tracing::debug!(
                    name: "settle.one_by_one",
                    %error,
                    count = suspects.len(),
                    "nothing comes of it together; each is tried alone"
                );
                suspects.into_iter().for_each(|settlement| drop(self.suspects.send(settlement)));
                if !others.is_empty() {
                    self.parts.push(others);
                }
            }
            Next::Soon => {
                let due = Instant::now() + BLOCKED_PAUSE;
                self.blocked.extend(hand.into_iter().map(|settlement| (due, settlement)));
            }
            Next::InHalves => {
                let second = hand.split_off(hand.len() / 2);
                self.parts.push(second);
                self.parts.push(hand);
            }
            Next::Refuse => {
                self.batch.hand = hand;
                self.batch.refuse(error);
                self.keep_what_is_left();
            }
        }
        None
    }
}

/// How large the next batch may be, after so many took so long.
fn larger(count: usize, took: Duration, most: usize) -> usize {
    let share = BATCH_TIME.as_secs_f64() / took.as_secs_f64().max(0.001);
    let fits = (count as f64 * share) as usize;
    // A small batch that was quick says little.
    let at_least = if count < most && took < BATCH_TIME { most } else { 1 };
    fits.clamp(at_least, LARGEST_BATCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_as_large_as_can_be_written_in_its_time() {
        let ms = Duration::from_millis;
        assert_eq!(larger(500, ms(40), LARGEST_BATCH), LARGEST_BATCH);
        assert_eq!(larger(4, ms(2800), LARGEST_BATCH), 1);
        assert_eq!(larger(1, ms(700), 1), 1);
        assert_eq!(larger(1, ms(5), 1), 200);
        assert_eq!(larger(100, ms(2000), 100), 50);
        assert_eq!(larger(3, ms(900), 50), 50, "few and quick enough");
    }
}
