//! Reads traces, and takes nothing for a trace that was cut off, edited or put together otherwise.

use std::io;
use std::path::{Path, PathBuf};

use super::event::{Event, Header};
use super::line::LineError;
use super::{RESPONSES, SUFFIX};
use crate::storage::digest_of;

/// One recorded run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// Where it was read from.
    pub path: PathBuf,
    /// Where the run came from.
    pub header: Header,
    /// What happened, in order, without the header and the end: event `n` is at `n - 1`.
    pub events: Vec<Event>,
    /// Whether all of the run is there; false where it was longer than one trace may be, and calls before its end are
    /// missing.
    pub complete: bool,
}

/// Why something is no trace.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is damaged, edited, or no trace.
    #[error("{}, line {line}: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A name that stands for a response is no digest.
    #[error("{}: {digest:?} is no SHA-256 of a response", path.display())]
    NoDigest {
        /// The trace.
        path: PathBuf,
        /// What it names.
        digest: String,
    },
    /// The response beside the trace is not the one that was recorded.
    #[error("{} was edited: its SHA-256 is {found}", path.display())]
    EditedResponse {
        /// The response's file.
        path: PathBuf,
        /// The digest of what is there.
        found: String,
    },
}

impl Trace {
    /// Reads a trace file.
    ///
    /// Fails where the file cannot be read, and with the line where it is cut off, edited or no trace.
    pub fn read(path: impl Into<PathBuf>) -> Result<Self, TraceError> {
        let path = path.into();
        match std::fs::read(&path) {
            Ok(bytes) => Self::parse(path, bytes),
            Err(source) => Err(TraceError::Io { path, source }),
        }
    }

    /// Reads a trace that is in memory; `name` is for messages, and responses are looked for beside it.
    ///
    /// Fails with the line where it is cut off, edited or no trace.
    pub fn parse(name: impl Into<PathBuf>, text: impl AsRef<[u8]>) -> Result<Self, TraceError> {
        let path = name.into();
        match parse(text.as_ref()) {
            Ok((header, events, complete)) => Ok(Self { path, header, events, complete }),
            Err((line, problem)) => Err(TraceError::Damaged { path, line, problem }),
        }
    }

    /// The OCR response of that digest, from beside the trace.
    ///
    /// Fails where it is missing or is not what was recorded.
    pub fn response(&self, digest: &str) -> Result<String, TraceError> {
        // It becomes a path.
        if digest.len() != 64 || !digest.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(TraceError::NoDigest { path: self.path.clone(), digest: digest.to_owned() });
        }
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let path = folder.join(RESPONSES).join(format!("{digest}.json"));
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(source) => return Err(TraceError::Io { path, source }),
        };
        let found = digest_of(&bytes);
        if found != digest {
            return Err(TraceError::EditedResponse { path, found });
        }
        String::from_utf8(bytes)
            .map_err(|_| TraceError::Io { path, source: io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8") })
    }
}

type Parts = (Header, Vec<Event>, bool);

fn parse(text: &[u8]) -> Result<Parts, (usize, String)> {
    let mut header = None;
    let mut events = Vec::new();
    let mut expected = 0_u64;
    for (number, line) in (1_usize..).zip(text.split_inclusive(|&byte| byte == b'\n')) {
        let at = |problem: String| (number, problem);
        let line = line.strip_suffix(b"\n").ok_or_else(|| at("the trace is cut off in this line".to_owned()))?;
        let line = std::str::from_utf8(line).map_err(|error| at(format!("it is no text: {error}")))?;
        let (n, event) = Event::from_line(line).map_err(|error: LineError| at(error.to_string()))?;
        if n != expected {
            let what = if n > expected { "a line is missing" } else { "a line stands twice, or out of order" };
            return Err(at(format!("it is event {n} where {expected} should be: {what}")));
        }
        expected += 1;
        match (event, header.is_some()) {
            (Event::Header(found), false) => header = Some(found),
            (Event::Header(_), true) => return Err(at("a second header".to_owned())),
            (_, false) => return Err(at("there is no header before it".to_owned())),
            (Event::End { events: counted, complete }, true) => {
                return end(text, number, n, counted).map_err(at).and_then(|()| {
                    let header = header.take().ok_or_else(|| at("there is no header before it".to_owned()))?;
                    Ok((header, std::mem::take(&mut events), complete))
                });
            }
            (event, true) => events.push(event),
        }
    }
    match usize::try_from(expected).unwrap_or(usize::MAX) {
        0 => Err((1, "the file is empty".to_owned())),
        last => Err((last, "the trace is cut off after this line: it has no end event".to_owned())),
    }
}

