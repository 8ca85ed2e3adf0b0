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
use super::{CHANNEL, Client, Connection, Database, QueueError, is_pooled};

/// What an insert may take from its trigger to its commit to be seen when the time without notifications is over.
const COMMIT_PAUSE: Duration = Duration::from_millis(50);
/// What a notification is about, in public.
const WOKEN: &str = "public.receipt_queue";
const RECONNECT_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// It takes milliseconds.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Wakes `wake` at every notification, and after every (re)connect, because something may have been missed meanwhile.
/// Listens on `direct`, where the notifications of `database` are to arrive. Runs until it is dropped, or until it is
/// clear that a pooler keeps the notifications.
pub async fn listen(database: Database, direct: Database, wake: Arc<Notify>) {
    let mut outage = Outage::new("listen", LONGEST_PAUSE);
    loop {
        match Listener::start(&database, &direct, Arc::clone(&wake)).await {
            Ok(listener) => {
                outage.over();
                tracing::debug!(name: "listen.started", channel = CHANNEL, "listening");
                wake.notify_one();
                if listener.end().await == Some(SqlState::IDLE_SESSION_TIMEOUT) {
                    tracing::debug!(
                        name: "listen.idle_ended",
                        "the server ended the idle listening connection; reconnecting"
                    );
                } else {
                    tracing::warn!(
                        name: "listen.lost",
                        channel = CHANNEL,
                        "lost the listening connection; reconnecting, the interval goes on"
                    );
                }
                tokio::time::sleep(RECONNECT_PAUSE).await;
            }
            Err(error @ QueueError::Pooled { .. }) => {
                tracing::warn!(name: "listen.unavailable", %error, "polling alone, at the interval");
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

/// Whether the trigger was told to notify nobody. False where this role may not look: only the owner may.
pub async fn is_switched_off(client: &impl Connection) -> bool {
    let row = client.query_typed_one("SELECT s.notify = 'off' FROM public.receipt_queue_settings s", &[]).await;
    row.and_then(|row| row.try_get(0)).unwrap_or(false)
}

/// What a notification asks of a host.
#[derive(Debug, PartialEq, Eq)]
enum Call {
    /// It is about the queue of another schema.
    Another,
    Now,
    /// For so long others are not announced: look again after it.
    NowAndIn(Duration),
}

impl Call {
    /// Schemas of one database share the channel. A notification that says nothing, or nothing that is understood, is for
    /// everybody.
    fn parse(payload: &str, ours: &str) -> Self {
        let Some((queue, spared)) = payload.rsplit_once(".receipt_queue") else { return Self::Now };
        if ours.strip_suffix(".receipt_queue") != Some(queue) {
            return Self::Another;
        }
        match spared.trim().parse() {
            Ok(spared) => Self::NowAndIn(Duration::from_millis(spared) + COMMIT_PAUSE),
            Err(_) => Self::Now,
        }
    }
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
            Heard::Notification(notification) => match Call::parse(notification.payload(), &ours) {
                Call::Another => {}
                Call::Now => wake.notify_one(),
                Call::NowAndIn(pause) => {
                    wake.notify_one();
                    let wake = Arc::clone(&wake);
                    tokio::spawn(async move {
                        tokio::time::sleep(pause).await;
                        wake.notify_one();
                    });
                }
            },
            Heard::Notice(_) => {}
        };
        let (client, driver) = connect_hearing(direct, on_message).await?;
        client.batch_execute(&format!("UNLISTEN *; LISTEN {probe}")).await.map_err(problem)?;

        // From another connection: through a pooler, ours might be lent the very session that listens.
        let sender = connect_simple(database).await?;
        sender.execute_typed("SELECT pg_notify($1, '')", &[(&probe, Type::TEXT)]).await.map_err(problem)?;
        if tokio::time::timeout(PROBE_TIMEOUT, heard.notified()).await.is_ok() {
            client.batch_execute(&format!("LISTEN {CHANNEL}; UNLISTEN {probe}")).await.map_err(problem)?;
            return Ok(Self { driver, _client: client });
        }
        if is_pooled(&client).await? {
            // As good as it can be done: some session of the pooler's listens now.
            let _ = client.batch_execute("UNLISTEN *").await;
            return Err(QueueError::Pooled { at: direct.at() });
        }
        Err(QueueError::Unheard { from: database.at(), at: direct.at(), seconds: PROBE_TIMEOUT.as_secs() })
    }

    /// Waits for its end; returns the server's reason.
    async fn end(mut self) -> Option<SqlState> {
        (&mut self.driver).await.ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_says_whose_it_is_and_when_to_look_again() {
        let ours = "\"a.receipt_queue b\".receipt_queue";
        assert_eq!(Call::parse("", ours), Call::Now);
        assert_eq!(Call::parse("by hand", ours), Call::Now);
        assert_eq!(Call::parse(ours, ours), Call::Now);
        assert_eq!(Call::parse("public.receipt_queue", ours), Call::Another);
        assert_eq!(Call::parse("public.receipt_queue 50", ours), Call::Another);
        assert_eq!(Call::parse("public.receipt_queue 50", WOKEN), Call::NowAndIn(Duration::from_millis(100)));
        assert_eq!(Call::parse("public.receipt_queue soon", WOKEN), Call::Now);
    }
}
