//! Logging in: by what the connection string says, by a token that is made for each connection, or by a secret that is read anew
//! when the database refuses what was known of it, or does not answer.
//!
//! A password is rotated in three steps: the secret gets a pending value, the database gets it, and it becomes the secret's current
//! one. So a refused login reads the current value, then the pending one, and whichever gets in is kept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

use super::QueueError;
use super::server::{Begun, Server};
use crate::aws::call::Caller;
use crate::secret::{ConnectionSecret, Hidden, Stage};

/// Between two readings of a secret that does not help. Each costs two calls of Secrets Manager.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Where nobody answers, the secret may name another server by now.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const LONGEST_LOOK: Duration = Duration::from_secs(2);

/// Where the connection string comes from.
#[derive(Debug)]
pub enum Origin<'a> {
    /// It is given.
    Given(&'a str),
    /// It is kept elsewhere, and may change.
    Secret(Box<ConnectionSecret>),
}

/// How sessions of one database begin.
pub(super) struct Login {
    known: ArcSwap<Known>,
    secret: Option<Rotating>,
    /// Makes a password for each connection (rds-iam).
    tokens: Option<Caller>,
}

/// The connection string that got in last, or that is to be tried first.
struct Known {
    server: Server,
    text: Hidden,
}

struct Rotating {
    secret: ConnectionSecret,
    root_certificate: Option<String>,
    /// One connection reads it; the others wait for what comes of it.
    reading: Mutex<Reading>,
}

/// What came of the last readings.
struct Reading {
    not_before: Instant,
    pause: Duration,
    /// Why the secret did not help.
    why: String,
    /// When it was looked for another place.
    looked: Option<Instant>,
}

impl Login {
    pub(super) fn of(server: Server) -> Self {
        let known = Known { server, text: Hidden::default() };
        Self { known: ArcSwap::from_pointee(known), secret: None, tokens: None }
    }

    /// `root_certificate` is the CA file (or `system`) where the connection string names none.
    pub(super) async fn open(
        origin: Origin<'_>,
        root_certificate: Option<&str>,
        tokens: Option<Caller>,
    ) -> Result<Self, QueueError> {
        let (known, secret) = match origin {
            Origin::Given(text) => {
                (Known { server: Server::parse(text, root_certificate)?, text: Hidden::default() }, None)
            }
            Origin::Secret(secret) => {
                let text = secret.read(Stage::Current).await?.unwrap_or_default();
                let known = Known { server: Server::parse(text.reveal(), root_certificate)?, text };
                (known, Some(Rotating::new(*secret, root_certificate)))
            }
        };
        if tokens.is_some() {
            known.server.check_for_tokens()?;
        }
        Ok(Self { known: ArcSwap::from_pointee(known), secret, tokens })
    }

    /// Looks at the server as it is known now.
    pub(super) fn server<T>(&self, look: impl FnOnce(&Server) -> T) -> T {
        look(&self.known.load().server)
    }

    /// Begins a session, as the worker of that id where there is one.
    pub(super) async fn begin(&self, worker: Option<&str>) -> Result<Begun, QueueError> {
        let known = self.known.load_full();
        let begun = known.server.connect(worker, self.tokens.as_ref()).await;
        match (begun, &self.secret) {
            (Err(refused), Some(secret)) if refused.is_refused_login() => {
                self.begin_anew(secret, &known, worker, refused).await
            }
            (Err(away), Some(secret)) if away.may_pass() => {
                self.begin_elsewhere(secret, &known, worker).await.ok_or(away)
            }
            (begun, _) => begun,
        }
    }

    /// Tries the place that the secret names now, where it is another one. In an outage nobody waits for that: one connection looks,
    /// now and then, and not for long.
    async fn begin_elsewhere(&self, rotating: &Rotating, known: &Known, worker: Option<&str>) -> Option<Begun> {
        let mut reading = rotating.reading.try_lock().ok()?;
        if reading.looked.is_some_and(|looked| looked.elapsed() < LOOK_EVERY) {
            return None;
        }
        reading.looked = Some(Instant::now());
        let fresh = tokio::time::timeout(LONGEST_LOOK, rotating.read(Stage::Current, known)).await.ok()?.ok()??;
        let begun = fresh.server.connect(worker, self.tokens.as_ref()).await.ok()?;
        self.took(rotating, fresh, Stage::Current);
        Some(begun)
    }

    fn took(&self, rotating: &Rotating, fresh: Known, stage: Stage) {
        let secret = rotating.secret.to_string();
        tracing::info!(name: "secret.changed", secret, ?stage, "the secret holds another connection string now, and it gets in");
        self.known.store(Arc::new(fresh));
    }

    /// Tries what the secret holds now.
    async fn begin_anew(
        &self,
        rotating: &Rotating,
        known: &Arc<Known>,
        worker: Option<&str>,
        refused: QueueError,
    ) -> Result<Begun, QueueError> {
        let mut reading = rotating.reading.lock().await;
        let latest = self.known.load_full();
        if !Arc::ptr_eq(known, &latest) {
            // Another connection has read it meanwhile.
            return latest
                .server
                .connect(worker, self.tokens.as_ref())
                .await
                .map_err(|error| error.that_may_pass("it has just changed"));
        }
        if Instant::now() < reading.not_before {
            return Err(refused.that_may_pass(&reading.why));
        }
        let mut why =
            format!("the secret {} holds no other that gets in, and is read again until it does", rotating.secret);
        for stage in [Stage::Current, Stage::Pending] {
            let fresh = match rotating.read(stage, known).await {
                Ok(Some(fresh)) => fresh,
                Ok(None) => continue,
                Err(error) if stage == Stage::Current => {
                    why = format!("and read anew: {error}");
                    continue;
                }
                // Who may read the current value alone does without the other.
                Err(error) => {
                    tracing::debug!(name: "secret.pending_unread", %error, "no look at the secret's pending value");
                    continue;
                }
            };
            match fresh.server.connect(worker, self.tokens.as_ref()).await {
                Err(error) if error.is_refused_login() => {}
                Err(error) => return Err(error),
                Ok(begun) => {
                    self.took(rotating, fresh, stage);
                    *reading = Reading::default();
                    return Ok(begun);
                }
            }
        }
        reading.was_of_no_use(why);
        Err(refused.that_may_pass(&reading.why))
    }
}

impl Rotating {
    fn new(secret: ConnectionSecret, root_certificate: Option<&str>) -> Self {
        let root_certificate = root_certificate.map(str::to_owned);
        Self { secret, root_certificate, reading: Mutex::default() }
    }

    /// Another connection string than the known one; none where there is no other.
    async fn read(&self, stage: Stage, known: &Known) -> Result<Option<Known>, QueueError> {
        let Some(text) = self.secret.read(stage).await?.filter(|text| *text != known.text) else { return Ok(None) };
        let server = Server::parse(text.reveal(), self.root_certificate.as_deref())?;
        Ok(Some(Known { server, text }))
    }
}

impl Reading {
    fn was_of_no_use(&mut self, why: String) {
        self.not_before = Instant::now() + self.pause;
        self.pause = LONGEST_PAUSE.min(self.pause * 2);
        self.why = why;
    }
}

impl Default for Reading {
    fn default() -> Self {
        Self { not_before: Instant::now(), pause: FIRST_PAUSE, why: String::new(), looked: None }
    }
}
