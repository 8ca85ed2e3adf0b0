//! The keeping half of the pump: renews the leases of what is held, on a connection of its own. No claim that is slow, and no
//! connection that has gone silent, costs a lease of 8 s or more: a beat that is not answered in time is asked again on
//! another connection before the lease ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::heartbeat::{LeaseRenewer, Renewal};
use super::lane::Lane;
use super::outage::Outage;
use super::shared::{LeaseRequest, Shared};
use super::{Database, Lease, QueueError};
use crate::failure::Failure;

/// Beats in the time of a lease. What has been renewed within half of a beat is left for the next: a lease is at most 3/8
/// through when it is renewed.
const BEATS: u32 = 4;
/// Parts of a lease that a statement may take, that its cancelling may take, and that it may take after that: 3/8 in all.
const TIMEOUTS: u32 = 8;
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Runs until it is aborted.
pub(super) async fn run(
    lane: Lane<LeaseRenewer>,
    mut requests: mpsc::UnboundedReceiver<LeaseRequest>,
    shared: Arc<Shared>,
) {
    let mut keeper = Keeper { lane, shared, waiting: Vec::new() };
    let mut outage = Outage::new("renew leases", LONGEST_PAUSE);
    let mut beat = tokio::time::interval(keeper.shared.settings.lease / BEATS);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let asked = tokio::select! {
            request = requests.recv() => request,
            _ = beat.tick() => None,
        };
        let renewed = match asked {
            Some(LeaseRequest::Confirm(lease, reply)) => keeper.confirm(lease, reply).await,
            Some(LeaseRequest::Renew(reply)) => {
                keeper.waiting.push(reply);
                keeper.renew_all().await
            }
            None => keeper.beat().await,
        };
        match renewed {
            Ok(false) => {}
            Ok(true) => outage.over(),
            Err(error) => {
                keeper.lane.disconnect();
                tokio::time::sleep(outage.failed(&error)).await;
                beat.reset_immediately();
            }
        }
    }
}

/// The lane for leases that last so long.
pub(super) fn lane(database: Database, lease: Duration) -> Lane<LeaseRenewer> {
    Lane::with_timeout(database, lease / TIMEOUTS)
}

struct Keeper {
    lane: Lane<LeaseRenewer>,
    shared: Arc<Shared>,
    /// Those who wait for whatever is held to be renewed.
    waiting: Vec<oneshot::Sender<()>>,
}

/// Each says whether the database was asked.
impl Keeper {
    async fn beat(&mut self) -> Result<bool, QueueError> {
        if !self.waiting.is_empty() {
            return self.renew_all().await;
        }
        self.renew_older_than(self.shared.settings.lease / BEATS / 2).await
    }

    async fn renew_all(&mut self) -> Result<bool, QueueError> {
        let asked = self.renew_older_than(Duration::ZERO).await?;
        for waiting in self.waiting.drain(..) {
            let _ = waiting.send(());
        }
        Ok(asked)
    }

    async fn renew_older_than(&mut self, age: Duration) -> Result<bool, QueueError> {
        let aging: Vec<Lease> = {
            let state = self.shared.lock();
            state.held.iter().filter(|(_, held)| held.renewed.elapsed() >= age).map(|(lease, _)| *lease).collect()
        };
        self.renew(&aging).await
    }

    async fn confirm(
        &mut self,
        lease: Lease,
        reply: oneshot::Sender<Result<bool, Failure>>,
    ) -> Result<bool, QueueError> {
        let renewed = self.renew(&[lease]).await;
        let answer = match &renewed {
            Ok(_) => Ok(self.shared.lock().held.get(&lease).is_some_and(|held| !held.lost.load(Ordering::Relaxed))),
            Err(error) => Err(Failure::from(error)),
        };
        let _ = reply.send(answer);
        renewed
    }

    async fn renew(&mut self, leases: &[Lease]) -> Result<bool, QueueError> {
        if leases.is_empty() {
            return Ok(false);
        }
        let (asked, lease) = (Instant::now(), self.shared.settings.lease);
        let renewals = self.lane.statements().await?.renew(leases, lease).await?;
        let mut state = self.shared.lock();
        for lease in leases {
            let Some(held) = state.held.get_mut(lease) else { continue };
            match renewals.get(&lease.job) {
                Some(Renewal::Renewed) => held.renewed = asked,
                // Asked again at the next beat; the lease goes on until then.
                Some(Renewal::Locked) => {}
                // Settled this moment, perhaps: the settler will know.
                None if held.settling => {}
                None => state.lose(*lease, "another worker has the job now, or the receipt is gone"),
            }
        }
        self.shared.announce(&state);
        Ok(true)
    }
}
