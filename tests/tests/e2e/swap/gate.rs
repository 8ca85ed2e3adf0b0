//! What the gate says of a candidate.

use serde_json::Value;
use tests::{answer, candidates};

use super::{Bench, verdict};

const RECORDINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/recordings");

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_field_is_named_with_its_recording() {
    let bench = Bench::new().await;
    let host = bench.start(&["--gate", RECORDINGS]).await;
    let finished = bench.swap(&host, "loses.wasm", &candidates::loses_total()).run().await;
    let refused = verdict(&finished);
    assert_eq!((finished.code, &refused["stage"]), (Some(1), &Value::from("gate")), "{refused}");
    let gate = &refused["gate"];
    assert!(gate["responses"].as_u64().unwrap() > 10 && gate["unfinished"] == false, "{gate}");
    let lost = gate["lost"].as_array().unwrap();
    assert!(lost.iter().all(|lost| lost["after"].is_null() || lost["field"] != "total"), "{gate}");
    let named =
        |lost: &&Value| lost["field"] == "total" && lost["item"].as_str().unwrap().ends_with("X51005433553.json");
    assert_eq!(lost.iter().find(named).map(|lost| &lost["before"]), Some(&Value::from("13.10")), "{gate}");
    let as_expected = &gate["expected"];
    assert!(as_expected["before"].as_u64() > as_expected["after"].as_u64(), "{as_expected}");

    // One that is as good, with other code, is let in on the same recordings.
    let passed = verdict(&bench.swap(&host, "rewritten.wasm", &candidates::rewritten()).run().await);
    assert_eq!(passed["outcome"], "switched", "{passed}");
    host.stop().await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_gate_refuses_any_difference() {
    let bench = Bench::new().await;
    let folder = bench.world.dir().join("gate");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("cafe.json"), answer("Blue Bottle Cafe", "4.50", "2024-03-15")).unwrap();
    let start = async |policy| bench.start(&["--gate-policy", policy, "--gate", folder.to_str().unwrap()]).await;
    for (policy, outcome) in [("strict", "refused"), ("no-regressions", "switched")] {
        let host = start(policy).await;
        let answer = verdict(&bench.swap(&host, "shouts.wasm", &candidates::shouts()).run().await);
        assert_eq!((&answer["outcome"], policy), (&outcome.into(), policy), "{answer}");
        let changed = answer["gate"]["changed"].as_array().unwrap();
        assert!(changed.iter().any(|changed| changed["field"] == "vendor"), "{answer}");
        host.stop().await.ok();
    }
    let host = start("strict").await;
    let same = verdict(&bench.swap(&host, "same.wasm", &candidates::honest(1)).run().await);
    assert_eq!(same["outcome"], "switched", "{same}");
    host.stop().await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_runs_are_what_it_looks_at() {
    let bench = Bench::new().await;
    let traces = bench.world.dir().join("traces");
    let mut host = bench.start(&["--record", traces.to_str().unwrap(), "--gate-runs", "7"]).await;
    bench.receipts(20).await;
    bench.assert_all_done(20, 1).await;
    // It is right about the built-in run, and traps on about half of the receipts.
    let some = verdict(&bench.swap(&host, "some.wasm", &candidates::traps_on_some()).run().await);
    assert_eq!((&some["outcome"], &some["stage"]), (&"refused".into(), &"gate".into()), "{some}");
    let failures = some["gate"]["failures"].as_array().unwrap();
    assert!(failures.iter().all(|failure| failure["item"].as_str().unwrap().contains("traces/")), "{some}");
    let loses = verdict(&bench.swap(&host, "loses.wasm", &candidates::loses_total()).run().await);
    assert_eq!(loses["outcome"], "refused", "{loses}");
    let lost = loses["gate"]["lost"].as_array().unwrap();
    assert!(lost.len() > 2, "{loses}");
    let honest = verdict(&bench.swap(&host, "honest.wasm", &candidates::honest(1)).run().await);
    assert_eq!(honest["outcome"], "switched", "{honest}");
    // Two built-in ones besides.
    assert!((3..=9).contains(&honest["gate"]["traces"].as_u64().unwrap()), "{honest}");
    host.logged_with("swap.stage_passed", "stage=gate").await;
    host.stop().await.ok();
}
