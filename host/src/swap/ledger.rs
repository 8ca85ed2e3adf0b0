//! What happened to components on this worker, written to the database beside the work: a swap never waits for it.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::queue::components::{self, Change, Distrust, LedgerEntry};
use crate::queue::{Database, Lease, QueueError, take_back};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// How long a question to the ledger may hold up a swap.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the last entries may hold up the end of the process.
const FAREWELL: Duration = Duration::from_secs(3);

/// Whose ledger it is.
#[derive(Debug, Clone)]
pub struct LedgerSettings {
    /// Where it is.
    pub database: Database,
    /// The worker's id.
    pub worker: String,
    /// The worker makes one pass, which is no event: nothing is written.
    pub passing: bool,
}

/// Writes down what happens to components.
pub(super) struct Ledger {
    settings: LedgerSettings,
    queue: mpsc::UnboundedSender<Task>,
}

enum Task {
    Record(LedgerEntry),
    Undo(Vec<Lease>),
    /// Answered when all before it is written.
    Mark(oneshot::Sender<()>),
    Close,
}

/// What the ledger says of a digest.
pub(super) enum Known {
    Trusted,
    /// It was rolled back, see the reason.
    Distrusted(String),
    /// The database does not answer.
    Nothing,
}

impl Ledger {
    pub(super) fn start(settings: LedgerSettings) -> (Self, JoinHandle<()>) {
        let (queue, tasks) = mpsc::unbounded_channel();
        let writer = tokio::spawn(write(settings.database.clone(), tasks));
        (Self { settings, queue }, writer)
    }

    pub(super) fn record(&self, change: Change, digest: &str, previous: Option<&str>, reason: &str, source: &str) {
        if self.settings.passing {
            return;
        }
        let entry = LedgerEntry {
            worker: self.settings.worker.clone(),
            change,
            digest: digest.to_owned(),
            previous: previous.map(str::to_owned),
            reason: Some(reason.to_owned()).filter(|reason| !reason.is_empty()),
            source: Some(source.to_owned()),
        };
        let _ = self.queue.send(Task::Record(entry));
    }

    /// Has decisions undone that a component made while it was not trusted.
    pub(super) fn undo(&self, decisions: Vec<Lease>) {
        if !decisions.is_empty() {
            let _ = self.queue.send(Task::Undo(decisions));
        }
    }

    /// Ends the writer once all before is written.
    pub(super) fn close(&self) {
        let _ = self.queue.send(Task::Close);
    }

    /// Whether this component may run, as far as all hosts know.
    pub(super) async fn distrusts(&self, digest: &str) -> Known {
        let ask = async {
            // What was rolled back a moment ago may not be written yet.
            let (mark, reached) = oneshot::channel();
            let _ = self.queue.send(Task::Mark(mark));
            let _ = reached.await;
            let client = self.settings.database.connect().await?;
            components::distrusted(&client, digest).await
        };
        match tokio::time::timeout(PATIENCE, ask).await {
            Ok(Ok(distrust)) => distrust.map_or(Known::Trusted, |distrust| Known::Distrusted(in_words(&distrust))),
            Ok(Err(error)) => {
                tracing::warn!(
                    name: "ledger.lookup_failed",
                    %error,
                    "cannot look up whether the component was rolled back before"
                );
                Known::Nothing
            }
            Err(_) => {
                tracing::warn!(
                    name: "ledger.lookup_timed_out",
                    "the database does not say in time whether the component was rolled back before"
                );
                Known::Nothing
            }
        }
    }
}

/// Why a component is distrusted, for a person.
pub(super) fn in_words(distrust: &Distrust) -> String {
    let Distrust { at, worker, reason } = distrust;
    let reason = reason.as_deref().unwrap_or("no reason is recorded");
    format!("it was rolled back at {at} by worker {worker}: {reason}")
}

/// Waits until everything is written, but not for ever.
pub(super) async fn finish(writer: JoinHandle<()>) {
    if tokio::time::timeout(FAREWELL, writer).await.is_err() {
        tracing::warn!(
            name: "ledger.incomplete",
            "the last changes of the component are not in the ledger: the database does not answer"
        );
    }
}

async fn write(database: Database, mut tasks: mpsc::UnboundedReceiver<Task>) {
    while let Some(task) = tasks.recv().await {
        let mut pause = FIRST_PAUSE;
        let task = match task {
            Task::Close => return,
            Task::Mark(mark) => {
                let _ = mark.send(());
                continue;
            }
            task => task,
        };
        while let Err(error) = perform(&database, &task).await {
            if error.is_permanent() {
                tracing::error!(name: "ledger.entry_lost", %error, "this change of a component is not in the ledger");
                break;
            }
            tracing::warn!(
                name: "ledger.unreachable",
                %error,
                retry_in = ?pause,
                "cannot write to the ledger of components"
            );
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

async fn perform(database: &Database, task: &Task) -> Result<(), QueueError> {
    match task {
        Task::Record(entry) => components::record(&database.connect().await?, entry).await,
        Task::Undo(decisions) => {
            let jobs = take_back(&mut database.connect().await?, decisions).await?;
            tracing::info!(
                name: "swap.jobs_put_back",
                jobs,
                "put back, uncharged, what a component gave up that did not prove itself"
            );
            Ok(())
        }
        Task::Mark(_) | Task::Close => Ok(()),
    }
}
