//! Invariant 8 for whole runs: hundreds of runs in made-up worlds are recorded and replayed (`REPLAY_RUNS` is how many; 400).
//! The replay makes the same calls with the same results, byte for byte: its own trace is the same text.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use host::failure::{Failure, FailureKind};
use host::replay::{LenientReplay, decisions_of, exactly, with_another};
use host::sandbox::{Call, EMBEDDED, Limits, Meter, NoAnswer, Oracle, Program, RunInput};
use host::storage::digest_of;
use host::trace::{Json, RecordSettings, Recorder, Trace, traces_in};
use serde_json::{Value, json};
use tests::cache_dir;
use tests::components::{component, workspace};

use crate::support::RESPONSE;

const FUEL: u64 = 200_000_000;

/// Runs in all. A third is of a component that misbehaves as receipts' ids tell it, the others of the built-in one.
fn runs() -> u64 {
    std::env::var("REPLAY_RUNS").map_or(400, |runs| runs.parse().expect("REPLAY_RUNS: a number of runs"))
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_8_same_component_same_trace_same_calls_and_results() {
    let meter = Meter::new(limits(), Some(&cache_dir())).unwrap();
    let honest = meter.load_bytes("built in", EMBEDDED).unwrap();
    let wild = std::fs::read(component("misbehaves")).unwrap();
    let wild = meter.load_bytes("misbehaves", &wild).unwrap();
    let wild_runs = runs() / 3;
    let honest_runs = runs() - wild_runs;
    let recorded = record(&meter, &[(&honest, 0..honest_runs, false), (&wild, 0..wild_runs, true)]).await;

    let traces = traces_in(&[recorded.path().to_owned()]).unwrap();
    assert_eq!(traces.len() as u64, runs());
    let again = tempfile::tempdir().unwrap();
    let recorder =
        Recorder::start(RecordSettings { max_bytes: u64::MAX, ..RecordSettings::new(again.path()) }).unwrap();
    let mut ends = BTreeMap::new();
    for path in &traces {
        let trace = Arc::new(Trace::read(path).unwrap());
        let program = if trace.header.component == honest.digest() { &honest } else { &wild };
        let replayed = exactly(&meter, program, Arc::clone(&trace), Some(&recorder)).await;
        assert_eq!(replayed.mismatch, None, "{}", path.display());
        *ends.entry(end(path)).or_insert(0) += 1;
    }
    drop(recorder);
    // The generator reaches what it is meant to reach.
    for kind in ["return", "trap", "limit"] {
        assert!(ends.get(kind).is_some_and(|count| *count > runs() / 50), "{ends:?}");
    }
    let replayed = traces_in(&[again.path().to_owned()]).unwrap();
    assert_eq!(replayed.len(), traces.len());
    for (one, other) in traces.iter().zip(&replayed) {
        assert_eq!(lines(one), lines(other), "{}", one.display());
    }
}

/// The loose replay of the component that was recorded decides what was decided.
#[tokio::test(flavor = "multi_thread")]
async fn a_loose_replay_of_the_same_component_decides_the_same() {
    let meter = Meter::new(limits(), Some(&cache_dir())).unwrap();
    let honest = meter.load_bytes("built in", EMBEDDED).unwrap();
    let recorded = record(&meter, &[(&honest, 10_000..10_300, false)]).await;
    for path in traces_in(&[recorded.path().to_owned()]).unwrap() {
        let trace = Arc::new(Trace::read(&path).unwrap());
        let replayed = with_another(&meter, &honest, LenientReplay::new(Arc::clone(&trace)).unwrap(), FUEL).await;
        assert_eq!(replayed.decisions, decisions_of(&trace).unwrap(), "{}", path.display());
        assert!(replayed.unrecorded.is_empty(), "{:?}", replayed.unrecorded);
    }
}

/// One byte of one argument is enough.
#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_does_something_else_is_found_out() {
    let meter = Meter::new(limits(), Some(&cache_dir())).unwrap();
    let honest = meter.load_bytes("built in", EMBEDDED).unwrap();
    let wild = std::fs::read(component("misbehaves")).unwrap();
    let wild = meter.load_bytes("misbehaves", &wild).unwrap();
    let recorded = record(&meter, &[(&honest, 20_000..20_100, false)]).await;
    let mut found = 0;
    for path in traces_in(&[recorded.path().to_owned()]).unwrap() {
        let trace = Arc::new(Trace::read(&path).unwrap());
        let empty = decisions_of(&trace).unwrap().is_empty();
        // As if the recorded component were this one.
        let replayed = exactly(&meter, &wild, Arc::clone(&trace), None).await;
        assert!(replayed.mismatch.is_some() || empty, "{}", path.display());
        found += u32::from(replayed.mismatch.is_some());
    }
    assert!(found > 20, "{found}");
}

fn limits() -> Limits {
    Limits { memory: 16 << 20, handles: 100, ..Limits::default() }
}

async fn record(meter: &Meter, runs: &[(&Program, std::ops::Range<u64>, bool)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let settings = RecordSettings { max_bytes: u64::MAX, ..RecordSettings::new(folder.path()) };
    let recorder = Recorder::start(settings).unwrap();
    let responses = Arc::new(responses());
    let mut begun = 0_u64;
    for (program, seeds, wild) in runs {
        for seed in seeds.clone() {
            let world = Invented::new(seed, *wild, Arc::clone(&responses));
            let limit = u32::try_from(seed % 5).unwrap();
            meter.run(program, RunInput { limit, seed }, FUEL, world, Some(&recorder)).await;
            begun += 1;
            // Written on a thread of its own, which would drop what it cannot keep up with.
            while recorder.stats().written + 100 < begun {
                tokio::task::yield_now().await;
            }
        }
    }
    assert_eq!(recorder.stats().off, None);
    drop(recorder);
    folder
}

/// The text without what may differ: when the replay was.
fn lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().skip(1).map(str::to_owned).collect()
}

