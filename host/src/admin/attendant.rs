//! Keeps the endpoint up. No receipt waits because a port is taken or a folder cannot be written: what can be had is served, and
//! the rest is tried again.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::error::AdminError;
use super::listening::Admin;
use super::subject::Subject;
use super::{AdminAddress, AdminSettings, DEFAULT_ADDRESS};

/// Between two tries.
const AGAIN: Duration = Duration::from_secs(5);

/// A task that has the endpoint, or tries to get it. Dropping it ends both.
pub struct Attendant {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Attendant {
    /// None where the endpoint is off.
    pub fn start(settings: &AdminSettings, subject: Subject) -> Option<Self> {
        if settings.address == Some(AdminAddress::Off) {
            return None;
        }
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(attend(settings.clone(), subject, stopped));
        Some(Self { stop, task })
    }

    /// Answers what was asked already, takes the token away, and frees the port.
    pub async fn shutdown(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::warn!(name: "admin.ended_badly", %error, "the admin endpoint ended badly");
        }
    }
}

async fn attend(settings: AdminSettings, subject: Subject, mut stopped: watch::Receiver<bool>) {
    let mut admin = None;
    let mut told = None;
    loop {
        match have(&mut admin, &settings, &subject).await {
            Ok(()) => break,
            Err(error) => {
                let reason = error.to_string();
                if told.as_ref() != Some(&reason) {
                    tracing::warn!(
                        name: "admin.unavailable",
                        again_in = ?AGAIN,
                        "{reason}; receipts are worked all the same, and it is tried again"
                    );
                    told = Some(reason);
                }
            }
        }
        if tokio::time::timeout(AGAIN, stopped.wait_for(|stopped| *stopped)).await.is_ok() {
            break;
        }
    }
    let _ = stopped.wait_for(|stopped| *stopped).await;
    if let Some(admin) = admin {
        admin.shutdown().await;
    }
}

/// The address first: health and metrics need no token.
async fn have(admin: &mut Option<Admin>, settings: &AdminSettings, subject: &Subject) -> Result<(), AdminError> {
    if admin.is_none() {
        let address = match settings.address {
            Some(AdminAddress::At(address)) => address,
            _ => DEFAULT_ADDRESS,
        };
        *admin = Some(Admin::listen(address, subject.clone()).await?);
    }
    match admin {
        Some(admin) => admin.leave_token(settings.folder.as_deref()),
        None => Ok(()),
    }
}