/// Checks what the end event says, and that nothing follows it.
fn end(text: &[u8], number: usize, n: u64, counted: u64) -> Result<(), String> {
    if counted != n {
        return Err(format!("it ends a trace of {counted} events, but there are {n}"));
    }
    if text.split_inclusive(|&byte| byte == b'\n').nth(number).is_some() {
        return Err("something follows this end event".to_owned());
    }
    Ok(())
}

/// The traces that these paths name: files as they are, folders searched for `*.trace.jsonl`. Those of a folder come in
/// the order of their names, which is the order in which the runs began.
///
/// Fails where something that was named is not there or cannot be read.
pub fn traces_in(paths: &[PathBuf]) -> Result<Vec<PathBuf>, TraceError> {
    let mut found = Vec::new();
    for path in paths {
        let kind = std::fs::metadata(path).map_err(|source| TraceError::Io { path: path.clone(), source })?;
        if !kind.is_dir() {
            found.push(path.clone());
            continue;
        }
        let mut inside = Vec::new();
        search(path, &mut inside).map_err(|source| TraceError::Io { path: path.clone(), source })?;
        inside.sort_by(|one, other| one.file_name().cmp(&other.file_name()).then_with(|| one.cmp(other)));
        found.append(&mut inside);
    }
    Ok(found)
}

