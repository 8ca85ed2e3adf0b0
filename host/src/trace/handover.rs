//! Between the runs and the thread that writes them: what is handed over, and what both sides know.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::event::{Event, Header};
use super::settings::RecordSettings;

/// Runs that may wait to be written.
const WAITING_RUNS: usize = 256;

/// Bytes that may wait to be written: what recording may cost in memory.
pub(super) const WAITING_BYTES: u64 = 64 * 1024 * 1024;

/// How often age is looked at when nothing is recorded, and how often a warning may be repeated.
pub(super) const MINUTE: Duration = Duration::from_secs(60);

/// A finished run, before it is text.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) name: String,
    pub(super) events: Vec<Event>,
    /// OCR responses with their digests.
    pub(super) bodies: Vec<(String, Arc<[u8]>)>,
    pub(super) bytes: u64,
    pub(super) complete: bool,
}

impl Run {
    pub(super) fn new(name: String, header: Header) -> Self {
        Self { name, events: vec![Event::Header(header)], bodies: Vec::new(), bytes: 0, complete: true }
    }

    /// Takes the room, if it is there. The first thing that has none ends the trace: one with holes replays wrongly.
    pub(super) fn has_room(&mut self, bytes: u64, most: u64) -> bool {
        self.complete = self.complete && self.bytes + bytes <= most;
        self.bytes += if self.complete { bytes } else { 0 };
        self.complete
    }
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: RecordSettings,
    sender: SyncSender<Message>,
    pub(super) stopping: AtomicBool,
    off: Mutex<Option<String>>,
    pub(super) written: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) bytes: AtomicU64,
    /// Bytes of the runs in the channel.
    pub(super) waiting: AtomicU64,
    /// Runs begun.
    runs: AtomicU64,
    warned: Mutex<Option<Instant>>,
}

#[derive(Debug)]
pub(super) enum Message {
    Run(Run),
    /// Look whether to stop.
    Wake,
}

impl Shared {
    /// With the end at which runs come out again.
    pub(super) fn new(settings: RecordSettings, bytes: u64) -> (Arc<Self>, Receiver<Message>) {
        Self::with_room_for(WAITING_RUNS, settings, bytes)
    }

    pub(super) fn with_room_for(runs: usize, settings: RecordSettings, bytes: u64) -> (Arc<Self>, Receiver<Message>) {
        let (sender, receiver) = mpsc::sync_channel(runs);
        let shared = Self {
            sender,
            stopping: AtomicBool::new(false),
            off: Mutex::new(None),
            written: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            bytes: AtomicU64::new(bytes),
            waiting: AtomicU64::new(0),
            runs: AtomicU64::new(0),
            warned: Mutex::new(None),
            settings,
        };
        (Arc::new(shared), receiver)
    }

    /// Number of the next run.
    pub(super) fn next_run(&self) -> u64 {
        self.runs.fetch_add(1, Ordering::Relaxed)
    }

    /// Why nothing can be recorded; none where it can.
    pub(super) fn off(&self) -> Option<String> {
        self.off.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// No run comes any more.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        // A full channel wakes the thread as well.
        let _ = self.sender.try_send(Message::Wake);
    }

    /// Tells whether there was a reason before.
    pub(super) fn set_off(&self, reason: Option<String>) -> bool {
        std::mem::replace(&mut *self.off.lock().unwrap_or_else(PoisonError::into_inner), reason).is_some()
    }

    pub(super) fn send(&self, run: Run) {
        let bytes = run.bytes;
        let before = self.waiting.fetch_add(bytes, Ordering::Relaxed);
        // One that is too large by itself may still go alone.
        let room = before == 0 || before + bytes <= WAITING_BYTES;
        if room && self.sender.try_send(Message::Run(run)).is_ok() {
            return;
        }
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
        let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_none_or(|at| at.elapsed() >= MINUTE) {
            *warned = Some(Instant::now());
            let folder = self.settings.folder.display();
            tracing::warn!(
                name: "trace.dropped",
                dropped,
                %folder,
                "runs end faster than they can be recorded; some are not"
            );
        }
    }
}
