//! A function of AWS Lambda's. Each invocation starts a worker, and the worker ends before its invocation does: what is frozen
//! between two of them holds no lease, no task and no connection (docs/decisions/0030).

mod event;
mod hours;
mod invocation;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use lambda_runtime::{LambdaEvent, Runtime, service_fn};
use serde_json::Value;
use tokio::sync::watch;

pub use self::settings::{Configured, FunctionSettings};

use self::invocation::Invocation;
use crate::schedule::Stop;

/// What the runtime of a function needs to know, each of which Lambda sets.
const OF_LAMBDA: [&str; 4] = [
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
];
/// How long an answer may be on its way when the process is told to stop.
const ANSWERING: Duration = Duration::from_millis(500);

/// Why there is no function.
#[derive(Debug, thiserror::Error)]
pub enum FunctionError {
    #[error(
        "{0} is not set: AWS Lambda starts this verb, and says so by that variable; elsewhere `host run --once` works the queue \
         once"
    )]
    NotOnLambda(&'static str),
    #[error("{0} is no number of megabytes: AWS Lambda sets it")]
    NoSize(&'static str),
    #[error("Lambda's runtime API cannot be reached: {0}")]
    Runtime(#[source] lambda_runtime::Error),
}

/// Answers invocations until told to stop.
pub async fn serve(
    worker: impl Configured,
    settings: FunctionSettings,
    stop: watch::Receiver<Stop>,
) -> Result<(), FunctionError> {
    check_surroundings()?;
    let worker = Arc::new(worker);
    let busy = watch::Sender::new(false);
    let mut idle = busy.subscribe();
    let (stopping, busy) = (stop.clone(), Arc::new(busy));
    let handler = service_fn(move |LambdaEvent { payload, context }: LambdaEvent<Value>| {
        let (worker, stop, busy) = (Arc::clone(&worker), stop.clone(), Arc::clone(&busy));
        async move {
            busy.send_replace(true);
            let answer = Invocation::new(&payload, &context, &settings).answer(worker, stop).await;
            busy.send_replace(false);
            answer
        }
    });
    let mut stopping = stopping;
    let stopped = async {
        if stopping.wait_for(|stop| *stop != Stop::No).await.is_err() {
            std::future::pending::<()>().await;
        }
        if *idle.borrow() {
            let _ = idle.wait_for(|busy| !busy).await;
            tokio::time::sleep(ANSWERING).await;
        }
    };
    tokio::select! {
        ended = Runtime::new(handler).run() => ended.map_err(FunctionError::Runtime),
        () = stopped => Ok(()),
    }
}

/// The runtime panics where Lambda did not start it.
fn check_surroundings() -> Result<(), FunctionError> {
    for name in OF_LAMBDA {
        let value = std::env::var(name).ok().filter(|value| !value.is_empty());
        let value = value.ok_or(FunctionError::NotOnLambda(name))?;
        if name.ends_with("SIZE") && value.parse::<i32>().is_err() {
            return Err(FunctionError::NoSize(name));
        }
    }
    Ok(())
}
