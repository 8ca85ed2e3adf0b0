//! `host replay` on runs that a live host has recorded: with no database, no S3 and no AWS.

use std::path::{Path, PathBuf};

use host::ocr::local::Fault;
use host::replay::decisions_of;
use host::trace::{Event, Json, Trace, traces_in};
use serde_json::{Value, json};
use tests::{HostCommand, World, candidates, eventually};

/// One pass that is recorded into `traces`.
pub(crate) async fn record(world: &World, args: &[&str]) -> Value {
    world.run(&["--once", "--record"]).arg(folder(world)).args(args).run().await.json()
}

pub(crate) fn folder(world: &World) -> PathBuf {
    world.dir().join("traces")
}

pub(crate) fn recorded(folder: &Path) -> Vec<Trace> {
    traces_in(&[folder.to_owned()]).unwrap().into_iter().map(|path| Trace::read(path).unwrap()).collect()
}

/// `host replay …` where nothing of the world is known but the folder of compiled components.
pub(crate) fn replay(world: &World, what: impl AsRef<Path>) -> HostCommand {
    let known = [
        "DATABASE_URL",
        "SOURCE_BUCKET",
        "ARTIFACT_BUCKET",
        "AWS_REGION",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_ENDPOINT_URL_S3",
        "AWS_ENDPOINT_URL_TEXTRACT",
    ];
    let host = known.iter().fold(world.host(), |host, name| host.without(name));
    host.arg("replay").arg(what.as_ref()).current_dir("/")
}

fn calls(trace: &Trace) -> Vec<&str> {
    trace.events.iter().map(import_of).filter(|import| !import.is_empty()).collect()
}

/// The import that was called; empty where none was.
fn import_of(event: &Event) -> &str {
    match event {
        Event::Call { import, .. } => import,
        _ => "",
    }
}

/// How each receipt was decided on, in words, in the order of the runs.
fn decisions(traces: &[Trace]) -> Vec<String> {
    let decided = traces.iter().flat_map(|trace| decisions_of(trace).unwrap().into_values());
    decided.map(|decision| decision.in_words()).collect()
}

/// The trace with other events, sound in its sums.
fn rewrite(trace: &Trace, events: &[Event]) {
    let mut all = vec![Event::Header(trace.header.clone())];
    all.extend_from_slice(events);
    all.push(Event::End { events: all.len() as u64, complete: trace.complete });
    let text: String = (0..).zip(&all).map(|(n, event)| event.to_line(n) + "\n").collect();
    std::fs::write(&trace.path, text).unwrap();
}

/// A world with one receipt that was read on record.
async fn one_run() -> (World, String, Trace) {
    let world = World::new().await;
    let (receipt, _) = world.receipt("a.jpg").await;
    record(&world, &[]).await;
    let mut traces = recorded(&folder(&world));
    traces.retain(|trace| calls(trace).contains(&"queue.job.complete"));
    assert_eq!(traces.len(), 1);
    (world, receipt, traces.remove(0))
}

