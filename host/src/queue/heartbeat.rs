//! The heartbeat: renews leases.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_postgres::types::Type;

use super::claim::millis;
use super::lane::Statements;
use super::session::{Parameter, Session};
use super::{Lease, QueueError};

const HEARTBEAT: &str = include_str!("sql/heartbeat.sql");

/// What a heartbeat did for a lease that is still ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// Renewed.
    Renewed,
    /// Somebody has the row locked; not renewed this time.
    Locked,
}

/// The statement that renews leases.
pub struct LeaseRenewer {
    session: Session,
}

impl Statements for LeaseRenewer {
    async fn on(session: Session) -> Result<Self, QueueError> {
        Ok(Self { session })
    }

    fn session(&self) -> &Session {
        &self.session
    }

    async fn check(&self) -> Result<(), QueueError> {
        let (none, zero): (&[i64], i64) = (&[], 0);
        let parameters: [Parameter<'_>; 3] =
            [(&none, Type::INT8_ARRAY), (&none, Type::INT8_ARRAY), (&zero, Type::INT8)];
        self.session.check("to prepare the heartbeat", HEARTBEAT, &parameters).await
    }
}

impl LeaseRenewer {
    /// Renews leases; returns those that are still ours, by job.
    pub async fn renew(&self, leases: &[Lease], lease: Duration) -> Result<BTreeMap<i64, Renewal>, QueueError> {
        let (ids, tokens): (Vec<i64>, Vec<i64>) = leases.iter().map(|lease| (lease.job, lease.token)).unzip();
        let parameters: [Parameter<'_>; 3] =
            [(&ids, Type::INT8_ARRAY), (&tokens, Type::INT8_ARRAY), (&millis(lease), Type::INT8)];
        let rows = self.session.query("the heartbeat", HEARTBEAT, &parameters).await?;
        rows.iter()
            .map(|row| {
                let renewal = if row.try_get("renewed")? { Renewal::Renewed } else { Renewal::Locked };
                Ok((row.try_get("id")?, renewal))
            })
            .collect::<Result<_, _>>()
            .map_err(|error| QueueError::query("the heartbeat", &error))
    }
}
