//! Runs that failed, recorded while they did: the trace says how each ended, and the replay ends so too.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use host::ocr::local::Fault;
use host::sandbox::{EMBEDDED, Limits, Observer, types};
use host::trace::{Event, FailedHow, RecordSettings, Recorder, Trace, traces_in};
use tempfile::TempDir;
use tests::Finished;
use tests::components::component;

use crate::limits::{BAD, tight};
use crate::support::{Bench, host};

/// A run that was too long for its trace has no more events than fit, but its end.
const SMALL: u64 = 256 * 1024;

fn recorder(folder: &TempDir) -> Arc<Recorder> {
    let settings = RecordSettings { per_run_bytes: SMALL, ..RecordSettings::new(folder.path()) };
    Arc::new(Recorder::start(settings).unwrap())
}

async fn replay(folder: &Path, more: &[&str]) -> Finished {
    let component = component("misbehaves");
    let (folder, component) = (folder.to_str().unwrap(), component.to_str().unwrap());
    let args = ["replay", folder, "--component", component];
    host(&[&args, more].concat()).await
}

fn traces(folder: &Path) -> Vec<Trace> {
    traces_in(&[folder.to_owned()]).unwrap().into_iter().map(|path| Trace::read(path).unwrap()).collect()
}

/// How it ended, and in what words; none where it returned.
fn end(trace: &Trace) -> Option<(FailedHow, &str)> {
    match trace.events.last().unwrap() {
        Event::Failed { how, message } => Some((*how, message)),
        Event::Return { .. } => None,
        other => panic!("{} ends with {other:?}", trace.path.display()),
    }
}

