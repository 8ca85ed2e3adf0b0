//! What the gate replays: what is built in, the newest recorded runs, and the folders that the operator named.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::settings::GateSettings;
use crate::reading::Reading;
use crate::sandbox::{ArtifactInfo, ImageInfo, ImportCall, JobInfo, Limits, TextInfo, import};
use crate::storage::digest_of;
use crate::trace::{Event, Header, Json, RESPONSES, SUFFIX, Trace, traces_in};

/// A response that every gate has, so that a component that reads nothing, or fails on everything, does not pass for lack
/// of recordings.
const BUILT_IN: &str = include_str!("built_in.json");

/// One thing that both components do.
pub(super) enum Item {
    Response { name: String, json: String, expected: Option<Reading> },
    Trace { name: String, trace: Arc<Trace>, responses: BTreeMap<String, String> },
}

/// The names of all items; each is read when its turn comes.
pub(super) struct Corpus {
    traces: Vec<PathBuf>,
    responses: Vec<PathBuf>,
    /// Folders that could not be searched, and why.
    pub(super) skipped: Vec<String>,
}

impl Corpus {
    pub(super) fn gather(settings: &GateSettings) -> Self {
        let mut corpus = Self { traces: Vec::new(), responses: Vec::new(), skipped: Vec::new() };
        if let Some(folder) = &settings.recorded {
            match traces_in(std::slice::from_ref(folder)) {
                Ok(traces) => corpus.traces.extend(traces.into_iter().rev().take(settings.runs)),
                Err(error) => corpus.skipped.push(error.to_string()),
            }
        }
        for folder in &settings.folders {
            if let Err(error) = corpus.search(folder) {
                corpus.skipped.push(format!("cannot read {}: {error}", folder.display()));
            }
        }
        corpus
    }

    fn search(&mut self, folder: &Path) -> std::io::Result<()> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            // A link to a folder is not followed: it may lead back here.
            entries.push((entry.path(), entry.file_type()?.is_dir()));
        }
        entries.sort();
        let has_traces = entries.iter().any(|(path, _)| path.to_string_lossy().ends_with(SUFFIX));
        for (path, is_folder) in entries {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if is_folder {
                // The responses of recorded runs are looked at with their runs.
                if !(has_traces && name == RESPONSES) {
                    self.search(&path)?;
                }
            } else if name.ends_with(SUFFIX) {
                self.traces.push(path);
            } else if name.ends_with(".json") && !name.ends_with(".expected.json") {
                self.responses.push(path);
            }
        }
        Ok(())
    }

    /// All items, the built-in ones first.
    pub(super) fn names(self) -> impl Iterator<Item = Name> {
        let built_in = [built_in_response, idle_run, built_in_run].map(Name::BuiltIn);
        let traces = self.traces.into_iter().map(Name::Trace);
        built_in.into_iter().chain(traces).chain(self.responses.into_iter().map(Name::Response))
    }
}

/// Where an item is.
pub(super) enum Name {
    BuiltIn(fn() -> Item),
    Trace(PathBuf),
    Response(PathBuf),
}

impl Name {
    /// Blocks.
    pub(super) fn read(&self) -> Result<Item, String> {
        match self {
            Self::BuiltIn(make) => Ok(make()),
            Self::Trace(path) => trace(path),
            Self::Response(path) => response(path),
        }
    }
}

fn trace(path: &Path) -> Result<Item, String> {
    let trace = Trace::read(path).map_err(|error| error.to_string())?;
    Ok(Item::Trace { name: path.display().to_string(), trace: Arc::new(trace), responses: BTreeMap::new() })
}

fn response(path: &Path) -> Result<Item, String> {
    let read =
        |path: &Path| std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()));
    let json = read(path)?;
    let expectation = path.with_extension("expected.json");
    let expected = match expectation.exists() {
        true => {
            let text = read(&expectation)?;
            Some(
                serde_json::from_str(&text)
                    .map_err(|error| format!("{} is no expectation: {error}", expectation.display()))?,
            )
        }
        false => None,
    };
    Ok(Item::Response { name: path.display().to_string(), json, expected })
}

fn built_in_response() -> Item {
    Item::Response { name: "the built-in response".to_owned(), json: BUILT_IN.to_owned(), expected: None }
}

/// A run that finds nothing to do.
fn idle_run() -> Item {
    let claim = import::Claim { limit: 1 }.event(&Ok(Vec::new()));
    let responses = BTreeMap::new();
    Item::Trace { name: "a run without work".to_owned(), trace: Arc::new(run(vec![claim])), responses }
}

/// A run with one receipt that goes well.
fn built_in_run() -> Item {
    let digest = digest_of(BUILT_IN.as_bytes());
    let claimed = JobInfo {
        job: 1,
        id: 1,
        receipt_id: "gate".to_owned(),
        attempt: 1,
        max_attempts: 5,
        seed: 7,
        has_artifact: false,
    };
    let content_type = "image/jpeg".to_owned();
    let image = ImageInfo { image: 2, size: 1000, content_type, digest: digest_of(b"image") };
    let artifact = ArtifactInfo { artifact: 4, key: "ocr/gate/image.detect.json".to_owned() };
    let text = Ok(TextInfo { response: digest.clone(), bytes: BUILT_IN.len() as u64 });
    let events = vec![
        import::Claim { limit: 1 }.event(&Ok(vec![claimed])),
        import::FetchImage { job: 1 }.event(&Ok(image)),
        import::DetectDocumentText { image: 2 }.event(&Ok(3)),
        import::AnalyzeExpense { image: 2 }.event(&Ok(3)),
        import::StoreResponse { job: 1, response: 3 }.event(&Ok(artifact)),
        import::ReadResponse { response: 3 }.event(&text),
        import::ReadArtifact { artifact: 4 }.event(&text),
    ];
    let responses = BTreeMap::from([(digest, BUILT_IN.to_owned())]);
    Item::Trace { name: "the built-in run".to_owned(), trace: Arc::new(run(events)), responses }
}

fn run(mut events: Vec<Event>) -> Trace {
    let enter = Event::Enter { export: "worker.run".into(), args: Json::of(&json!({ "limit": 1 })) };
    events.insert(0, enter);
    let header = Header::new("", "", 7, Limits::default().settings());
    Trace { path: PathBuf::from("the gate"), header, events, complete: true }
}
