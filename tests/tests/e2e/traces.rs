//! `host trace`: recorded runs, as a person looks at them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use host::trace::{
    Effect, Event, FailedHow, Header, Json, RecordSettings, Recorder, Settings, TraceBuilder, traces_in,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::HostCommand;

const RECORDING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/recordings/sroie/X51005433553.json");

fn expected() -> Value {
    let text = std::fs::read(Path::new(RECORDING).with_extension("expected.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// What its expectation says, as the component hands it over.
fn receipt() -> Value {
    let place = json!({"page": 1, "bounds": {"left": 0.1, "top": 0.1, "width": 0.2, "height": 0.05}});
    let confidence = expected()["confidence"].clone();
    let why = json!({"line": 0, "rule": "stands on top", "score": 0.9});
    json!({
        "vendor": {"value": "YHM AEON TEBRAU CITY", "confidence": 99.0, "place": place, "why": why},
        "total": {"value": {"units": 1310, "scale": 2, "currency": "MYR"}, "confidence": 90.0, "place": null, "why": null},
        "date": {"value": {"year": 2018, "month": 3, "day": 11}, "confidence": 90.0, "place": null, "why": null},
        "subtotal": null,
        "tax": null,
        "confidence": confidence,
        "pages": 1,
    })
}

fn call(tape: &mut TraceBuilder, import: &'static str, args: Value, result: Value) {
    tape.push(Event::call(import, Effect::Read, &args, &result));
}

/// One run with three receipts: read, given up, and the one that the component crashed on.
fn record() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let recorder = Recorder::start(RecordSettings::new(folder.path())).unwrap();
    let mut tape = recorder.builder(Header::new(&"c".repeat(64), "0.1.0", 1, Settings::default()));
    let job = |job: u32, receipt: &str| {
        json!({"job": job, "id": 10 + job, "receipt_id": receipt, "attempt": 2, "max_attempts": 5, "seed": 1,
               "has_artifact": false})
    };
    tape.push(Event::Enter { export: "worker.run".into(), args: Json::of(&json!({"limit": 3})) });
    let jobs = json!({"Ok": [job(1, "one"), job(2, "two\u{1b}[31m"), job(3, "three")]});
    call(&mut tape, "queue.claim", json!({"limit": 3}), jobs);
    let image = json!({"Ok": {"image": 4, "size": 1234, "content_type": "image/jpeg", "digest": "abcd"}});
    call(&mut tape, "queue.job.image", json!({"job": 1}), image);
    call(&mut tape, "textract.detect-document-text", json!({"image": 4}), json!({"Ok": 5}));
    let stored = json!({"Ok": {"artifact": 6, "key": "ocr/one/abcd.detect.json"}});
    call(&mut tape, "textract.response.store", json!({"response": 5, "job": 1}), stored);
    let body = std::fs::read(RECORDING).unwrap();
    let digest = tape.attach(&Arc::from(body.as_slice()));
    let body = json!({"Ok": {"response": digest, "bytes": body.len()}});
    call(&mut tape, "textract.response.json", json!({"response": 5}), body);
    let complete = json!({"job": 1, "receipt": receipt(), "artifact": 6});
    call(&mut tape, "queue.job.complete", complete, json!({"Ok": null}));
    let failure = json!({"kind": "not-found", "code": "s3.NoSuchKey", "message": "there is no object gone.jpg"});
    call(&mut tape, "queue.job.image", json!({"job": 2}), json!({"Err": failure}));
    call(&mut tape, "queue.job.dead-letter", json!({"job": 2, "failure": failure}), json!({"Ok": null}));
    tape.push(Event::Failed { how: FailedHow::Trap, message: "unreachable".to_owned() });
    tape.finish();
    drop(recorder);
    let trace = traces_in(&[folder.path().to_owned()]).unwrap().remove(0);
    (folder, trace)
}

fn trace(verb: &str) -> HostCommand {
    HostCommand::bare().args(["trace", verb])
}

#[tokio::test]
async fn show_tells_what_became_of_each_receipt() {
    let (_folder, file) = record();
    let shown = trace("show").arg(&file).run().await.ok();
    for line in [
        &format!("component   {}", "c".repeat(64)),
        "receipt     one (job 11, attempt 2 of 5)",
        "  image     image/jpeg, 1234 bytes, sha256 abcd",
        "  stored    ocr/one/abcd.detect.json",
        &format!("  read      YHM AEON TEBRAU CITY; 13.10 MYR; 2018-03-11; confidence {}", expected()["confidence"]),
        "  settled   complete",
        "receipt     two\u{fffd}[31m (job 12, attempt 2 of 5)",
        "  failed    queue.job.image: not-found (s3.NoSuchKey): there is no object gone.jpg",
        "  settled   dead letter (not-found, s3.NoSuchKey)",
        "  settled   not decided",
        "ended       trap: unreachable",
    ] {
        assert!(shown.lines().any(|found| found == line), "{line}\n{shown}");
    }
    assert!(shown.lines().count() <= 30, "{shown}");
    let story = trace("show").arg(&file).arg("--json").run().await.json();
    assert_eq!(story["jobs"][0]["decision"]["complete"]["total"], "13.10");
    assert_eq!(story["jobs"][1]["failures"][0]["failure"]["code"], "s3.NoSuchKey");
    assert_eq!(story["jobs"][2]["decision"], Value::Null);
    assert_eq!(story["end"]["failed"]["how"], "trap");
}

#[tokio::test]
async fn show_refuses_what_is_no_trace() {
    let (_folder, file) = record();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("13", "14")).unwrap();
    let error = trace("show").arg(&file).run().await.error();
    assert!(error.contains("was edited") && error.contains(", line "), "{error}");
}

#[tokio::test]
async fn grep_finds_receipts_by_what_is_known_of_them() {
    let (folder, file) = record();
    let grep = async |pattern: &str, more: &[&str]| {
        trace("grep").arg(pattern).arg(folder.path()).args(more).arg("--json").run().await.json_lines()
    };
    for (pattern, receipt, found_in) in
        [("aeon tebrau", "one", "vendor"), ("NOSUCHKEY", "two\u{1b}[31m", "failure"), ("thre", "three", "receipt")]
    {
        let found = grep(pattern, &[]).await;
        assert_eq!(found.len(), 1, "{pattern}: {found:?}");
        assert_eq!(found[0]["receipt_id"], receipt);
        assert_eq!(found[0]["found_in"], json!([found_in]));
        assert_eq!(found[0]["file"], file.to_str().unwrap());
    }
    // Words that only the receipt itself has.
    assert!(grep("tax invoice", &[]).await.is_empty());
    assert_eq!(grep("tax invoice", &["--text"]).await[0]["found_in"], json!(["text"]));
    let shown = trace("grep").arg("aeon").arg(folder.path()).run().await.ok();
    assert_eq!(shown, format!("{}: one: complete\n", file.display()));
    let nothing = trace("grep").arg("no such thing").arg(folder.path()).run().await;
    assert!(nothing.stdout.is_empty() && nothing.code == Some(1));
}

#[tokio::test]
async fn export_makes_a_regression_test() {
    let (folder, file) = record();
    let to = folder.path().join("tests/new");
    let export = || trace("export").arg(&file).arg("--to").arg(&to);
    export().run().await.ok();
    let written = |name: &str| std::fs::read(to.join(name)).unwrap();
    assert_eq!(written("one.json"), std::fs::read(RECORDING).unwrap());
    assert_eq!(serde_json::from_slice::<Value>(&written("one.expected.json")).unwrap(), expected());
    HostCommand::bare().arg("replay").arg(&to).run().await.ok();

    assert!(export().run().await.error().contains("one.json is there already"));
    export().args(["--receipt", "one", "--name", "aeon"]).run().await.ok();
    assert_eq!(written("aeon.json"), written("one.json"));
    for (receipt, problem) in [("three", "no OCR response was read"), ("four", "there is no receipt four")] {
        let error = export().args(["--receipt", receipt]).run().await.error();
        assert!(error.contains(problem), "{error}");
    }
    let error = export().args(["--name", "../escape"]).run().await.error();
    assert!(error.contains("is no plain file name"), "{error}");
}