fn end(path: &Path) -> String {
    let lines = lines(path);
    let last: Value = serde_json::from_str(&lines[lines.len() - 2]).unwrap();
    last["how"].as_str().or(last["event"].as_str()).unwrap().to_owned()
}

fn responses() -> BTreeMap<String, String> {
    let mut texts = vec![RESPONSE.to_owned(), "{}".to_owned(), "no json".to_owned(), RESPONSE[..200].to_owned()];
    for number in 0..20 {
        texts.push(RESPONSE.replace("CORNER SHOP", &format!("TOTAL {number}.{number}5")));
    }
    let recordings = workspace().join("tests/recordings/sroie");
    for entry in std::fs::read_dir(recordings).unwrap().take(6) {
        let path = entry.unwrap().path();
        if !path.to_string_lossy().ends_with(".expected.json") {
            texts.push(std::fs::read_to_string(path).unwrap());
        }
    }
    texts.into_iter().map(|text| (digest_of(text.as_bytes()), text)).collect()
}

/// A world that answers anything, well or badly, by its seed.
struct Invented {
    state: u64,
    wild: bool,
    handles: u32,
    /// Receipts by the handles of their jobs.
    receipts: BTreeMap<u64, String>,
    responses: Arc<BTreeMap<String, String>>,
}

impl Invented {
    fn new(seed: u64, wild: bool, responses: Arc<BTreeMap<String, String>>) -> Self {
        Self { state: seed, wild, handles: 0, receipts: BTreeMap::new(), responses }
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn next(&mut self, below: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % below
    }

    fn handle(&mut self) -> u32 {
        self.handles += 1;
        self.handles
    }

    fn job(&mut self) -> Value {
        const WILD: [&str; 14] = [
            "ok",
            "trap",
            "trap-once",
            "panic",
            "error",
            "exit",
            "memory",
            "stack",
            "handles",
            "abandon",
            "keep",
            "retry",
            "confidence-nan",
            "settle-twice",
        ];
        let kind = usize::try_from(self.next(WILD.len() as u64)).unwrap();
        let kind = if self.wild { WILD[kind] } else { "receipt" };
        let attempt = self.next(5) + 1;
        let job = self.handle();
        let receipt = format!("{kind}.{job}");
        self.receipts.insert(job.into(), receipt.clone());
        json!({
            "job": job, "id": self.next(u64::MAX), "receipt_id": receipt,
            "attempt": attempt, "max_attempts": 5, "seed": self.next(u64::MAX), "has_artifact": self.next(2) == 0,
        })
    }

    fn failure(&mut self) -> Value {
        let kind = usize::try_from(self.next(FailureKind::ALL.len() as u64)).unwrap();
        json!({ "Err": Failure::new(FailureKind::ALL[kind], "invented.Failure", "it \"failed\", \u{fc}ber & out") })
    }

    /// Well, mostly.
    fn mostly(&mut self, well: impl FnOnce(&mut Self) -> Value) -> Value {
        if self.next(6) == 0 { self.failure() } else { json!({ "Ok": well(self) }) }
    }

    fn artifact(&mut self, call: &Call) -> Value {
        let job = call.args.read::<Value>().unwrap()["job"].as_u64().unwrap();
        let segment = self.receipts[&job].replace('.', "_");
        json!({ "artifact": self.handle(), "key": format!("ocr/{segment}/image.detect.json") })
    }
}

impl Oracle for Invented {
    fn answer(&mut self, call: &Call) -> Result<Option<Json>, NoAnswer> {
        let answer = match call.import.name() {
            "queue.claim" => {
                let limit = call.args.read::<Value>().unwrap()["limit"].as_u64().unwrap();
                let count = self.next(4).min(limit);
                self.mostly(|world| (0..count).map(|_| world.job()).collect())
            }
            "queue.job.image" => self.mostly(|world| {
                json!({ "image": world.handle(), "size": world.next(1 << 24), "content_type": "image/jpeg", "digest": digest_of(b"i") })
            }),
            "queue.job.stored-artifact" => {
                if self.next(2) == 0 {
                    json!({ "Ok": null })
                } else {
                    self.mostly(|world| world.artifact(call))
                }
            }
            "textract.detect-document-text" | "textract.analyze-expense" => self.mostly(|world| json!(world.handle())),
            "textract.response.store" => self.mostly(|world| world.artifact(call)),
            "textract.response.json" | "objects.artifact.json" => self.mostly(|world| {
                let which = usize::try_from(world.next(world.responses.len() as u64)).unwrap();
                let (digest, text) = world.responses.iter().nth(which).unwrap();
                json!({ "response": digest, "bytes": text.len() })
            }),
            "queue.job.complete" | "queue.job.retry-after" | "queue.job.dead-letter" => self.mostly(|_| Value::Null),
            // What the handle knows.
            _ => return Ok(None),
        };
        Ok(Some(Json::of(&answer)))
    }

    fn response(&mut self, digest: &str) -> Result<String, NoAnswer> {
        self.responses.get(digest).cloned().ok_or_else(|| NoAnswer("no such response".to_owned()))
    }
}