#[tokio::test]
async fn runs_of_every_kind_replay_exactly_in_an_empty_environment() {
    let world = World::new().await;
    world.receipts(4).await;
    world.insert("missing.jpg").await;
    world.textract.faults().next(1, Fault::throttled());
    let summary = record(&world, &["--concurrency", "1"]).await;
    assert_eq!((&summary["processed"], &summary["retried"], &summary["dead"]), (&json!(3), &json!(1), &json!(1)));
    let traces = recorded(&folder(&world));
    let mut found = decisions(&traces);
    found.sort();
    assert_eq!(found[..3], ["complete"; 3]);
    assert!(found[3].starts_with("dead letter (not-found"), "{found:?}");
    assert!(found[4].starts_with("retry after") && found[4].contains("uncharged (throttled"), "{found:?}");
    let most = traces.iter().map(|trace| decisions_of(trace).unwrap().len()).max();
    assert!(most > Some(1), "no run had several jobs");

    // A second attempt, on what the first one has stored; the one that was throttled stays out of it.
    world
        .execute(
            "UPDATE receipt_queue SET available_at = now() + interval '1 hour' WHERE NOT processed;
             UPDATE receipts SET status = 'pending' WHERE status = 'ocr_done'",
        )
        .await;
    let before = world.textract.calls();
    record(&world, &[]).await;
    assert_eq!(world.textract.calls(), before);
    assert!(recorded(&folder(&world)).iter().any(|trace| calls(trace).contains(&"objects.artifact.json")));

    world.receipt("expense.jpg").await;
    record(&world, &["--ocr-api", "expense"]).await;
    assert!(recorded(&folder(&world)).iter().any(|trace| calls(trace).contains(&"textract.analyze-expense")));

    // Somebody else takes the receipt while it is read.
    let (late, _) = world.receipt("late.jpg").await;
    world.textract.faults().always(Fault::Held);
    let asked = world.textract.requests();
    let host = world.run(&["--once", "--record"]).arg(folder(&world)).spawn();
    eventually("the call", async || (world.textract.requests() > asked).then_some(())).await;
    world
        .execute(&format!(
            "UPDATE receipt_queue SET lease_token = nextval('receipt_queue_token'), available_at = now() + interval '1 hour'
             WHERE receipt_id = '{late}'"
        ))
        .await;
    world.textract.faults().clear();
    assert_eq!(host.wait().await.json()["lost"], 1);
    let lost = |trace: &Trace| {
        trace
            .events
            .iter()
            .any(|event| matches!(event, Event::Call { result, .. } if result.as_str().contains("lease-lost")))
    };
    assert!(recorded(&folder(&world)).iter().any(lost));

    let count = recorded(&folder(&world)).len();
    let shown = replay(&world, folder(&world)).run().await.ok();
    assert!(shown.starts_with(&format!("{count} runs as recorded, 0 not (")), "{shown}");
    let lines = replay(&world, folder(&world)).arg("--json").run().await.json_lines();
    assert_eq!(lines.len(), count);
    for line in lines {
        assert_eq!((&line["same"], &line["complete"]), (&json!(true), &json!(true)), "{line}");
    }
}

/// Not even a folder to keep what was compiled.
#[tokio::test]
async fn a_replay_needs_nothing_but_the_traces() {
    let (world, _, trace) = one_run().await;
    let moved = world.dir().join("elsewhere");
    std::fs::rename(folder(&world), &moved).unwrap();
    let name = trace.path.file_name().unwrap();
    HostCommand::bare().arg("replay").arg(name).current_dir(&moved).run().await.ok();
}

#[tokio::test]
async fn a_damaged_trace_is_an_error_that_says_where() {
    let (world, _, trace) = one_run().await;
    let text = std::fs::read_to_string(&trace.path).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let count = lines.len();
    let end = |line: usize| lines[..line].iter().map(|line| line.len()).sum::<usize>();
    let swapped = [&lines[..3], &[lines[4], lines[3]], &lines[5..]].concat().concat();
    let missing = [&lines[..5], &lines[6..]].concat().concat();
    let damages = [
        (text[..end(1) - 9].to_owned(), 1, "the trace is cut off in this line"),
        (text[..end(count / 2)].to_owned(), count / 2, "the trace is cut off after this line"),
        (text[..text.len() - 2].to_owned(), count, "the trace is cut off in this line"),
        (String::new(), 1, "the file is empty"),
        (text.replacen("Blue Bottle", "Blue Battle", 1), 0, "it was edited"),
        (swapped, 4, "a line is missing"),
        (missing, 6, "a line is missing"),
        (format!("{text}{}", lines[1]), count, "something follows this end event"),
    ];
    for (damaged, line, problem) in damages {
        std::fs::write(&trace.path, damaged).unwrap();
        for step in [false, true] {
            let replay = replay(&world, &trace.path);
            let ran = if step { replay.arg("--step") } else { replay }.run().await;
            assert_eq!(ran.code, Some(1), "{}", ran.stderr);
            let first = ran.stdout.lines().next().unwrap();
            let place =
                format!("{}, line {}", trace.path.display(), if line > 0 { line.to_string() } else { String::new() });
            assert!(first.starts_with(&place) && first.contains(problem), "{first}");
            assert_eq!(first.matches("trace.jsonl").count(), 1, "{first}");
        }
    }
    let ran = replay(&world, &trace.path).arg("--json").run().await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.json_lines()[0]["error"].as_str().unwrap().contains(", line "), "{}", ran.stdout);
}

