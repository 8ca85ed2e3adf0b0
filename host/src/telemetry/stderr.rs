//! The one way to stderr. A thread of its own writes what others only queue: whoever reads the log may be slow, stopped or
//! dead, and neither the work nor a signal waits for it. What cannot be written is dropped and counted.

use std::collections::VecDeque;
use std::fmt::Display;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes that may wait to be written.
const WAITING: usize = 4 << 20;
/// A single write that takes longer than this waits for a reader that does not read.
const STUCK: Duration = Duration::from_millis(500);
/// How often a stderr that takes nothing at the moment (a pipe that somebody made non-blocking) is tried again.
const AGAIN: Duration = Duration::from_millis(10);

/// What goes to stderr, as a writer that never fails and never waits. One call of `write` is one piece that stays whole.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(stderr) = STDERR.as_ref() {
            stderr.push(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Says a line on stderr.
pub fn say(line: impl Display) {
    print(format!("{line}\n"));
}

/// Prints a text on stderr as it is.
pub fn print(text: impl AsRef<str>) {
    let _ = Stderr.write(text.as_ref().as_bytes());
}

/// Waits until all is written that was said so far, as long as somebody reads it and this time is not over.
pub fn flush(patience: Duration) {
    if let Some(stderr) = STDERR.as_ref() {
        stderr.flush(patience);
    }
}

/// Pieces (lines of the log, most of them) that could not be written since the start of the process.
pub fn dropped() -> u64 {
    STDERR.as_ref().map_or(0, |stderr| stderr.lock().dropped)
}

/// None where no thread can be had: then nobody is told anything, and the work goes on.
static STDERR: LazyLock<Option<Queued>> = LazyLock::new(|| {
    #[allow(clippy::disallowed_methods)]
    Queued::start(io::stderr(), WAITING, told).ok()
});

/// Says what is missing, once all that waited is written. It goes the same way as everything else.
fn told(dropped: u64) {
    tracing::warn!(name: "log.dropped", dropped, "lines of this log could not be written, and are lost");
}

/// A queue, and the thread that writes what is in it.
struct Queued(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    most: usize,
}

#[derive(Default)]
struct Queue {
    pieces: VecDeque<Vec<u8>>,
    bytes: usize,
    /// When the write began that goes on at this moment.
    writing: Option<Instant>,
    dropped: u64,
    /// How many of these were told.
    told: u64,
}

impl Queued {
    fn start(to: impl Write + Send + 'static, most: usize, told: fn(u64)) -> io::Result<Self> {
        let shared = Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new(), most });
        let of_thread = Arc::clone(&shared);
        std::thread::Builder::new().name("stderr".to_owned()).spawn(move || of_thread.work(to, told))?;
        Ok(Self(shared))
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock()
    }

    fn push(&self, bytes: &[u8]) {
        let mut queue = self.lock();
        if queue.bytes + bytes.len() > self.0.most {
            queue.dropped += 1;
            return;
        }
        queue.bytes += bytes.len();
        queue.pieces.push_back(bytes.to_vec());
        drop(queue);
        self.0.changed.notify_all();
    }

    fn flush(&self, patience: Duration) {
        let end = Instant::now() + patience;
        let mut queue = self.lock();
        loop {
            let now = Instant::now();
            let idle = queue.pieces.is_empty() && queue.writing.is_none();
            let until = queue.writing.map_or(end, |began| end.min(began + STUCK));
            if idle || now >= until {
                return;
            }
            queue = self.0.changed.wait_timeout(queue, until - now).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, mut to: impl Write, told: fn(u64)) {
        // Half of a piece stands there: the next one begins on a line of its own.
        let mut torn = false;
        loop {
            let piece = self.next();
            let written = if torn { write(&mut to, b"\n").0 } else { Ok(()) };
            let (result, some) = match written {
                Ok(()) => write(&mut to, &piece),
                Err(error) => (Err(error), torn),
            };
            torn = result.is_err() && some;
            let mut queue = self.lock();
            queue.writing = None;
            queue.bytes -= piece.len();
            queue.dropped += u64::from(result.is_err());
            let news =
                (result.is_ok() && queue.pieces.is_empty() && queue.dropped > queue.told).then_some(queue.dropped);
            queue.told = news.unwrap_or(queue.told);
            drop(queue);
            self.changed.notify_all();
            if let Some(dropped) = news {
                told(dropped);
            }
        }
    }

    fn next(&self) -> Vec<u8> {
        let mut queue = self.lock();
        loop {
            if let Some(piece) = queue.pieces.pop_front() {
                queue.writing = Some(Instant::now());
                // Whoever waits for the end of it now knows since when.
                self.changed.notify_all();
                return piece;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Writes all of it, and tells whether some of it was written.
fn write(to: &mut impl Write, mut bytes: &[u8]) -> (io::Result<()>, bool) {
    let mut some = false;
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), some),
            Ok(count) => {
                some = true;
                bytes = bytes.get(count..).unwrap_or_default();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(AGAIN),
            Err(error) => return (Err(error), some),
        }
    }
    (Ok(()), some)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// What each write is answered with; all written goes into the text. None waits until the other end is gone.
    struct Scripted {
        answers: Receiver<io::Result<usize>>,
        text: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = self.answers.recv().unwrap_or(Ok(usize::MAX))?.min(bytes.len());
            self.text.lock().unwrap().extend(bytes.iter().take(count));
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    type Answers = SyncSender<io::Result<usize>>;

    fn scripted(most: usize) -> (Queued, Answers, Arc<Mutex<Vec<u8>>>) {
        let (answer, answers) = sync_channel(100);
        let text = Arc::new(Mutex::new(Vec::new()));
        let to = Scripted { answers, text: Arc::clone(&text) };
        (Queued::start(to, most, |_| {}).unwrap(), answer, text)
    }

    fn text(of: &Mutex<Vec<u8>>) -> String {
        String::from_utf8(of.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_counted_and_nobody_waits() {
        let (stderr, answer, written) = scripted(10);
        for piece in ["one\n", "two\n", "three\n", "4\n"] {
            stderr.push(piece.as_bytes());
        }
        assert_eq!(stderr.lock().dropped, 1);
        // Nobody reads: this comes back long before its patience ends, or the test never does.
        stderr.flush(Duration::from_secs(1 << 40));
        drop(answer);
        let end = Instant::now() + PATIENCE;
        while text(&written) != "one\ntwo\n4\n" && Instant::now() < end {
            std::thread::sleep(AGAIN);
        }
        stderr.push(b"five\n");
        stderr.flush(PATIENCE);
        assert_eq!(text(&written), "one\ntwo\n4\nfive\n");
    }

    #[test]
    fn errors_are_survived_and_what_comes_after_half_a_line_begins_a_new_one() {
        let (stderr, answer, written) = scripted(1000);
        let full = || Err(io::Error::from(io::ErrorKind::StorageFull));
        let passing = [io::ErrorKind::Interrupted, io::ErrorKind::WouldBlock].map(|kind| Err(io::Error::from(kind)));
        for result in [full(), Ok(2), full(), full()].into_iter().chain(passing) {
            answer.send(result).unwrap();
        }
        drop(answer);
        for piece in ["lost\n", "half\n", "gone\n", "whole\n", "next\n"] {
            stderr.push(piece.as_bytes());
        }
        stderr.flush(PATIENCE);
        assert_eq!(text(&written), "ha\nwhole\nnext\n");
        assert_eq!(stderr.lock().dropped, 3);
    }

    #[test]
    fn who_reads_again_is_told_what_is_missing() {
        static TOLD: Mutex<Vec<u64>> = Mutex::new(Vec::new());
        let (answer, answers) = sync_channel(100);
        let to = Scripted { answers, text: Arc::default() };
        let stderr = Queued::start(to, 1000, |dropped| TOLD.lock().unwrap().push(dropped)).unwrap();
        for _ in 0..2 {
            answer.send(Err(io::ErrorKind::BrokenPipe.into())).unwrap();
            stderr.push(b"lost\n");
        }
        drop(answer);
        for _ in 0..3 {
            stderr.push(b"read\n");
            stderr.flush(PATIENCE);
        }
        assert!(TOLD.lock().unwrap().iter().all(|dropped| *dropped == 2) && TOLD.lock().unwrap().len() == 1);
    }
}
