//! The settles that were too slow together, or failed with what passes (a lock, no memory, a file that cannot be read): each is
//! tried alone, on a connection of its own, while the others go on. One that fails like that alone (a row that somebody holds and
//! that an app's trigger needs) is put off with the reason in its row, if others were written meanwhile; if none were, it is the
//! database, and that passes.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::mpsc;

use super::QueueError;
use super::batch::Batch;
use super::fate::{FailedAlone, NextAlone, WriteError, next_alone};
use super::outage::Outage;
use super::settlement::Settlement;
use crate::failure::{Failure, FailureKind};

/// How long the first try may take; each other may take twice as long, up to the time for any statement.
const FIRST_LIMIT: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// After so long it is put off though nothing else was written.
const LONELY: Duration = Duration::from_secs(60);
/// How long a settle is put off; twice as long each time.
const FIRST_DELAY: Duration = Duration::from_secs(30);
const LONGEST_DELAY: Duration = Duration::from_secs(15 * 60);

struct Suspect {
    settlement: Settlement,
    tries: u32,
    /// What had been written when it became one.
    written: u64,
}

/// Runs until the channel is closed and everything in it is settled.
pub(super) async fn run(batch: Batch, mut incoming: mpsc::UnboundedReceiver<Settlement>) {
    let mut side = Side { batch, suspects: VecDeque::new() };
    let mut outage = Outage::new("settle", LONGEST_PAUSE);
    loop {
        if side.suspects.is_empty() {
            let Some(settlement) = incoming.recv().await else { return };
            side.accept(settlement);
        }
        while let Ok(settlement) = incoming.try_recv() {
            side.accept(settlement);
        }
        if side.batch.shared.is_giving_up() {
            let rest: Vec<Settlement> = side.suspects.drain(..).map(|suspect| suspect.settlement).collect();
            side.batch.give_back(rest.into_iter()).await;
            continue;
        }
        if let Some(pause) = side.try_one(&mut outage).await {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = side.batch.shared.gives_up() => {}
                Some(settlement) = incoming.recv() => side.accept(settlement),
            }
        }
    }
}

struct Side {
    batch: Batch,
    suspects: VecDeque<Suspect>,
}

impl Side {
    fn accept(&mut self, settlement: Settlement) {
        let written = self.batch.shared.written();
        self.suspects.push_back(Suspect { settlement, tries: 0, written });
    }

    /// Tries the one that was tried least; returns how long to wait before the next try, if there is a reason to.
    async fn try_one(&mut self, outage: &mut Outage) -> Option<Duration> {
        let place =
            (0..self.suspects.len()).min_by_key(|place| self.suspects.get(*place).map(|suspect| suspect.tries))?;
        let Suspect { mut settlement, tries, written } = self.suspects.remove(place)?;
        settlement.redecided = false;
        self.batch.hand.push(settlement);
        let limit = FIRST_LIMIT.saturating_mul(2_u32.saturating_pow(tries));
        let tried = self.batch.write(limit).await;
        let error = match tried {
            Ok(()) => {
                outage.over();
                let settlement = self.batch.hand.pop()?;
                let pause = (!settlement.redecided).then_some(PAUSE);
                let suspect = Suspect { settlement, tries, written };
                match pause {
                    None => self.suspects.push_front(suspect),
                    Some(_) => self.suspects.push_back(suspect),
                }
                return pause.filter(|_| self.suspects.len() == 1);
            }
            Err(error) => error,
        };
        let settlement = self.batch.hand.pop()?;
        let next = next_alone(FailedAlone {
            error: WriteError::from(&error),
            needs_receipt: settlement.needs_receipt(),
            is_stuck: settlement.is_stuck(),
            is_its_own: self.batch.shared.written() > written || settlement.since.elapsed() >= LONELY,
        });
        match next {
            NextAlone::Reconnect => {
                self.suspects.push_back(Suspect { settlement, tries, written });
                Some(outage.failed(&error))
            }
            NextAlone::Soon => {
                self.suspects.push_back(Suspect { settlement, tries, written });
                Some(PAUSE)
            }
            NextAlone::Later => {
                self.suspects.push_back(Suspect { settlement, tries: tries.saturating_add(1), written });
                // Others may fare better.
                self.suspects.iter().all(|suspect| suspect.tries > 0).then(|| outage.failed(&error))
            }
            NextAlone::PutOff => {
                let settlement = self.put_off(settlement, &error);
                self.suspects.push_front(Suspect { settlement, tries: 0, written });
                None
            }
            NextAlone::Refuse => {
                self.batch.hand.push(settlement);
                self.batch.refuse(&error);
                let settlement = self.batch.hand.pop()?;
                self.suspects.push_front(Suspect { settlement, tries: 0, written });
                None
            }
        }
    }

    fn put_off(&self, settlement: Settlement, error: &QueueError) -> Settlement {
        let job = settlement.entry.lease.job;
        let times = self.batch.shared.suspect(job);
        let delay = FIRST_DELAY.saturating_mul(2_u32.saturating_pow(times)).min(LONGEST_DELAY);
        let (code, message) = match error.is_late() {
            true => (
                "queue.SettleTimedOut",
                format!(
                    "the receipt could not be written in time, alone, while others were (a lock that somebody holds, or a \
                     slow trigger of the app's): {error}"
                ),
            ),
            false => {
                ("queue.SettleFailed", format!("the receipt could not be written, alone, while others were: {error}"))
            }
        };
        tracing::warn!(name: "settle.put_off", job, ?delay, "put off: {message}");
        settlement.put_off(delay, Failure::new(FailureKind::Unavailable, code, message))
    }
}
