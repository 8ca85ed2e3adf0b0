//! One invocation: a worker with a runtime of its own, which goes with everything that is in it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use lambda_runtime::{Context, Diagnostic};
use serde_json::Value;
use tokio::sync::{Notify, oneshot, watch};

use super::event::Kind;
use super::hours::Hours;
use super::settings::{Configured, FunctionSettings};
use crate::failure::chain;
use crate::schedule::{Stop, Term};
use crate::telemetry::stderr;
use crate::worker::{Orders, Report, Summary, Worker, WorkerError, unless_stopped};

/// How long what the operating system does for nobody any more (a look into DNS, say) may hold up the answer.
const LEFTOVERS: Duration = Duration::from_millis(100);
/// How long the answer waits for its lines in the log: a frozen function writes none.
const LAST_LINES: Duration = Duration::from_millis(500);

/// As the main thread has it, where other verbs start their worker.
const STACK: usize = 8 << 20;

/// What is known of one before it begins.
pub(super) struct Invocation {
    request: String,
    kind: Kind,
    term: Term,
    hours: Hours,
    started: Instant,
}

/// Why one is answered with an error.
#[derive(Debug, thiserror::Error)]
enum InvocationError {
    /// What is wrong, and what to do.
    #[error("{0}")]
    NotConfigured(String),
    #[error(transparent)]
    NotStarted(#[from] WorkerError),
    #[error(
        "database and buckets were not reached before the time of this invocation ran low: see to the network of the function \
         (host doctor), or give it a longer timeout"
    )]
    NoTime,
    /// The worker says why.
    #[error("{0}")]
    GaveUp(String),
    #[error("the worker ended abnormally: {0}")]
    Broken(String),
}

impl Invocation {
    pub(super) fn new(event: &Value, context: &Context, settings: &FunctionSettings) -> Self {
        let kind = Kind::of(event);
        // Nobody waits for the answer to a schedule; others do, and messages stay out of sight meanwhile.
        let linger = settings.linger.filter(|_| kind == Kind::Schedule);
        let hours = Hours::of(context.deadline, SystemTime::now(), settings.spare, linger);
        let term = linger.map_or(Term::OnePass, |_| Term::Shift);
        Self { request: context.request_id.clone(), kind, term, hours, started: Instant::now() }
    }

    /// Works the queue. Nothing of it is left when there is an answer.
    pub(super) async fn answer(
        self,
        configured: Arc<impl Configured>,
        stop: watch::Receiver<Stop>,
    ) -> Result<Value, Diagnostic> {
        let Self { request, kind, term, hours, started } = self;
        tracing::info!(name: "lambda.invoked", request, kind = kind.as_str(), begin = ?hours.begin, "invoked");
        let (done, worked) = oneshot::channel();
        let thread = std::thread::Builder::new().name("invocation".to_owned()).stack_size(STACK);
        let thread = thread.spawn(move || done.send(apart(work(configured, term, hours, stop))));
        let worked = match thread {
            Ok(_) => worked.await.unwrap_or_else(|_| Err(InvocationError::Broken("it panicked".to_owned()))),
            Err(error) => Err(InvocationError::Broken(format!("no thread: {error}"))),
        };
        let summary = worked.map(|report| Summary::of(report, started.elapsed()));
        let answer = summary.map_err(Diagnostic::from).and_then(|summary| {
            let milliseconds = summary.milliseconds;
            tracing::info!(name: "lambda.answered", request, processed = summary.counts.processed, milliseconds, "answered");
            kind.answer(&summary).map_err(|error| InvocationError::Broken(error.to_string()).into())
        });
        if let Err(error) = &answer {
            tracing::error!(name: "lambda.failed", request, kind = error.error_type, "{}", error.error_message);
        }
        stderr::flush(LAST_LINES);
        answer
    }
}

/// Runs it with threads, timers and sockets of its own; none of them is there afterwards.
fn apart(work: impl Future<Output = Result<Report, InvocationError>>) -> Result<Report, InvocationError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| InvocationError::Broken(format!("no runtime: {error}")))?;
    let worked = runtime.block_on(work);
    runtime.shutdown_timeout(LEFTOVERS);
    worked
}

async fn work(
    configured: Arc<impl Configured>,
    term: Term,
    hours: Hours,
    mut stop: watch::Receiver<Stop>,
) -> Result<Report, InvocationError> {
    let (tell, told) = watch::channel(Stop::No);
    // Holds the sender as long as there is a worker.
    let timer = tokio::spawn(async move {
        let time_is_low = async {
            match hours.begin {
                Some(begin) => tokio::time::sleep(begin).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = time_is_low => {}
            _ = stop.wait_for(|stop| *stop != Stop::No) => {}
        }
        tell.send_replace(Stop::Drain);
    });
    let orders = Orders { stop: told, recheck: Notify::new().into() };
    let settings = unless_stopped(&orders.stop, configured.worker()).await.ok_or(InvocationError::NoTime)?;
    let mut settings = settings.map_err(InvocationError::NotConfigured)?;
    settings.term = term;
    settings.work.drain_timeout = hours.end.unwrap_or(settings.work.drain_timeout);
    let worker = Worker::prepare(settings, &orders).await?.ok_or(InvocationError::NoTime)?;
    let mut report = worker.run(orders).await?;
    timer.abort();
    if !report.began {
        return Err(InvocationError::NoTime);
    }
    match report.runs.gave_up.take() {
        Some(why) => Err(InvocationError::GaveUp(why)),
        None => Ok(report),
    }
}

impl From<InvocationError> for Diagnostic {
    fn from(error: InvocationError) -> Self {
        let error_type = match &error {
            InvocationError::NotConfigured(_) => "Worker.NotConfigured",
            InvocationError::NotStarted(_) => "Worker.NotStarted",
            InvocationError::NoTime => "Worker.NoTime",
            InvocationError::GaveUp(_) => "Worker.GaveUp",
            InvocationError::Broken(_) => "Worker.Broken",
        };
        Self { error_type: error_type.to_owned(), error_message: chain(&error) }
    }
}
