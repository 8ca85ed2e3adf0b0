//! Tries settles before anything is paid for, until it is known that the database takes results.

use super::rehearsal::{self, Rehearsed};
use super::{Client, Database, Lease, Refusals};
use crate::failure::{Failure, FailureKind};

/// The connection, which is there while it is needed.
pub(super) struct Rehearser {
    database: Database,
    client: tokio::sync::Mutex<Option<Client>>,
}

impl Rehearser {
    pub(super) fn new(database: Database) -> Self {
        Self { database, client: tokio::sync::Mutex::default() }
    }

    /// Tries the settle of a job, and rolls it back. A failure where its result would be refused.
    pub(super) async fn rehearse(&self, lease: Lease, refusals: &Refusals) -> Result<(), Failure> {
        if refusals.are_ruled_out() {
            return Ok(());
        }
        let mut held = self.client.lock().await;
        // Somebody else has tried it meanwhile.
        if refusals.are_ruled_out() {
            return Ok(());
        }
        let mut client = match held.take().filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => match self.database.connect().await {
                Ok(client) => client,
                // Without a database nothing is settled either, and that passes.
                Err(_) => return Ok(()),
            },
        };
        match rehearsal::of_job(&mut client, lease).await {
            Rehearsed::Passed => {
                refusals.rule_out();
                Ok(())
            }
            Rehearsed::NeverDead(error) => {
                // The others are none the worse for it.
                tracing::error!(
                    name: "rehearsal.dead_letter_refused",
                    %error,
                    "a receipt that fails could not be given up, and would be tried again for ever (host doctor)"
                );
                refusals.rule_out();
                Ok(())
            }
            Rehearsed::Unclear(why) => {
                tracing::debug!(
                    name: "rehearsal.unclear",
                    job = lease.job,
                    "it is not clear whether a result would be taken: {why}"
                );
                *held = Some(client);
                Ok(())
            }
            Rehearsed::Refused(error) => {
                *held = Some(client);
                refusals.refused(lease.job, &error);
                let message = format!("it was not read, since its result would be refused: {error}");
                Err(Failure::new(FailureKind::Unavailable, error.refusal(), message))
            }
        }
    }
}