#[tokio::test]
async fn a_response_that_is_edited_or_missing_is_an_error_and_no_difference() {
    let (world, _, trace) = one_run().await;
    let line = trace.events.iter().position(|event| import_of(event).ends_with(".json")).unwrap() + 2;
    let response = std::fs::read_dir(folder(&world).join("responses")).unwrap().next().unwrap().unwrap().path();
    let another = world.dir().join("another.wasm");
    std::fs::write(&another, candidates::honest(1)).unwrap();
    for problem in ["was edited", "cannot read"] {
        match problem {
            "was edited" => std::fs::write(&response, "{\"Blocks\": []}").unwrap(),
            _ => std::fs::remove_file(&response).unwrap(),
        }
        let names = |text: &str| text.contains(response.to_str().unwrap()) && text.contains(problem);
        for more in [&[][..], &["--step"]] {
            let ran = replay(&world, folder(&world)).args(more).run().await;
            assert_eq!(ran.code, Some(1), "{}", ran.stderr);
            let place = format!("{}, line {line}: ", trace.path.display());
            let named = ran.stdout.lines().any(|line| line.starts_with(&place) && names(line));
            assert!(named && !ran.stdout.contains("differs"), "{place}\n{}", ran.stdout);
        }
        for more in [&[][..], &["--component", another.to_str().unwrap()]] {
            let ran = replay(&world, folder(&world)).arg("--json").args(more).run().await;
            assert_eq!(ran.code, Some(1), "{}", ran.stderr);
            let shown = &ran.json_lines()[0];
            assert!(names(shown["error"].as_str().unwrap_or_default()) && shown["failures"].is_null(), "{shown}");
        }
    }
}

#[tokio::test]
async fn the_first_event_that_differs_is_shown() {
    let (world, _, trace) = one_run().await;
    let at = trace.events.iter().position(|event| import_of(event) == "queue.job.complete").unwrap();
    let mut events = trace.events.clone();
    if let Event::Call { args, .. } = &mut events[at] {
        *args = Json::parse(args.as_str().replace("Blue Bottle Cafe", "Red Bottle Cafe")).unwrap();
    }
    rewrite(&trace, &events);
    for more in [&[][..], &["--step"]] {
        let ran = replay(&world, &trace.path).args(more).run().await;
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        let line = |what: &str| {
            ran.stdout
                .lines()
                .find(|line| line.contains(what))
                .unwrap_or_else(|| panic!("{what}\n{}", ran.stdout))
                .to_owned()
        };
        line(&format!("event {} differs", at + 1));
        assert!(line("  expected ").contains("queue.job.complete") && line("  expected ").contains("Red Bottle Cafe"));
        assert!(line("  found ").contains("queue.job.complete") && line("  found ").contains("Blue Bottle Cafe"));
    }
    let ran = replay(&world, &trace.path).arg("--json").run().await;
    assert_eq!((ran.code, &ran.json_lines()[0]["mismatch"]["event"]), (Some(1), &json!(at + 1)));

    // A call too many, and one too few; another end.
    let call = |import: &str| trace.events.iter().find(|event| import_of(event) == import).unwrap().clone();
    let mut too_many = trace.events.clone();
    too_many.insert(at, call("queue.claim"));
    let mut too_few = trace.events.clone();
    too_few.remove(at);
    let mut other_end = trace.events.clone();
    let last = other_end.len() - 1;
    let Event::Return { result, .. } = &mut other_end[last] else { panic!("it does not return") };
    *result = Json::parse(result.as_str().replace("\"processed\":1", "\"processed\":2")).unwrap();
    for (events, differs) in [(too_many, at + 1), (too_few, at + 1), (other_end, last + 1)] {
        rewrite(&trace, &events);
        let ran = replay(&world, &trace.path).run().await;
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        assert!(ran.stdout.contains(&format!(": event {differs} differs")), "{}", ran.stdout);
    }
}

