//! The thread that writes what was recorded. Lines are made here, not in the run.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::SystemTime;

use super::build::Run;
use super::event::Event;
use super::folder::Folder;
use super::record::{MINUTE, Message, RecordError, Shared};
use crate::failure::chain;

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
fn write(folder: &mut Folder, run: Run, _redact: bool) -> Result<(), RecordError> {
    let Run { name, mut events, bodies, complete, .. } = run;
    for (digest, body) in &bodies {
        folder.put_response(digest, body, &name)?;
    }
    let before = events.len() as u64;
    events.push(Event::End { events: before, complete });
    let mut text = String::new();
    for (n, event) in (0..).zip(&events) {
        text.push_str(&event.to_line(n));
        text.push('\n');
    }
    folder.put_trace(&name, &text)
}
