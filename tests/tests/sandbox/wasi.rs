//! What a component finds when it reaches for the bench: nothing.

use host::sandbox::{Limits, Program, Sandbox};
use tests::components::component;

use crate::support::{Bench, sandbox};

/// What the component found, as it tells it in its vendor.
async fn ask(sandbox: &Sandbox, program: &Program, response: &str) -> String {
    sandbox.parse(program, response).await.unwrap().unwrap().vendor.unwrap().value
}

#[tokio::test]
async fn the_world_is_empty() {
    let sandbox = sandbox(Limits::default());
    let program = sandbox.load(Some(&component("misbehaves"))).unwrap();
    let found = async |response| ask(&sandbox, &program, response).await;
    assert_eq!(found("environment").await, "[] []");
    assert_eq!(found("directory").await, "None");
    assert_eq!(found("stdin").await, "Ok(0) []");
    assert_eq!(found("terminal").await, "false");
    assert_eq!(found("clocks").await, "0ns 0ns 0ns");
}

#[tokio::test]
async fn randomness_is_there_and_differs_from_run_to_run() {
    let sandbox = sandbox(Limits::default());
    let program = sandbox.load(Some(&component("misbehaves"))).unwrap();
    let (one, other) = (ask(&sandbox, &program, "random").await, ask(&sandbox, &program, "random").await);
    assert_ne!(one, other);
    assert!(one.starts_with('[') && one.len() > 20, "{one}");
}

#[tokio::test]
async fn a_pure_call_reaches_no_queue() {
    let sandbox = sandbox(Limits::default());
    let program = sandbox.load(Some(&component("misbehaves"))).unwrap();
    assert_eq!(ask(&sandbox, &program, "claim").await, "host.PureCall");
    assert_eq!(ask(&sandbox, &program, "api").await, "Api::DetectDocumentText");
}

/// Whatever a component keeps in its memory is gone with its run.
#[tokio::test]
async fn every_call_is_in_a_fresh_instance() {
    let sandbox = sandbox(Limits::default());
    let program = sandbox.load(Some(&component("misbehaves"))).unwrap();
    for _ in 0..20 {
        assert_eq!(ask(&sandbox, &program, "calls").await, "1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn output_is_bounded_and_forges_no_line() {
    let bench = Bench::new().await;
    bench.insert(&["print.1"]).await;
    let component = component("misbehaves");
    let args = ["run", "--once", "--max-log-bytes", "8KiB", "--component", component.to_str().unwrap()];
    let ran = bench.host().args(args).run().await.unharmed();
    assert_eq!(ran.count("processed"), 1);
    assert!(ran.stderr.contains(r"an honest line\u{1b}[31m with a colour\r2026-01-01T00:00:00Z  INFO a forged line"));
    assert!(ran.stderr.contains(r"and another\u{7} one"), "{}", ran.stderr);
    assert!(!ran.stderr.contains(['\u{1b}', '\r', '\u{7}', '\u{202e}']), "{}", ran.stderr);
    assert!(ran.stderr.contains("line 0 of a flood") && !ran.stderr.contains("line 19999 of a flood"));
    assert_eq!(ran.stderr.matches("--max-log-bytes").count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.len() < 200_000);
}
