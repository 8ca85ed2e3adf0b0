//! What can go wrong outside of the sandbox, classified once. The host classifies, the component decides.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The kinds of the contract's `failure-kind`, with the same meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// Asked to call less often.
    Throttled,
    /// No answer within the time allowed.
    TimedOut,
    /// Down, unreachable, or a fault of its own.
    Unavailable,
    /// The credentials may not do this.
    AccessDenied,
    /// The named thing is not there.
    NotFound,
    /// A format that the OCR service does not read.
    UnsupportedDocument,
    /// Larger than the OCR service takes.
    DocumentTooLarge,
    /// Damaged, empty, or not an image.
    BadDocument,
    /// The receipt names its image in a way that cannot or must not be followed.
    BadLocation,
    /// Refused as malformed.
    InvalidRequest,
    /// Another worker has the job, or the receipt is gone.
    LeaseLost,
    /// The response could not be understood.
    BadResponse,
    /// A limit of the sandbox was reached.
    LimitExceeded,
    /// Anything else.
    Internal,
}

impl FailureKind {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Throttled,
        Self::TimedOut,
        Self::Unavailable,
        Self::AccessDenied,
        Self::NotFound,
        Self::UnsupportedDocument,
        Self::DocumentTooLarge,
        Self::BadDocument,
        Self::BadLocation,
        Self::InvalidRequest,
        Self::LeaseLost,
        Self::BadResponse,
        Self::LimitExceeded,
        Self::Internal,
    ];

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Whether it says nothing of the receipt, nor of who worked it.
    pub fn is_of_the_surroundings(self) -> bool {
        matches!(self, Self::Throttled | Self::TimedOut | Self::Unavailable | Self::AccessDenied | Self::LeaseLost)
    }

    /// The name that the contract, the database and the logs use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::TimedOut => "timed-out",
            Self::Unavailable => "unavailable",
            Self::AccessDenied => "access-denied",
            Self::NotFound => "not-found",
            Self::UnsupportedDocument => "unsupported-document",
            Self::DocumentTooLarge => "document-too-large",
            Self::BadDocument => "bad-document",
            Self::BadLocation => "bad-location",
            Self::InvalidRequest => "invalid-request",
            Self::LeaseLost => "lease-lost",
            Self::BadResponse => "bad-response",
            Self::LimitExceeded => "limit-exceeded",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One classified failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{kind} ({code}): {message}")]
pub struct Failure {
    /// What to decide on.
    pub kind: FailureKind,
    /// Machine-readable code, at most 100 bytes.
    pub code: String,
    /// One line for a person, without credentials.
    pub message: String,
}

impl Failure {
    /// Makes a failure that is fit for the database and the log: one line, bounded, without NUL.
    pub fn new(kind: FailureKind, code: impl AsRef<str>, message: impl AsRef<str>) -> Self {
        Self { kind, code: one_line(code.as_ref(), 100), message: one_line(message.as_ref(), 1000) }
    }

    /// The job is someone else's now.
    pub fn lease_lost() -> Self {
        Self::new(
            FailureKind::LeaseLost,
            "queue.LeaseLost",
            "another worker has the job now, or the receipt was deleted or its image replaced",
        )
    }
}

/// An error with its causes as one line, none said twice.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}

fn one_line(text: &str, max_bytes: usize) -> String {
    let mut line: String = text.chars().map(|c| if c.is_control() || reorders(c) { ' ' } else { c }).collect();
    if line.len() > max_bytes {
        let end = (0..=max_bytes).rev().find(|&i| line.is_char_boundary(i)).unwrap_or(0);
        line.truncate(end);
    }
    line
}

/// Unicode's direction marks, embeddings, overrides and isolates, and its line and paragraph separators: with them a text
/// shows itself as another than it is.
pub(crate) fn reorders(c: char) -> bool {
    matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_one_bounded_line() {
        let failure = Failure::new(FailureKind::Internal, "c".repeat(300), format!("a\nb\0{}", "é".repeat(900)));
        assert_eq!(failure.code.len(), 100);
        assert!(failure.message.starts_with("a b é"));
        assert!(failure.message.len() <= 1000);
        assert_eq!(Failure::new(FailureKind::Internal, "c", "a\u{202E}gpj\u{2028}b").message, "a gpj b");
    }
}
