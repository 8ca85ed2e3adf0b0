//! What happened to components on this worker, written to the database beside the work: a swap never waits for it.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::queue::components::{self, Change, Distrust, Entry};
use crate::queue::{Database, Lease, take_back};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// How long a question to the ledger may hold up a swap.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the last entries may hold up the end of the process.
const FAREWELL: Duration = Duration::from_secs(3);

/// See the module.
pub(super) struct Ledger {
    database: Database,
    worker: String,
    queue: mpsc::UnboundedSender<Task>,
}

enum Task {
    Record(Entry),
    TakeBack(Vec<Lease>),
}

impl Ledger {
    pub(super) fn start(database: Database, worker: String) -> (Self, JoinHandle<()>) {
        let (queue, tasks) = mpsc::unbounded_channel();
        let writer = tokio::spawn(write(database.clone(), tasks));
        (Self { database, worker, queue }, writer)
    }

    pub(super) fn record(&self, change: Change, digest: &str, previous: Option<&str>, reason: &str, source: &str) {
        let entry = Entry {
            worker: self.worker.clone(),
            change,
            digest: digest.to_owned(),
            previous: previous.map(str::to_owned),
            reason: Some(reason.to_owned()).filter(|reason| !reason.is_empty()),
            source: Some(source.to_owned()),
        };
        let _ = self.queue.send(Task::Record(entry));
    }

    /// Has decisions undone that a component made while it was not trusted.
    pub(super) fn take_back(&self, verdicts: Vec<Lease>) {
        if !verdicts.is_empty() {
            let _ = self.queue.send(Task::TakeBack(verdicts));
        }
    }

    /// Why nobody is to run this component, if so. Where the database cannot say, nobody knows of anything.
    pub(super) async fn distrusts(&self, digest: &str) -> Option<String> {
        let ask = async {
            let client = self.database.connect().await?;
            components::distrusted(&client, digest).await
        };
        match tokio::time::timeout(PATIENCE, ask).await {
            Ok(Ok(distrust)) => distrust.map(|distrust| in_words(&distrust)),
            Ok(Err(error)) => {
                tracing::warn!(%error, "cannot look up whether the component was taken back before");
                None
            }
            Err(_) => {
                tracing::warn!("the database does not say in time whether the component was taken back before");
                None
            }
        }
    }
}

/// Why a component is distrusted, for a person.
pub fn in_words(distrust: &Distrust) -> String {
    let Distrust { at, worker, reason } = distrust;
    let reason = reason.as_deref().unwrap_or("no reason is recorded");
    format!("it was taken back at {at} by worker {worker}: {reason}")
}

/// Waits until everything is written, but not for ever.
pub(super) async fn finish(writer: JoinHandle<()>) {
    if tokio::time::timeout(FAREWELL, writer).await.is_err() {
        tracing::warn!("the last changes of the component are not in the ledger: the database does not answer");
    }
}

async fn write(database: Database, mut tasks: mpsc::UnboundedReceiver<Task>) {
    while let Some(task) = tasks.recv().await {
        let mut pause = FIRST_PAUSE;
        while let Err(error) = perform(&database, &task).await {
            tracing::warn!(%error, retry_in = ?pause, "cannot write to the ledger of components");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

async fn perform(database: &Database, task: &Task) -> Result<(), crate::queue::QueueError> {
    let mut client = database.connect().await?;
    match task {
        Task::Record(entry) => components::record(&client, entry).await,
        Task::TakeBack(verdicts) => {
            let jobs = take_back(&mut client, verdicts).await?;
            tracing::info!(jobs, "put back, uncharged, what the component that was taken back had decided");
            Ok(())
        }
    }
}
