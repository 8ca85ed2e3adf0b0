//! OCR answers that were paid for and that the artifact bucket did not take: kept in memory, so that the next attempt stores
//! them and does not pay again.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is worth knowing about an artifact, as S3's metadata.
pub type Metadata = [(&'static str, String); 4];

/// So much is kept. An answer for a page has some 100 KiB.
const MOST_BYTES: usize = 64 << 20;

/// One answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub key: String,
    pub body: Arc<[u8]>,
    pub metadata: Metadata,
}

/// Keeps what was paid for until it is stored.
#[derive(Debug, Default)]
pub struct Unstored {
    /// The oldest first.
    answers: Mutex<VecDeque<Answer>>,
    /// The last answer was not taken, and nothing was since.
    in_doubt: AtomicBool,
}

impl Unstored {
    /// Keeps an answer that was not taken.
    pub fn keep(&self, answer: Answer) {
        self.in_doubt.store(true, Ordering::Release);
        let mut answers = self.lock();
        if !answers.iter().any(|kept| kept.key == answer.key) {
            answers.push_back(answer);
        }
        while answers.iter().map(|answer| answer.body.len()).sum::<usize>() > MOST_BYTES {
            let Some(lost) = answers.pop_front() else { return };
            tracing::error!(
                name: "artifact.lost",
                key = lost.key,
                "an OCR answer that was paid for cannot be stored, and there are too many to keep"
            );
        }
    }

    /// Forgets one that was taken.
    pub fn stored(&self, key: &str) {
        self.lock().retain(|answer| answer.key != key);
        self.trust();
    }

    /// Forgets those in this folder: nobody will ask for them.
    pub fn forget(&self, folder: &str) {
        self.lock().retain(|answer| !answer.key.starts_with(folder));
    }

    /// Something was taken.
    pub fn trust(&self) {
        self.in_doubt.store(false, Ordering::Release);
    }

    /// Whether something should be stored before more is paid for.
    pub fn is_in_doubt(&self) -> bool {
        self.in_doubt.load(Ordering::Acquire)
    }

    /// The one of this key.
    pub fn get(&self, key: &str) -> Option<Arc<[u8]>> {
        self.lock().iter().find(|answer| answer.key == key).map(|answer| Arc::clone(&answer.body))
    }

    /// All of them.
    pub fn all(&self) -> Vec<Answer> {
        self.lock().iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Answer>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
