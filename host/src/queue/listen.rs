//! LISTEN on a connection of its own, made anew whenever it is lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::{CHANNEL, Database, connect};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Wakes `wake` at every notification, and after every (re)connect, because something may have been missed meanwhile.
/// Runs until it is dropped.
pub async fn listen(database: Database, wake: Arc<Notify>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let notified = Arc::clone(&wake);
        match connect(&database, move || notified.notify_one()).await {
            Ok((client, mut driver)) => match client.batch_execute(&format!("LISTEN {CHANNEL}")).await {
                Ok(()) => {
                    tracing::debug!(channel = CHANNEL, "listening");
                    pause = FIRST_PAUSE;
                    wake.notify_one();
                    // Dropping this future must end the connection too: the client is held here, and the driver ends
                    // when its client is gone.
                    let _ = (&mut driver).await;
                    drop(client);
                    tracing::warn!(
                        channel = CHANNEL,
                        "lost the listening connection; reconnecting, the interval goes on"
                    );
                }
                Err(error) => tracing::warn!(channel = CHANNEL, %error, "cannot LISTEN; the interval goes on"),
            },
            Err(error) => tracing::warn!(%error, "cannot connect to listen; trying again"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