fn search(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // Links are not followed into folders: they may lead in a circle.
        if entry.file_type()?.is_dir() {
            search(&entry.path(), found)?;
        } else if entry.file_name().to_string_lossy().ends_with(SUFFIX) {
            found.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::unwrap_used)]
    use serde_json::json;

    use super::super::event::{Effect, FailedHow, Json, MaskedIn, Settings};
    use super::*;

    fn header() -> Header {
        Header { seed: u64::MAX, ..Header::new(&"a".repeat(64), "0.1.0", 7, Settings::default()) }
    }

    fn sample() -> Vec<Event> {
        vec![
            Event::Header(header()),
            Event::Enter { export: "worker.run".into(), args: Json::of(&json!({"limit": 3})) },
            Event::call("queue.claim", Effect::Write, &json!({"limit": 3}), &Ok::<_, ()>([1, 2])),
            // As text: a float that a number type would write otherwise.
            Event::Call {
                import: "queue.job.complete".into(),
                effect: Effect::Write,
                args: Json::parse(r#"{"confidence": 1.00, "vendor":"\u00e9 ,\"sum\":\"" }"#.to_owned()).unwrap(),
                result: Json::of(&None::<u8>),
            },
            Event::Return { export: "worker.run".into(), result: Json::of(&json!({"Ok": {"claimed": 1}})) },
            Event::Failed { how: FailedHow::Cancelled, message: "stopped\nat once".to_owned() },
            Event::Masked {
                place: MaskedIn::Response("b".repeat(64)),
                field: "Blocks[1].Text".to_owned(),
                what: "card number".into(),
            },
            Event::Masked { place: MaskedIn::Line(3), field: "args.vendor".to_owned(), what: "phone number".into() },
            Event::End { events: 8, complete: true },
        ]
    }

    fn text(events: &[Event]) -> String {
        (0..).zip(events).map(|(n, event)| event.to_line(n) + "\n").collect()
    }

    fn problem(text: impl AsRef<[u8]>) -> String {
        Trace::parse("t", text).unwrap_err().to_string()
    }

    #[test]
    fn what_was_written_is_read() {
        let written = sample();
        let trace = Trace::parse("t", text(&written)).unwrap();
        assert_eq!(trace.header, header_of(&written));
        assert_eq!(trace.events, written[1..8]);
        assert!(trace.complete);
        let again = [vec![Event::Header(trace.header)], trace.events, vec![written[8].clone()]].concat();
        assert_eq!(text(&again), text(&written));
    }

    fn header_of(events: &[Event]) -> Header {
        let Event::Header(header) = events[0].clone() else { unreachable!() };
        header
    }

    #[test]
    fn lines_look_as_documented() {
        let event = Event::call("queue.claim", Effect::Write, &json!({"limit": 3}), &Ok::<_, ()>(()));
        let text =
            r#"{"n":2,"event":"call","import":"queue.claim","effect":"write","args":{"limit":3},"result":{"Ok":null}"#;
        assert_eq!(event.to_line(2), format!("{text},\"sum\":\"{}\"}}", &digest_of(text.as_bytes())[..8]));
    }

    #[test]
    fn a_trace_that_is_cut_off_anywhere_says_so() {
        let text = text(&sample());
        for length in 0..text.len() {
            let problem = problem(&text.as_bytes()[..length]);
            let line = text[..length].lines().count().max(1);
            assert!(problem.starts_with(&format!("t, line {line}: ")), "{length}: {problem}");
            assert!(problem.contains("cut off") || length == 0 && problem.contains("empty"), "{length}: {problem}");
        }
    }

    #[test]
    fn a_byte_that_was_changed_anywhere_is_found_in_its_line() {
        let text = text(&sample());
        for place in 0..text.len() {
            let line = text.as_bytes()[..place].iter().filter(|&&byte| byte == b'\n').count() + 1;
            for mask in [1_u8, 0x20, 0x80, 0xFF] {
                let mut bytes = text.clone().into_bytes();
                bytes[place] ^= mask;
                let problem = problem(bytes);
                assert!(problem.starts_with(&format!("t, line {line}: ")), "{place} {mask}: {problem}");
            }
        }
    }

    #[test]
    fn lines_that_are_missing_twice_or_in_another_order_are_found() {
        let text = text(&sample());
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let without = |line: usize| [&lines[..line], &lines[line + 1..]].concat().concat();
        assert!(problem(without(0)).contains("line 1: it is event 1 where 0 should be: a line is missing"));
        assert!(problem(without(3)).contains("line 4: it is event 4 where 3 should be: a line is missing"));
        assert!(problem(without(8)).contains("line 8: the trace is cut off after this line"));
        let twice = [&lines[..4], &lines[3..]].concat().concat();
        assert!(problem(twice).contains("line 5: it is event 3 where 4 should be: a line stands twice"));
        assert!(problem(format!("{text}{}", lines[8])).contains("line 9: something follows this end event"));
        assert!(problem(format!("{text}x")).contains("line 9: something follows this end event"));
    }

    #[test]
    fn what_is_no_trace_is_refused_by_its_first_wrong_line() {
        let lines = |events: &[(u64, Event)]| events.iter().map(|(n, e)| e.to_line(*n) + "\n").collect::<String>();
        let (head, end) = (Event::Header(header()), |events| Event::End { events, complete: false });
        assert!(!Trace::parse("t", lines(&[(0, head.clone()), (1, end(1))])).unwrap().complete);
        for (text, expected) in [
            (lines(&[(0, end(0))]), "line 1: there is no header before it"),
            (lines(&[(0, head.clone()), (1, head.clone())]), "line 2: a second header"),
            (lines(&[(0, head.clone()), (1, end(2))]), "line 2: it ends a trace of 2 events, but there are 1"),
            (lines(&[(0, Event::Header(Header { format: 9, ..header() }))]), "line 1: it is in format 9"),
            ("{}\n".to_owned(), "line 1: it was edited"),
            ("hello\n".to_owned(), "line 1: it is no event: expected value"),
            ("\n".to_owned(), "line 1: it is no event: EOF"),
            (sealed(r#"{"n":0,"event":"party""#), "line 1: it is no event: \"party\" is unknown"),
            (sealed(r#"{"n":0,"event":"enter","export":"x""#), "\"enter\" is unknown, or lacks a member"),
            (sealed(r#"{"n":-1,"event":"end""#), "line 1: it is no event: invalid value"),
        ] {
            let problem = problem(&text);
            assert!(problem.contains(expected), "{problem}");
        }
    }

    fn sealed(text: &str) -> String {
        format!("{text},\"sum\":\"{}\"}}\n", &digest_of(text.as_bytes())[..8])
    }

    #[test]
    fn a_response_is_the_recorded_one_or_an_error() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(RESPONSES)).unwrap();
        let digest = digest_of(b"{\"Blocks\":[]}");
        let file = folder.path().join(RESPONSES).join(format!("{digest}.json"));
        let trace = Trace::parse(folder.path().join("t"), text(&sample())).unwrap();
        let problem = |digest: &str| trace.response(digest).unwrap_err().to_string();
        assert!(problem(&digest).contains(&file.display().to_string()));
        std::fs::write(&file, "{\"Blocks\":[]}").unwrap();
        assert_eq!(trace.response(&digest).unwrap(), "{\"Blocks\":[]}");
        std::fs::write(&file, "{\"Blocks\":[1]}").unwrap();
        assert!(problem(&digest).contains("was edited"), "{}", problem(&digest));
        for digest in ["", "../../etc/passwd", &"A".repeat(64), &"a".repeat(63)] {
            assert!(problem(digest).contains("is no SHA-256"), "{digest}");
        }
    }

    #[test]
    fn folders_are_searched_and_sorted_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(path("b/responses")).unwrap();
        for name in ["b/2.trace.jsonl", "1.trace.jsonl", "3.trace.jsonl", "b/responses/x.json", "notes.txt"] {
            std::fs::write(path(name), "").unwrap();
        }
        let expected = ["1.trace.jsonl", "b/2.trace.jsonl", "3.trace.jsonl", "notes.txt"].map(path);
        assert_eq!(traces_in(&[folder.path().to_owned(), path("notes.txt")]).unwrap(), expected);
        assert!(traces_in(&[path("none")]).unwrap_err().to_string().contains("none"));
    }
}
