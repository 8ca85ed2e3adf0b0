//! What is to be masked in one text: which digits, in which of its strings.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Range;

use super::numbers::{Number, What, digits, find, is_compact_date};
use super::strings::{Char, characters};

/// A text with its numbers masked.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::trace) struct Redacted {
    pub(in crate::trace) text: String,
    /// Each string that was changed.
    pub(in crate::trace) fields: Vec<Field>,
}

/// A string that was changed.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::trace) struct Field {
    /// Its path; empty for a text that is no JSON.
    pub(in crate::trace) path: String,
    /// `card number` or `phone number`.
    pub(in crate::trace) what: &'static str,
}

/// Numbers that were found, as digits: the same number is masked wherever it turns up again.
pub(in crate::trace) type Known = HashSet<String>;

/// What is to be changed in one text.
pub(super) struct Masks<'a> {
    json: &'a str,
    /// Bytes that write a digit.
    digits: BTreeSet<(usize, usize)>,
    /// By where the string begins.
    fields: BTreeMap<usize, Field>,
    pub(super) known: Known,
}

impl<'a> Masks<'a> {
    pub(super) fn new(json: &'a str) -> Self {
        Self { json, digits: BTreeSet::new(), fields: BTreeMap::new(), known: Known::new() }
    }

    /// Masks what is found in the string at this place. `labelled`: a phone number is expected there.
    pub(super) fn string(&mut self, place: Range<usize>, path: impl Fn() -> String, labelled: bool) -> Vec<Number> {
        let characters = characters(self.json, place.clone());
        self.characters(place.start, &characters, path, labelled)
    }

    pub(super) fn characters(
        &mut self,
        start: usize,
        characters: &[Char],
        path: impl Fn() -> String,
        labelled: bool,
    ) -> Vec<Number> {
        let text: Vec<char> = characters.iter().map(|found| found.c).collect();
        let found = find(&text, labelled, &self.known);
        for number in &found {
            self.number(start, characters.get(number.place.clone()).unwrap_or_default(), &path, number.what);
            let digits = digits(&text, &number.place);
            // Short ones and days would be found where they are something else.
            if digits.len() >= 8 && !is_compact_date(&digits) && digits.bytes().any(|digit| digit != b'0') {
                self.known.insert(digits);
            }
        }
        found
    }

    /// Masks these characters of the string that begins at `start`.
    pub(super) fn number(&mut self, start: usize, characters: &[Char], path: impl Fn() -> String, what: What) {
        // What is all zeros already reads as masked; saying so again would make no line of a trace shorter.
        let digits = characters.iter().filter(|found| found.c.is_ascii_digit() && found.c != '0');
        let before = self.digits.len();
        self.digits.extend(digits.map(|found| (found.at, found.len)));
        if self.digits.len() > before {
            self.fields.entry(start).or_insert_with(|| Field { path: path(), what: what.as_str() });
        }
    }

    pub(super) fn apply(&mut self) -> Option<Redacted> {
        if self.digits.is_empty() {
            return None;
        }
        let mut text = String::with_capacity(self.json.len());
        let mut done = 0;
        for &(at, len) in &self.digits {
            text.push_str(self.json.get(done..at).unwrap_or_default());
            text.push_str(if len == 1 { "0" } else { "\\u0030" });
            done = at + len;
        }
        text.push_str(self.json.get(done..).unwrap_or_default());
        Some(Redacted { text, fields: std::mem::take(&mut self.fields).into_values().collect() })
    }
}

/// Whether a number that is worth a look can be in there: nearly no string of a response has one.
pub(super) fn has_digits(json: &str, place: &Range<usize>) -> bool {
    json.get(place.clone()).unwrap_or_default().bytes().filter(u8::is_ascii_digit).count() >= 8
}
