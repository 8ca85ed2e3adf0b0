//! The thread that writes what was recorded. Lines are made here, not in the run.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::SystemTime;

use super::build::Run;
use super::event::{Event, Json, MaskedIn};
use super::folder::Folder;
use super::record::{MINUTE, Message, RecordError, Shared};
use super::redact::{self, Field, Known};
use crate::failure::chain;
use crate::storage::digest_of;

/// The thread that writes.
pub(super) struct Writer {
    folder: Folder,
    shared: Arc<Shared>,
    /// Gone when the thread is.
    _done: mpsc::Sender<()>,
}

impl Writer {
    pub(super) fn new(folder: Folder, shared: Arc<Shared>, done: mpsc::Sender<()>) -> Self {
        Self { folder, shared, _done: done }
    }

    /// Writes until the recorder is dropped, or an error.
    pub(super) fn work(mut self, receiver: &Receiver<Message>) {
        while let Some(message) = self.next(receiver) {
            if let Err(error) = self.take(message) {
                let reason = chain(&error);
                tracing::warn!(folder = %self.shared.settings.folder.display(), "recording is off: {reason}");
                let _ = self.shared.off.set(reason);
                let lost = receiver.try_iter().filter(|message| matches!(message, Message::Run(_))).count();
                self.shared.dropped.fetch_add(lost as u64, Ordering::Relaxed);
                return;
            }
            self.shared.bytes.store(self.folder.bytes(), Ordering::Relaxed);
        }
    }

    /// None when all is written and no more is wanted.
    fn next(&self, receiver: &Receiver<Message>) -> Option<Message> {
        if self.shared.stopping.load(Ordering::Acquire) {
            return receiver.try_recv().ok();
        }
        match receiver.recv_timeout(MINUTE) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => Some(Message::Wake),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    fn take(&mut self, message: Message) -> Result<(), RecordError> {
        if let Message::Run(run) = message {
            self.shared.waiting.fetch_sub(run.bytes, Ordering::Relaxed);
            let redact = self.shared.settings.redact;
            if let Err(error) = write(&mut self.folder, run, redact) {
                self.shared.dropped.fetch_add(1, Ordering::Relaxed);
                return Err(error);
            }
            self.shared.written.fetch_add(1, Ordering::Relaxed);
        }
        self.folder.enforce(SystemTime::now())
    }
}

/// Writes the run's responses, then its trace: whoever sees the trace finds all that it names.
fn write(folder: &mut Folder, run: Run, redact: bool) -> Result<(), RecordError> {
    let Run { name, mut events, bodies, complete, .. } = run;
    let mut masked = Vec::new();
    let mut known = Known::new();
    for (digest, body) in &bodies {
        match std::str::from_utf8(body).ok().filter(|_| redact).and_then(|text| redact::response(text, &mut known)) {
            None => folder.put_response(digest, body, &name)?,
            Some(redacted) => {
                let new = digest_of(redacted.text.as_bytes());
                folder.put_response(&new, redacted.text.as_bytes(), &name)?;
                rename(&mut events, digest, &new);
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
    folder.put_trace(&name, &text)
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
