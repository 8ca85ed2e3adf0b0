//! What the folder of traces holds, by age: which trace goes first, and which responses no trace needs any more.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

/// Traces and responses by name, with their sizes.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    /// Name and bytes; the first is the oldest.
    traces: BTreeMap<String, u64>,
    responses: HashMap<String, Response>,
    /// Last use and digest; the first can go first.
    by_use: BTreeSet<(String, String)>,
    bytes: u64,
}

#[derive(Debug)]
pub(super) struct Response {
    pub(super) bytes: u64,
    /// Name of the newest trace that refers to it, or a time that is later than that.
    pub(super) last_use: String,
    /// When the file was last marked as used, if this process did it.
    pub(super) touched: Option<Instant>,
}

impl Inventory {
    /// Bytes of all traces and responses.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn has_trace(&self, name: &str) -> bool {
        self.traces.contains_key(name)
    }

    pub(super) fn response(&self, digest: &str) -> Option<&Response> {
        self.responses.get(digest)
    }

    pub(super) fn put_trace(&mut self, name: &str, bytes: u64) {
        let before = self.traces.insert(name.to_owned(), bytes).unwrap_or_default();
        self.bytes = (self.bytes + bytes).saturating_sub(before);
    }

    /// A response that was there before keeps its later use: a run that began earlier may end later.
    pub(super) fn put_response(&mut self, digest: &str, mut response: Response) {
        if let Some(before) = self.responses.remove(digest) {
            self.bytes = self.bytes.saturating_sub(before.bytes);
            self.by_use.remove(&(before.last_use.clone(), digest.to_owned()));
            response.last_use = response.last_use.max(before.last_use);
        }
        self.bytes += response.bytes;
        self.by_use.insert((response.last_use.clone(), digest.to_owned()));
        self.responses.insert(digest.to_owned(), response);
    }

    pub(super) fn oldest_trace(&self) -> Option<&str> {
        self.traces.first_key_value().map(|(name, _)| name.as_str())
    }

    pub(super) fn take_oldest_trace(&mut self) -> Option<String> {
        let (name, bytes) = self.traces.pop_first()?;
        self.bytes = self.bytes.saturating_sub(bytes);
        Some(name)
    }

    /// A response that was last used by a trace that is gone.
    pub(super) fn take_unused_response(&mut self) -> Option<String> {
        let (last_use, _) = self.by_use.first()?;
        if self.oldest_trace().is_some_and(|oldest| **last_use >= *oldest) {
            return None;
        }
        let (_, digest) = self.by_use.pop_first()?;
        let response = self.responses.remove(&digest);
        self.bytes = self.bytes.saturating_sub(response.map_or(0, |response| response.bytes));
        Some(digest)
    }
}
