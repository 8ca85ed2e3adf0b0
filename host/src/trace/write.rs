//! The thread that writes what was recorded. Lines are made here, not in the run.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use super::event::{Event, Json, MaskedIn};
use super::folder::Folder;
use super::handover::{MINUTE, Message, Run, Shared};
use super::redact::{self, Field, Known};
use super::settings::RecordError;
use crate::failure::chain;
use crate::storage::digest_of;

/// The thread that writes.
pub(super) struct Writer {
    folder: Folder,
    shared: Arc<Shared>,
    /// The folder is not tidy yet.
    untidy: bool,
    /// When somebody was last told that nothing can be recorded.
    warned: Option<Instant>,
    /// Gone when the thread is.
    _done: mpsc::Sender<()>,
}

impl Writer {
    pub(super) fn new(folder: Folder, shared: Arc<Shared>, done: mpsc::Sender<()>) -> Self {
        Self { folder, shared, untidy: true, warned: None, _done: done }
    }

    /// Writes until the recorder is dropped. What cannot be written is lost; what comes after it is tried again.
    pub(super) fn work(mut self, receiver: &Receiver<Message>) {
        while let Some(message) = self.next(receiver) {
            if let Message::Run(run) = message {
                self.take(run);
            }
            if let Err(error) = self.folder.tidy(SystemTime::now()).map(|more| self.untidy = more) {
                self.untidy = false;
                self.warn(&error);
            }
            self.shared.bytes.store(self.folder.bytes(), Ordering::Relaxed);
        }
    }

    /// None when all is written and no more is wanted.
    fn next(&self, receiver: &Receiver<Message>) -> Option<Message> {
        if self.shared.stopping.load(Ordering::Acquire) {
            return receiver.try_recv().ok();
        }
        let patience = if self.untidy { Duration::ZERO } else { MINUTE };
        match receiver.recv_timeout(patience) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => Some(Message::Wake),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    fn take(&mut self, run: Run) {
        self.shared.waiting.fetch_sub(run.bytes, Ordering::Relaxed);
        let files = Files::of(run, self.shared.settings.redact);
        let written = files.put(&mut self.folder).or_else(|_| {
            // Somebody may have deleted the folder.
            self.folder.mend()?;
            files.put(&mut self.folder)
        });
        match written {
            Ok(()) => {
                self.shared.written.fetch_add(1, Ordering::Relaxed);
                if self.shared.set_off(None) {
                    tracing::info!(
                        name: "trace.resumed",
                        folder = %self.shared.settings.folder.display(),
                        "recording again"
                    );
                }
            }
            Err(error) => {
                self.shared.dropped.fetch_add(1, Ordering::Relaxed);
                self.shared.set_off(Some(chain(&error)));
                self.warn(&error);
            }
        }
    }

    fn warn(&mut self, error: &RecordError) {
        if self.warned.is_none_or(|at| at.elapsed() >= MINUTE) {
            self.warned = Some(Instant::now());
            let (folder, dropped) = (&self.shared.settings.folder, self.shared.dropped.load(Ordering::Relaxed));
            let reason = chain(error);
            tracing::warn!(
                name: "trace.stopped",
                folder = %folder.display(),
                dropped,
                "recording is off until this is mended: {reason}"
            );
        }
    }
}

/// A run as it is written.
struct Files {
    name: String,
    /// With their digests.
    responses: Vec<(String, Response)>,
    text: String,
}

enum Response {
    Plain(Arc<[u8]>),
    Redacted(String),
}

impl Files {
    fn of(run: Run, redact: bool) -> Self {
        let Run { name, mut events, bodies, complete, .. } = run;
        let (mut masked, mut responses, mut known) = (Vec::new(), Vec::new(), Known::new());
        for (digest, body) in bodies {
            match std::str::from_utf8(&body).ok().filter(|_| redact).and_then(|text| redact::response(text, &mut known))
            {
                None => responses.push((digest, Response::Plain(body))),
                Some(redacted) => {
                    let new = digest_of(redacted.text.as_bytes());
                    rename(&mut events, &digest, &new);
                    responses.push((new.clone(), Response::Redacted(redacted.text)));
                    masked.extend(fields(MaskedIn::Response(new), "", redacted.fields));
                }
            }
        }
        if redact {
            masked.extend((0..).zip(&mut events).flat_map(|(n, event)| mask(n, event, &known)));
        }
        events.append(&mut masked);
        let before = events.len() as u64;
        events.push(Event::End { events: before, complete });
        let mut text = String::new();
        for (n, event) in (0..).zip(&events) {
            text.push_str(&event.to_line(n));
            text.push('\n');
        }
        Self { name, responses, text }
    }

    /// Responses first: whoever sees the trace finds all that it names.
    fn put(&self, folder: &mut Folder) -> Result<(), RecordError> {
        for (digest, response) in &self.responses {
            let bytes = match response {
                Response::Plain(bytes) => bytes,
                Response::Redacted(text) => text.as_bytes(),
            };
            folder.put_response(digest, bytes, &self.name)?;
        }
        folder.put_trace(&self.name, &self.text)
    }
}

/// The response is stored masked, under another digest: events must name that one.
fn rename(events: &mut [Event], old: &str, new: &str) {
    for event in events {
        if let Event::Call { result, .. } = event
            && result.as_str().contains(old)
            && let Some(renamed) = Json::parse(result.as_str().replace(old, new))
        {
            *result = renamed;
        }
    }
}

/// Masks what stands in the event itself, and says so.
fn mask(n: u64, event: &mut Event, known: &Known) -> Vec<Event> {
    let mut found = Vec::new();
    let mut json = |value: &mut Json, name: &str| {
        if let Some(redacted) = redact::value(value.as_str(), known)
            && let Some(masked) = Json::parse(redacted.text)
        {
            *value = masked;
            found.extend(fields(MaskedIn::Line(n), name, redacted.fields));
        }
    };
    match event {
        Event::Enter { args, .. } => json(args, "args"),
        Event::Call { args, result, .. } => {
            json(args, "args");
            json(result, "result");
        }
        Event::Return { result, .. } => json(result, "result"),
        Event::Failed { message, .. } => {
            if let Some(redacted) = redact::text(message, known) {
                *message = redacted.text;
                found.extend(fields(MaskedIn::Line(n), "message", redacted.fields));
            }
        }
        Event::Header(_) | Event::Masked { .. } | Event::End { .. } => {}
    }
    found
}

fn fields(place: MaskedIn, name: &str, fields: Vec<Field>) -> impl Iterator<Item = Event> {
    fields.into_iter().map(move |Field { path, what }| {
        let between = if name.is_empty() || path.is_empty() || path.starts_with('[') { "" } else { "." };
        Event::Masked { place: place.clone(), field: format!("{name}{between}{path}"), what: what.into() }
    })
}