/// The receipt that the run was about when it ended: that of the last call that names a job.
fn last_receipt(trace: &Trace) -> String {
    let mut names = BTreeMap::new();
    let mut last = None;
    for event in &trace.events {
        let Event::Call { import, args, result, .. } = event else { continue };
        if import == "queue.claim" {
            let jobs = result.read::<serde_json::Value>().unwrap()["Ok"].as_array().unwrap().clone();
            let known =
                jobs.iter().map(|job| (job["job"].as_u64().unwrap(), job["receipt_id"].as_str().unwrap().to_owned()));
            names.extend(known);
        }
        last = args.read::<serde_json::Value>().unwrap()["job"].as_u64().or(last);
    }
    last.and_then(|job| names.get(&job).cloned()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_of_failing_is_recorded_and_replays_as_that() {
    let expected = |receipt: &str| match receipt {
        "loop.x" | "loop-in-calls.x" => FailedHow::Deadline,
        "memory.x" | "stack.x" | "handles.x" | "long-message.x" => FailedHow::Limit,
        _ => FailedHow::Trap,
    };
    let bench = Bench::new().await;
    let ids: Vec<&str> = BAD.iter().map(|bad| bad.receipt).collect();
    // One that goes right before each: otherwise the component would fail on everything, and be left alone.
    for (number, bad) in ids.iter().enumerate() {
        bench.insert(&[&format!("ok.{number}"), bad]).await;
    }
    let folder = TempDir::new().unwrap();
    let recorder = recorder(&folder);
    bench.pass_on_record(&component("misbehaves"), tight(), &recorder, None).await;
    drop(recorder);

    let traces = traces(folder.path());
    assert_eq!(traces.len(), ids.len());
    for trace in &traces {
        let receipt = last_receipt(trace);
        let bad = BAD.iter().find(|bad| bad.receipt == receipt).unwrap_or_else(|| panic!("{receipt:?}"));
        let (how, message) = end(trace).unwrap_or_else(|| panic!("{receipt} returned"));
        assert_eq!(how, expected(bad.receipt), "{receipt}: {message}");
        assert!(message.contains(bad.says), "{receipt}: {message}");
        assert_eq!(trace.complete, receipt != "loop-in-calls.x", "{receipt}");
    }
    let ran = replay(folder.path(), &[]).await.unharmed();
    assert!(ran.stdout.contains(&format!("{} runs as recorded, 0 not", ids.len())), "{}", ran.stdout);
    let incomplete: Vec<&str> = ran.stdout.lines().filter(|line| line.contains(": incomplete: ")).collect();
    assert_eq!(incomplete.len(), 1, "{}", ran.stdout);
    // Event by event as well, and no deadline is burnt through for it.
    let ran = replay(folder.path(), &["--step"]).await.unharmed();
    for how in ["trap: ", "limit: ", "deadline: "] {
        assert!(ran.stdout.lines().any(|line| line.get(6..).is_some_and(|line| line.starts_with(how))), "{how}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waited_for_too_long_replays_up_to_there() {
    let bench = Bench::new().await;
    bench.textract.faults().always(Fault::Delay(Duration::from_secs(3600)));
    bench.insert(&["ok.1"]).await;
    let folder = TempDir::new().unwrap();
    let recorder = recorder(&folder);
    let limits = Limits { run_timeout: Duration::from_secs(1), ..Limits::default() };
    bench.pass_on_record(&component("misbehaves"), limits, &recorder, None).await;
    drop(recorder);
    let traces = traces(folder.path());
    let (how, message) = end(&traces[0]).unwrap();
    assert_eq!(how, FailedHow::Timeout, "{message}");
    let ran = replay(folder.path(), &["--step"]).await.unharmed();
    assert!(ran.stdout.lines().any(|line| line.get(6..).is_some_and(|line| line.starts_with("timeout: "))));
    assert!(ran.stdout.contains("1 runs as recorded, 0 not"), "{}", ran.stdout);
}

/// With an hour of computing granted, as with seconds.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_a_drain_stopped_replays_up_to_there() {
    let bench = Bench::new().await;
    bench.insert(&["loop.1"]).await;
    let (folder, component) = (TempDir::new().unwrap(), component("misbehaves"));
    let mut args = vec!["run", "--record", folder.path().to_str().unwrap(), "--component", component.to_str().unwrap()];
    args.extend(["--deadline", "1h", "--drain-timeout", "200ms"]);
    let host = bench.host().args(args).spawn();
    bench.until("it is worked", "SELECT count(leased_by) = 1 FROM receipt_queue").await;
    // Worked, not only claimed: its first calls were made.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    host.stop().await.ok();

    let traces = traces(folder.path());
    assert_eq!(traces.len(), 1);
    let (how, message) = end(&traces[0]).unwrap();
    assert_eq!((how, message), (FailedHow::Cancelled, "the host stopped the run"));
    for more in [&[][..], &["--step"]] {
        let ran = replay(folder.path(), more).await.unharmed();
        assert!(ran.stdout.contains("1 runs as recorded, 0 not"), "{}", ran.stdout);
    }
}

struct Panics;

impl Observer for Panics {
    fn completed(&self, _: &str, _: Arc<str>, _: &types::Receipt) {
        panic!("as ordered");
    }
}

/// A bug of the host's, in the middle of an import.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_in_which_the_host_panicked_has_an_end() {
    let bench = Bench::new().await;
    bench.insert(&["ok.1"]).await;
    let folder = TempDir::new().unwrap();
    let recorder = recorder(&folder);
    let limits = Limits::default();
    let worker = folder.path().join("worker.wasm");
    std::fs::write(&worker, EMBEDDED).unwrap();
    bench.pass_on_record(&worker, limits, &recorder, Some(Arc::new(Panics))).await;
    assert_eq!(bench.dead("ok.1").await.unwrap().code, "host.Panic");
    drop(recorder);
    let traces = traces(folder.path());
    assert_eq!(traces.len(), 1);
    assert_eq!(end(&traces[0]), Some((FailedHow::Panic, "the host failed in the run")));
    let ran = host(&["replay", folder.path().to_str().unwrap()]).await.unharmed();
    assert!(ran.stdout.contains("1 runs as recorded, 0 not"), "{}", ran.stdout);
}

#[derive(Default)]
struct PanicsOnce(AtomicBool);

impl Observer for PanicsOnce {
    fn completed(&self, _: &str, _: Arc<str>, _: &types::Receipt) {
        assert!(self.0.swap(true, Ordering::Relaxed), "as ordered");
    }
}

/// One attempt is all that each has.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_the_host_charges_none_of_many() {
    let bench = Bench::new().await;
    bench.insert(&["ok.1", "ok.2", "ok.3"]).await;
    let folder = TempDir::new().unwrap();
    let recorder = recorder(&folder);
    let worker = folder.path().join("worker.wasm");
    std::fs::write(&worker, EMBEDDED).unwrap();
    let observer = Arc::new(PanicsOnce::default());
    let (counts, _) = bench.pass_on_record(&worker, Limits::default(), &recorder, Some(observer)).await;
    assert_eq!((counts.processed, counts.dead), (3, 0));
}
