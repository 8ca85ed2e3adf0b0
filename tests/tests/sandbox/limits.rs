//! Every limit that is hit has a name, in the queue and in the log.

use std::time::Duration;

use host::ocr::local::Fault;
use host::sandbox::{Limits, RunError};
use tests::components::component;

use crate::support::{Bench, host, sandbox};

/// What goes wrong on a job, and how that is recorded.
pub(crate) struct Bad {
    pub(crate) receipt: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) code: &'static str,
    pub(crate) says: &'static str,
}

const fn trap(receipt: &'static str, says: &'static str) -> Bad {
    Bad { receipt, kind: "internal", code: "component.Trap", says }
}

const fn limit(receipt: &'static str, says: &'static str) -> Bad {
    Bad { receipt, kind: "limit-exceeded", code: "component.Limit", says }
}

pub(crate) const BAD: &[Bad] = &[
    trap("trap.x", "unreachable"),
    trap("panic.x", "unreachable"),
    trap("exit.x", "exit"),
    trap("forged-handle.x", "unknown handle index 4000"),
    trap("handle-of-another-kind.x", "handle index"),
    limit("loop.x", "--deadline"),
    limit("loop-in-calls.x", "--deadline"),
    trap("sleep.x", "a clock that stands still"),
    limit("memory.x", "--max-memory"),
    limit("stack.x", "stack"),
    limit("handles.x", "--max-handles"),
    limit("long-message.x", "--max-memory"),
    trap("message-out-of-bounds.x", "out of bounds"),
];

/// Limits that a test does not wait long for.
pub(crate) fn tight() -> Limits {
    Limits {
        memory: 16 << 20,
        handles: 50,
        host_call_bytes: 1 << 20,
        deadline: Duration::from_millis(300),
        run_timeout: Duration::from_secs(2),
        ..Limits::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_is_too_long_for_the_host_is_a_limit() {
    let bench = Bench::new().await;
    bench.insert(&["long-message.1"]).await;
    bench.pass(&component("misbehaves"), Limits::default(), 1).await;
    let dead = bench.dead("long-message.1").await.unwrap();
    assert_eq!((&*dead.kind, &*dead.code), ("limit-exceeded", "component.Limit"), "{}", dead.message);
    assert!(dead.message.contains("--max-host-call"), "{}", dead.message);
}

/// With room for it the text arrives, and is cut to what an error may be long.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_message_is_cut() {
    let bench = Bench::new().await;
    bench.insert(&["long-message.1"]).await;
    let limits = Limits { host_call_bytes: 32 << 20, ..Limits::default() };
    bench.pass(&component("misbehaves"), limits, 1).await;
    let dead = bench.dead("long-message.1").await.unwrap();
    assert_eq!(dead.code, "test.Ordered");
    assert!(dead.message.starts_with("mmm") && dead.message.len() <= 1000);
}

/// The deadline is for computing: an OCR call that takes five times as long does not count.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_the_host_does_not_count() {
    let bench = Bench::new().await;
    bench.textract.faults().always(Fault::Delay(Duration::from_millis(1500)));
    bench.insert(&["ok.1"]).await;
    let limits = Limits { deadline: Duration::from_millis(300), ..Limits::default() };
    bench.pass(&component("misbehaves"), limits, 1).await;
    assert_eq!(bench.done("ok.1").await, Some((1, Some("ok".to_owned()))));
}

/// What ends a run that waits for S3 or OCR for ever.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_the_host_has_an_end() {
    let bench = Bench::new().await;
    bench.textract.faults().always(Fault::Delay(Duration::from_secs(3600)));
    bench.insert(&["ok.1"]).await;
    let limits = Limits { run_timeout: Duration::from_secs(1), ..Limits::default() };
    bench.pass(&component("misbehaves"), limits, 1).await;
    let dead = bench.dead("ok.1").await.unwrap();
    assert_eq!((&*dead.kind, &*dead.code), ("limit-exceeded", "component.Limit"), "{}", dead.message);
    assert!(dead.message.contains("--run-timeout"), "{}", dead.message);
}

/// A limit that the component cannot live within is named before it takes a job.
#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_does_not_fit_the_limits_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let response = folder.path().join("response.json");
    std::fs::write(&response, crate::support::RESPONSE).unwrap();
    for (flag, value) in
        [("--max-memory", "64KiB"), ("--max-table-elements", "1"), ("--max-tables", "1"), ("--max-instances", "1")]
    {
        let ran = host(&["parse", response.to_str().unwrap(), flag, value]).await;
        assert_eq!(ran.code, Some(1), "{flag}: {}{}", ran.stdout, ran.stderr);
        assert!(!ran.stderr.contains("panicked"), "{flag}: {}", ran.stderr);
        assert!(ran.stderr.contains(flag), "{flag}: {}", ran.stderr);
    }
}

#[tokio::test]
async fn a_pure_call_has_the_same_limits() {
    let sandbox = sandbox(tight());
    let program = sandbox.load(Some(&component("misbehaves"))).unwrap();
    for (response, says) in [("loop", "--deadline"), ("memory", "--max-memory"), ("stack", "stack")] {
        match sandbox.parse(&program, response).await {
            Err(error @ (RunError::Limit(_) | RunError::Deadline(_))) => {
                assert!(error.to_string().contains(says), "{response}: {error}");
            }
            other => panic!("{response}: {other:?}"),
        }
    }
    for (response, says) in [("trap", "unreachable"), ("sleep", "a clock that stands still")] {
        let trapped = sandbox.parse(&program, response).await;
        assert!(matches!(&trapped, Err(RunError::Trap(why)) if why.contains(says)), "{trapped:?}");
    }
    // Nothing of that is left over.
    assert!(sandbox.parse(&program, "calls").await.unwrap().is_ok());
}
