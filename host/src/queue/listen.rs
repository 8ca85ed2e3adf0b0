//! LISTEN on a connection of its own, made anew whenever it is lost.
//!
//! Through a pooler in transaction mode LISTEN seems to work, and no notification ever arrives. So each new connection is
//! tried: a notification is sent to it the way that claims and settles go.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use super::connect::{Heard, connect_hearing, connect_simple};
use super::outage::Outage;
use super::pump::random_id;
use super::{CHANNEL, Client, Connection as _, Database, QueueError, is_pooled};

/// What a notification is about, in public.
const WOKEN: &str = "public.receipt_queue";
const RECONNECT_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// It takes milliseconds.
const PROBE_PATIENCE: Duration = Duration::from_secs(5);

/// Wakes `wake` at every notification, and after every (re)connect, because something may have been missed meanwhile.
/// Listens on `direct`, where the notifications of `database` are to arrive. Runs until it is dropped, or until it is
/// clear that a pooler keeps the notifications.
pub async fn listen(database: Database, direct: Database, wake: Arc<Notify>) {
    let mut outage = Outage::new("listen", LONGEST_PAUSE);
    loop {
        match Listener::start(&database, &direct, Arc::clone(&wake)).await {
            Ok(listener) => {
                outage.over();
                tracing::debug!(channel = CHANNEL, "listening");
                wake.notify_one();
                if listener.end().await == Some(SqlState::IDLE_SESSION_TIMEOUT) {
                    tracing::debug!("the server ended the idle listening connection; reconnecting");
                } else {
                    tracing::warn!(
                        channel = CHANNEL,
                        "lost the listening connection; reconnecting, the interval goes on"
                    );
                }
                tokio::time::sleep(RECONNECT_PAUSE).await;
            }
            Err(error @ QueueError::Pooled { .. }) => {
                tracing::warn!(%error, "polling alone, at the interval");
                return;
            }
            Err(error) => tokio::time::sleep(outage.failed(&error)).await,
        }
    }
}

/// Makes sure that notifications sent on `database` arrive on `direct`.
pub async fn check(database: &Database, direct: &Database) -> Result<(), QueueError> {
    Listener::start(database, direct, Arc::default()).await.map(drop)
}

/// Dropping it ends its connection.
struct Listener {
    driver: JoinHandle<Option<SqlState>>,
    _client: Client,
}

impl Listener {
    async fn start(database: &Database, direct: &Database, wake: Arc<Notify>) -> Result<Self, QueueError> {
        let problem = |error: tokio_postgres::Error| QueueError::query("to LISTEN", &error);
        let probe = format!("receipt_probe_{}", random_id());
        let (heard, probed) = (Arc::new(Notify::new()), probe.clone());
        let hears = Arc::clone(&heard);
        let ours = database.schema().qualify(WOKEN).into_owned();
        let on_message = move |heard: Heard<'_>| match heard {
            Heard::Notification(notification) if notification.channel() == probed => hears.notify_one(),
            // Schemas of one database share the channel. A notification that names no queue is for everybody.
            Heard::Notification(about) if about.payload().is_empty() || about.payload() == ours => wake.notify_one(),
            Heard::Notification(_) | Heard::Notice(_) => {}
        };
        let (client, driver) = connect_hearing(direct, on_message).await?;
        client.batch_execute(&format!("UNLISTEN *; LISTEN {probe}")).await.map_err(problem)?;

        // From another connection: through a pooler, ours might be lent the very session that listens.
        let sender = connect_simple(database).await?;
        sender.execute_typed("SELECT pg_notify($1, '')", &[(&probe, Type::TEXT)]).await.map_err(problem)?;
        if tokio::time::timeout(PROBE_PATIENCE, heard.notified()).await.is_ok() {
            client.batch_execute(&format!("LISTEN {CHANNEL}; UNLISTEN {probe}")).await.map_err(problem)?;
            return Ok(Self { driver, _client: client });
        }
        if is_pooled(&client).await? {
            // As good as it can be done: some session of the pooler's listens now.
            let _ = client.batch_execute("UNLISTEN *").await;
            return Err(QueueError::Pooled { at: direct.at() });
        }
        Err(QueueError::Unheard { from: database.at(), at: direct.at(), seconds: PROBE_PATIENCE.as_secs() })
    }

    /// Waits for its end; returns the server's reason.
    async fn end(mut self) -> Option<SqlState> {
        (&mut self.driver).await.ok().flatten()
    }
}