#[tokio::test]
async fn another_component_is_compared_by_what_it_decides() {
    let (world, receipt, trace) = one_run().await;
    let component = |name: &str, bytes: Vec<u8>| {
        let path = world.dir().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let honest = component("rewritten.wasm", candidates::rewritten());
    let with = |component: &Path| replay(&world, &trace.path).arg("--component").arg(component);
    let shown = with(&honest).run().await.ok();
    assert!(shown.starts_with("1 runs as recorded, 0 not"), "{shown}");

    let traps = component("traps.wasm", candidates::traps());
    let ran = with(&traps).run().await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.stdout.contains("the run: the component trapped"), "{}", ran.stdout);

    let at = trace.events.iter().position(|event| import_of(event) == "queue.job.complete").unwrap();
    let mut events = trace.events.clone();
    let Event::Call { args, .. } = &mut events[at] else { panic!("it is no call") };
    *args = Json::parse(args.as_str().replace("Blue Bottle Cafe", "Red Bottle Cafe")).unwrap();
    let was: Value = args.read().unwrap();
    rewrite(&trace, &events);
    let ran = with(&honest).run().await;
    assert_eq!(ran.code, Some(1));
    let line =
        format!("{}: receipt {receipt}: vendor: \"Red Bottle Cafe\" → \"Blue Bottle Cafe\"", trace.path.display());
    assert!(ran.stdout.lines().any(|found| found == line), "{line}\n{}", ran.stdout);
    let shown = with(&honest).arg("--json").run().await.json_lines().remove(0);
    assert_eq!(shown["changed"][0]["before"], "Red Bottle Cafe");
    assert_eq!((&shown["same"], &shown["decisions"]), (&json!(false), &json!([])));

    let Event::Call { import, args, .. } = &mut events[at] else { panic!("it is no call") };
    let failure = json!({"kind": "throttled", "code": "test.Ordered", "message": "as ordered"});
    *import = "queue.job.retry-after".into();
    *args = Json::of(&json!({"job": was["job"], "milliseconds": 7, "failure": failure, "charge": false}));
    rewrite(&trace, &events);
    let shown = with(&honest).arg("--json").run().await.json_lines().remove(0);
    let what = "retry after 7 ms, uncharged (throttled, test.Ordered) → complete";
    assert_eq!(shown["decisions"], json!([{"item": format!("receipt {receipt}"), "what": what}]));
    assert_eq!(shown["failures"], json!([]));
}

/// What fails where the recorded one failed too is no news.
#[tokio::test]
async fn a_failure_that_both_have_is_no_difference() {
    let world = World::new().await;
    world.receipt("a.jpg").await;
    let component = |name: &str, bytes: Vec<u8>| {
        let path = world.dir().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let traps = component("traps.wasm", candidates::traps());
    let others = component("others.wasm", candidates::numbered(candidates::traps(), 1));
    record(&world, &["--component", traps.to_str().unwrap()]).await;
    replay(&world, folder(&world)).arg("--component").arg(&others).run().await.ok();
    // The one that was recorded, step by step: each event, and how it ended.
    let trace = &recorded(&folder(&world))[0];
    let shown = replay(&world, &trace.path).arg("--component").arg(&traps).arg("--step").run().await.ok();
    let numbers: Vec<usize> =
        shown.lines().filter_map(|line| line.get(..6)?.strip_suffix("  ")?.trim().parse().ok()).collect();
    assert_eq!(numbers, (1..=trace.events.len()).collect::<Vec<_>>(), "{shown}");
    assert!(shown.contains("trap: the component trapped: ") && shown.contains("the end is as recorded"), "{shown}");
}

#[tokio::test]
async fn step_shows_every_event_where_nobody_sits_at_it() {
    let (world, _, trace) = one_run().await;
    let shown = replay(&world, &trace.path).arg("--step").run().await.ok();
    let lines: Vec<&str> =
        shown.lines().filter(|line| line.get(4..6) == Some("  ") && !line.starts_with("     ")).collect();
    assert_eq!(lines.len(), trace.events.len(), "{shown}");
    for ((number, event), line) in (1..).zip(&trace.events).zip(lines) {
        let what = match event {
            Event::Enter { export, args } => format!("{export} {args} is called"),
            Event::Return { export, result } => format!("{export} returns {result}"),
            Event::Call { import, args, .. } => format!("{import} {args}"),
            other => panic!("{other:?}"),
        };
        assert_eq!(line, format!("{number:>4}  {what}"));
    }
    assert!(shown.contains("the end is as recorded"), "{shown}");
}
