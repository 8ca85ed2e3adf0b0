//! What can go wrong outside of the sandbox, classified once. The host classifies, the component decides.

use std::fmt;

use serde::{Deserialize, Serialize};

include!("../../wit/failure_kinds.rs");
pub(crate) use failure_kinds;

macro_rules! kind_type {
    ($($kind:ident = $name:literal,)*) => {
        /// The kinds of the contract's `failure-kind`, with the same meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[allow(missing_docs, reason = "the contract documents them")]
        pub enum FailureKind {
            $(#[serde(rename = $name)] $kind,)*
        }

        impl FailureKind {
            /// All of them, in the contract's order.
            pub const ALL: [Self; [$($name,)*].len()] = [$(Self::$kind,)*];

            /// The name that the contract, the database and the logs use.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }
        }
    };
}

failure_kinds!(kind_type);

impl FailureKind {
    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Whether it says nothing of the receipt, nor of who worked it.
    pub fn is_of_a_dependency(self) -> bool {
        match self {
            Self::Throttled | Self::TimedOut | Self::Unavailable | Self::AccessDenied | Self::LeaseLost => true,
            Self::NotFound
            | Self::UnsupportedDocument
            | Self::DocumentTooLarge
            | Self::BadDocument
            | Self::BadLocation
            | Self::InvalidRequest
            | Self::BadResponse
            | Self::LimitExceeded
            | Self::Internal => false,
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

    fn names() -> Vec<&'static str> {
        FailureKind::ALL.into_iter().map(FailureKind::as_str).collect()
    }

    #[test]
    fn the_contract_declares_the_same_kinds_in_the_same_order() {
        let contract = include_str!("../../wit/types.wit");
        let cases = contract.split_once("enum failure-kind {").and_then(|(_, rest)| rest.split_once('}'));
        let cases = cases.map_or("", |(cases, _)| cases).lines().map(str::trim);
        let declared: Vec<&str> =
            cases.filter_map(|line| line.strip_suffix(',')).filter(|line| !line.starts_with('/')).collect();
        assert_eq!(declared, names());
    }

    #[test]
    fn the_documentation_says_what_becomes_of_each_kind() {
        let page = include_str!("../../docs/failures.md");
        let rows = page.lines().skip_while(|line| !line.starts_with("| kind | what becomes")).skip(2);
        let kinds = rows.take_while(|line| line.starts_with('|')).filter_map(|row| row.split('|').nth(1));
        let mut documented: Vec<&str> = kinds.flat_map(|kinds| kinds.split('`').skip(1).step_by(2)).collect();
        let mut expected = names();
        documented.sort_unstable();
        expected.sort_unstable();
        assert_eq!(documented, expected);
    }

    #[test]
    fn a_kind_is_written_by_its_name() {
        for kind in FailureKind::ALL {
            assert_eq!(serde_json::to_value(kind).ok(), Some(kind.as_str().into()));
            assert_eq!(FailureKind::parse(kind.as_str()), Some(kind));
        }
    }

    #[test]
    fn messages_are_one_bounded_line() {
        let failure = Failure::new(FailureKind::Internal, "c".repeat(300), format!("a\nb\0{}", "é".repeat(900)));
        assert_eq!(failure.code.len(), 100);
        assert!(failure.message.starts_with("a b é"));
        assert!(failure.message.len() <= 1000);
        assert_eq!(Failure::new(FailureKind::Internal, "c", "a\u{202E}gpj\u{2028}b").message, "a gpj b");
    }
}
