//! The trace reader: any bytes, and any lines under sums that are right, which no fuzzer would guess.

use std::path::Path;
use std::sync::Arc;

use host::replay::{Exact, LenientReplay, Story, decisions_of};
use host::sandbox::Limits;
use host::trace::{Effect, Event, FailedHow, Header, Json, MaskedIn, Trace};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::Target;

pub const TARGET: Target = Target {
    name: "trace",
    run,
    seeds,
    longest: 8192,
    words: &[
        "\"event\":\"header\"",
        "\"event\":\"enter\"",
        "\"event\":\"call\"",
        "\"event\":\"return\"",
        "\"event\":\"failed\"",
        "\"event\":\"masked\"",
        "\"event\":\"end\"",
        "\"queue.claim\"",
        "\"queue.job.complete\"",
        "\"queue.job.dead-letter\"",
        "\"queue.job.retry-after\"",
        "\"queue.job.drop\"",
        "\"textract.response.json\"",
        "\"args\":{\"job\":1}",
        "\"result\":{\"Ok\":null}",
        "\"result\":null",
        "18446744073709551615",
        "\\u0000",
    ],
};

fn run(data: &[u8]) {
    check(data);
    check(&summed(data));
}

fn check(bytes: &[u8]) {
    let Ok(trace) = Trace::parse("fuzzed", bytes) else { return };
    let text = written(&trace);
    let again = Trace::parse("fuzzed", &text).expect("what was written is not read");
    assert_eq!(again, trace, "it is read otherwise when it is written again");
    assert_eq!(written(&again), text);

    let trace = Arc::new(trace);
    for job in Story::of(&trace).map(|story| story.jobs).unwrap_or_default() {
        let _ = (job.outcome(), job.mentions("a"));
        if let Some(ocr) = &job.ocr {
            // There is no such file, and whatever it names, none outside of its folder is looked for.
            assert!(trace.response(&ocr.response).is_err());
        }
    }
    assert!(decisions_of(&trace).unwrap_or_default().len() <= trace.events.len());
    let _ =
        (LenientReplay::new(Arc::clone(&trace)), Exact::new(Arc::clone(&trace)), Limits::from(&trace.header.settings));
}

fn written(trace: &Trace) -> String {
    let count = trace.events.len() as u64 + 1;
    let header = Event::Header(trace.header.clone());
    let end = Event::End { events: count, complete: trace.complete };
    let events = std::iter::once(&header).chain(&trace.events).chain([&end]);
    events.zip(0..).map(|(event, n)| event.to_line(n) + "\n").collect()
}

/// Each line of the input is an event without its number and its sum; the end is added.
fn summed(data: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut count = 0;
    for line in data.split(|&byte| byte == b'\n') {
        let Some(members) = line.strip_prefix(b"{").and_then(|line| line.strip_suffix(b"}")) else { continue };
        let line = [format!("{{\"n\":{count},").as_bytes(), members].concat();
        let sum: String = Sha256::digest(&line).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        text.extend([&line[..], b",\"sum\":\"", sum.as_bytes(), b"\"}\n"].concat());
        count += 1;
    }
    text.extend(Event::End { events: count, complete: true }.to_line(count).bytes().chain([b'\n']));
    text
}

fn seeds() -> Vec<Vec<u8>> {
    let digest = "d".repeat(64);
    let job = json!({"job": 1, "id": 7, "receipt_id": "r", "attempt": 1, "max_attempts": 5, "seed": 3, "has_artifact": false});
    let image = json!({"Ok": {"image": 2, "size": 10, "content_type": "image/jpeg", "digest": digest}});
    let failure = json!({"kind": "throttled", "code": "Slow", "message": "slow down"});
    let why = json!({"line": 0, "rule": "stands on top", "score": 0.5});
    let receipt = json!({"vendor": {"value": "SHOP", "confidence": 99.5, "place": null, "why": why}, "total": {"value":
        {"units": 635, "scale": 2, "currency": "MYR"}, "confidence": 90.0, "place": null, "why": null}, "date": null,
        "subtotal": null, "tax": null, "confidence": 90.0, "pages": 1});
    let header = || Event::Header(Header::new(&"c".repeat(64), "0.1.0", 1, Limits::default().settings()));
    let enter = || Event::Enter { export: "worker.run".into(), args: Json::of(&json!({"limit": 1})) };
    let call = |import: &'static str, effect, args: serde_json::Value, result: serde_json::Value| {
        Event::call(import, effect, &args, &result)
    };
    let begin = || {
        vec![
            header(),
            enter(),
            call("queue.claim", Effect::Write, json!({"limit": 1}), json!({"Ok": [job]})),
            call("queue.job.image", Effect::Read, json!({"job": 1}), image.clone()),
        ]
    };
    let done = vec![
        call("textract.detect-document-text", Effect::External, json!({"image": 2}), json!({"Ok": 3})),
        call(
            "textract.response.json",
            Effect::None,
            json!({"response": 3}),
            json!({"Ok": {"response": digest, "bytes": 9}}),
        ),
        call(
            "textract.response.store",
            Effect::Write,
            json!({"response": 3, "job": 1}),
            json!({"Ok": {"artifact": 4, "key": "k"}}),
        ),
        call(
            "queue.job.complete",
            Effect::Write,
            json!({"job": 1, "receipt": receipt, "artifact": 4}),
            json!({"Ok": null}),
        ),
        Event::Return { export: "worker.run".into(), result: Json::of(&json!({"Ok": {"claimed": 1}})) },
        Event::Masked { place: MaskedIn::Line(2), field: "args".to_owned(), what: "phone number".into() },
        Event::Masked { place: MaskedIn::Response(digest.clone()), field: "a".to_owned(), what: "card number".into() },
    ];
    let failed = vec![
        call(
            "queue.job.retry-after",
            Effect::Write,
            json!({"job": 1, "milliseconds": 9, "failure": failure, "charge": true}),
            json!({"Ok": null}),
        ),
        call("queue.job.dead-letter", Effect::Write, json!({"job": 1, "failure": failure}), json!({"Err": failure})),
        call("queue.job.drop", Effect::Write, json!({"job": 1}), json!(null)),
        Event::Failed { how: FailedHow::Deadline, message: "too long".to_owned() },
    ];
    [done, failed].into_iter().map(|rest| input(begin().into_iter().chain(rest))).chain(recorded()).collect()
}

/// Real runs, as `host run --record` wrote them, and in the form that is read here.
fn recorded() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("traces");
    let entries = std::fs::read_dir(folder).expect("the recorded runs are there");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let inputs = |path: &std::path::PathBuf| {
        let bytes = std::fs::read(path).expect("a recorded run");
        let trace = Trace::parse("recorded", &bytes).expect("a recorded run is read");
        let events = std::iter::once(Event::Header(trace.header)).chain(trace.events);
        [input(events), bytes]
    };
    paths.iter().flat_map(inputs).collect()
}

/// Events in the form that is read here.
fn input(events: impl Iterator<Item = Event>) -> Vec<u8> {
    let bare = |event: Event| {
        let line = event.to_line(0);
        let (_, members) = line.split_once(',').expect("a number first");
        let (members, _) = members.rsplit_once(",\"sum\"").expect("a sum last");
        format!("{{{members}}}")
    };
    events.map(bare).collect::<Vec<_>>().join("\n").into_bytes()
}
