//! Records runs: cheap where the work is done, all else on a thread of its own. Recording never stops the work.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::build::TraceBuilder;
use super::event::Header;
use super::folder::Folder;
use super::handover::{Run, Shared};
use super::settings::{RecordError, RecordSettings};
use super::time::file_stamp;
use super::write::Writer;

/// How long the end of the process waits for the last traces.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// What was recorded since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordStats {
    /// Traces written.
    pub written: u64,
    /// Runs that were not recorded: too many waited, or they could not be written.
    pub dropped: u64,
    /// Bytes that traces and responses take up now.
    pub bytes: u64,
    /// Why the last run could not be written; none where it was.
    pub off: Option<String>,
}

/// Records runs into a folder. Dropping it waits, for seconds at most, until what was finished is written.
#[derive(Debug)]
pub struct Recorder {
    shared: Arc<Shared>,
    done: Mutex<Receiver<()>>,
}

impl Recorder {
    /// Makes the folder and starts the thread that writes.
    ///
    /// Fails where the folder cannot be written, or another process records into it.
    pub fn start(settings: RecordSettings) -> Result<Self, RecordError> {
        let folder = Folder::open(&settings)?;
        let (done_sender, done) = mpsc::channel();
        let (shared, receiver) = Shared::new(settings, folder.bytes());
        let thread = Writer::new(folder, Arc::clone(&shared), done_sender);
        let path = shared.settings.folder.clone();
        std::thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || thread.work(&receiver))
            .map_err(|source| RecordError::Io { path, source })?;
        Ok(Self { shared, done: Mutex::new(done) })
    }

    /// Begins the trace of a run.
    pub fn builder(&self, header: Header) -> TraceBuilder {
        let count = self.shared.next_run();
        let name = format!("{}-{count:06}", file_stamp(&header.started));
        let run = Run::new(name, Header { redacted: self.shared.settings.redact, ..header });
        TraceBuilder::new(Some(run), Arc::clone(&self.shared))
    }

    /// What was recorded since the start.
    pub fn stats(&self) -> RecordStats {
        RecordStats {
            written: self.shared.written.load(Ordering::Relaxed),
            dropped: self.shared.dropped.load(Ordering::Relaxed),
            bytes: self.shared.bytes.load(Ordering::Relaxed),
            off: self.shared.off(),
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.shared.stop();
        let done = self.done.get_mut().unwrap_or_else(PoisonError::into_inner);
        if done.recv_timeout(LAST_WAIT) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!(
                name: "trace.unwritten",
                folder = %self.shared.settings.folder.display(),
                "the last traces were not written in time"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::unwrap_used)]
    use std::path::Path;
    use std::time::Instant;

    use serde_json::json;

    use super::super::event::{Effect, Event, FailedHow, Json, MaskedIn, Settings};
    use super::super::handover::{MINUTE, WAITING_BYTES};
    use super::super::{Trace, traces_in};
    use super::*;
    use crate::storage::digest_of;

    fn header() -> Header {
        Header::new(&"c".repeat(64), "0.1.0", 1, Settings::default())
    }

    fn enter() -> Event {
        Event::Enter { export: "worker.run".into(), args: Json::of(&json!({"limit": 1})) }
    }

    fn answer(builder: &mut TraceBuilder, body: &Arc<[u8]>) {
        let digest = builder.attach(body);
        let result = Ok::<_, ()>(json!({"response": digest, "bytes": body.len()}));
        builder.push(Event::call("textract.response.json", Effect::None, &json!({"response": 3}), &result));
    }

    fn recorded(folder: &Path) -> Vec<Trace> {
        let paths = traces_in(&[folder.to_owned()]).unwrap();
        paths.iter().map(|path| Trace::read(path).unwrap()).collect()
    }

    #[test]
    fn a_finished_run_is_read_as_it_was_recorded() {
        let home = tempfile::tempdir().unwrap();
        let recorder = Recorder::start(RecordSettings::new(home.path())).unwrap();
        let body: Arc<[u8]> = Arc::from(&b"{\"Blocks\":[]}"[..]);
        let mut events = Vec::new();
        for _ in 0..3 {
            let mut builder = recorder.builder(header());
            builder.push(enter());
            answer(&mut builder, &body);
            answer(&mut builder, &Arc::from(body.to_vec()));
            events.push(builder.run.as_ref().unwrap().events.clone());
            builder.finish();
        }
        drop(recorder);
        let traces = recorded(home.path());
        assert_eq!(traces.len(), 3);
        for (trace, events) in traces.iter().zip(&events) {
            assert_eq!(trace.events, events[1..]);
            assert_eq!(Event::Header(trace.header.clone()), events[0]);
            assert!(trace.complete);
            assert_eq!(trace.response(&digest_of(&body)).unwrap().as_bytes(), &body[..]);
        }
    }

    #[test]
    fn a_run_that_was_dropped_is_one_that_was_stopped() {
        let home = tempfile::tempdir().unwrap();
        let recorder = Recorder::start(RecordSettings::new(home.path())).unwrap();
        let mut builder = recorder.builder(header());
        builder.push(enter());
        drop(builder);
        drop(recorder);
        let events = &recorded(home.path())[0].events;
        assert!(matches!(&events[1], Event::Failed { how: FailedHow::Cancelled, .. }), "{events:?}");
    }

    #[test]
    fn numbers_are_masked_in_the_response_and_in_events() {
        let home = tempfile::tempdir().unwrap();
        let settings = RecordSettings { redact: true, ..RecordSettings::new(home.path()) };
        let recorder = Recorder::start(settings).unwrap();
        let mut builder = recorder.builder(header());
        let body = |number: &str| json!({"Blocks": [{"BlockType": "LINE", "Id": "a", "Text": number}]}).to_string();
        let before = body("TEL 03-1234 5678");
        answer(&mut builder, &Arc::from(before.clone().into_bytes()));
        let args = |number: &str| json!({"job": 1, "receipt": {"vendor": {"value": format!("SHOP {number}")}}});
        builder.push(Event::call("queue.job.complete", Effect::Write, &args("0312345678"), &Ok::<_, ()>(())));
        builder.push(Event::Failed { how: FailedHow::Trap, message: "4111 1111 1111 1111".to_owned() });
        builder.finish();
        drop(recorder);
        let trace = &recorded(home.path())[0];
        assert!(trace.header.redacted);
        let (after, old) = (body("TEL 00-0000 0000"), digest_of(before.as_bytes()));
        let digest = digest_of(after.as_bytes());
        assert_eq!(trace.response(&digest).unwrap(), after);
        assert!(trace.response(&old).is_err());
        let masked = |place, field: &str, what: &'static str| Event::Masked {
            place,
            field: field.to_owned(),
            what: what.into(),
        };
        let result = Ok::<_, ()>(json!({"response": digest, "bytes": before.len()}));
        assert_eq!(
            trace.events,
            [
                Event::call("textract.response.json", Effect::None, &json!({"response": 3}), &result),
                Event::call("queue.job.complete", Effect::Write, &args("0000000000"), &Ok::<_, ()>(())),
                Event::Failed { how: FailedHow::Trap, message: "0000 0000 0000 0000".to_owned() },
                masked(MaskedIn::Response(digest), "Blocks[0].Text", "phone number"),
                masked(MaskedIn::Line(2), "args.receipt.vendor.value", "phone number"),
                masked(MaskedIn::Line(3), "message", "card number"),
            ]
        );
    }

    #[test]
    fn a_run_that_is_too_long_loses_its_tail_and_says_so() {
        let home = tempfile::tempdir().unwrap();
        let settings = RecordSettings { per_run_bytes: 1000, ..RecordSettings::new(home.path()) };
        let recorder = Recorder::start(settings).unwrap();
        let mut builder = recorder.builder(header());
        builder.push(enter());
        assert!(builder.is_on());
        answer(&mut builder, &Arc::from(vec![b' '; 2000]));
        builder.push(enter());
        assert!(!builder.is_on());
        let end = Event::Failed { how: FailedHow::Deadline, message: "it took too long".to_owned() };
        builder.push(end.clone());
        builder.finish();
        drop(recorder);
        let trace = &recorded(home.path())[0];
        assert_eq!(trace.events, [enter(), end]);
        assert!(!trace.complete);
        assert_eq!(std::fs::read_dir(home.path().join("responses")).unwrap().count(), 0);
    }

    #[test]
    fn an_error_costs_one_trace_and_recording_goes_on_when_it_is_mended() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("traces");
        let recorder = Recorder::start(RecordSettings::new(&folder)).unwrap();
        let record = || {
            let before = recorder.stats();
            let mut builder = recorder.builder(header());
            builder.push(enter());
            answer(&mut builder, &Arc::from(&b"{\"Blocks\":[]}"[..]));
            builder.finish();
            let end = Instant::now() + MINUTE;
            while recorder.stats().written + recorder.stats().dropped == before.written + before.dropped {
                assert!(Instant::now() < end);
                std::thread::sleep(Duration::from_millis(1));
            }
            recorder.stats()
        };
        assert_eq!((record().written, record().dropped), (1, 0));
        // Deleted: made anew, and whole.
        for place in [folder.clone(), folder.join("responses")] {
            std::fs::remove_dir_all(&place).unwrap();
            let stats = record();
            assert_eq!((stats.dropped, stats.off), (0, None));
        }
        let body = digest_of(b"{\"Blocks\":[]}");
        assert!(recorded(&folder).iter().all(|trace| trace.response(&body).is_ok()));
        // A file in the folder's place is no folder: that is told, and counted, until it is gone.
        std::fs::remove_dir_all(&folder).unwrap();
        std::fs::write(&folder, "").unwrap();
        record();
        let stats = record();
        assert_eq!(stats.dropped, 2);
        let reason = stats.off.unwrap();
        assert!(reason.contains(&folder.display().to_string()), "{reason}");
        std::fs::remove_file(&folder).unwrap();
        let stats = record();
        assert_eq!((stats.dropped, stats.off), (2, None));
        assert_eq!(recorded(&folder).len(), 1);
    }

    #[test]
    fn a_folder_that_cannot_be_used_is_an_error_at_the_start() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = Recorder::start(RecordSettings::new(&file)).unwrap_err().to_string();
        assert!(error.contains(&file.display().to_string()), "{error}");
        let _recorder = Recorder::start(RecordSettings::new(home.path())).unwrap();
        let error = Recorder::start(RecordSettings::new(home.path())).unwrap_err().to_string();
        assert!(error.contains("another host records into"), "{error}");
    }

    /// A recorder whose thread never gets its turn.
    #[test]
    fn nothing_waits_for_a_recorder_that_cannot_keep_up() {
        let settings = RecordSettings { per_run_bytes: u64::MAX, ..RecordSettings::new("") };
        let (shared, receiver) = Shared::with_room_for(2, settings, 0);
        let recorder = Recorder { shared: Arc::clone(&shared), done: Mutex::new(mpsc::channel().1) };
        let run = |bytes: u64| {
            let mut builder = recorder.builder(header());
            builder.run.as_mut().unwrap().bytes = bytes;
            builder.finish();
        };
        run(WAITING_BYTES - 10);
        run(20);
        assert_eq!(recorder.stats().dropped, 1);
        run(10);
        run(0);
        assert_eq!(recorder.stats().dropped, 2);
        assert_eq!(shared.waiting.load(Ordering::Relaxed), WAITING_BYTES);
        assert_eq!(receiver.try_iter().count(), 2);
        shared.waiting.store(0, Ordering::Relaxed);
        run(WAITING_BYTES + 1);
        assert_eq!(recorder.stats().dropped, 2);
    }
}
