//! Work that must not get in the way of jobs: compiling and comparing components. It has threads of its own, which the
//! system lets run when nobody else wants to.

use tokio::sync::oneshot;

/// Runs this on such a thread. None where there is no thread to be had, or it panicked.
pub(super) async fn aside<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, result) = oneshot::channel();
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        give_way();
        let _ = done.send(work());
    });
    thread.ok()?;
    result.await.ok()
}

/// Runs this with helpers, for what is spread over threads by rayon; they give way like the thread that makes them.
pub(super) fn with_helpers<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    match rayon::ThreadPoolBuilder::new().build() {
        Ok(helpers) => helpers.install(work),
        Err(_) => work(),
    }
}

/// The nice value of such a thread, where the process has not a higher one already.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// On Linux a nice value is a thread's own, and its children inherit it; elsewhere it would be the whole process's.
fn give_way() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{getpriority_process, setpriority_process};
        let nice = getpriority_process(None).map_or(NICE, |nice| nice.max(NICE));
        if let Err(error) = setpriority_process(None, nice) {
            tracing::debug!(name: "swap.usual_priority", %error, "compiling at the usual priority");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn it_gives_way_and_nobody_else_does() {
        let nice = || rustix::process::getpriority_process(None).unwrap_or(-1);
        let (before, lower) = (nice(), nice().max(NICE));
        let helpers = aside("test", move || (nice(), with_helpers(nice))).await;
        assert_eq!((helpers, nice()), (Some((lower, lower)), before));
    }

    #[tokio::test]
    async fn a_panic_is_no_result() {
        assert_eq!(aside("test", || -> u8 { std::panic::resume_unwind(Box::new("as ordered")) }).await, None);
    }
}
