//! Masks card and phone numbers: every digit becomes 0, so that a parser reads the rest as it did before.

mod numbers;
mod response;
mod strings;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Range;

use serde::de::IgnoredAny;

use numbers::{Number, What, digits, find, is_compact_date};
use strings::{Char, characters, path, walk};

/// Members of arguments and results that name things: whoever reads the trace looks for them.
const NAMES: [&str; 8] = ["receipt_id", "digest", "response", "key", "kind", "code", "content_type", "artifact"];

/// A text with its numbers masked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Redacted {
    pub(super) text: String,
    /// Each string that was changed.
    pub(super) fields: Vec<Field>,
}

/// A string that was changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// Its path; empty for a text that is no JSON.
    pub(super) path: String,
    /// `card number` or `phone number`.
    pub(super) what: &'static str,
}

/// Numbers that were found, as digits: the same number is masked wherever it turns up again.
pub(super) type Known = HashSet<String>;

/// Masks an OCR response; none where there is nothing to mask. What is no JSON is taken as one text.
pub(super) fn response(json: &str, known: &mut Known) -> Option<Redacted> {
    if serde_json::from_str::<IgnoredAny>(json).is_err() {
        return text(json, known);
    }
    let mut masks = Masks::new(json);
    response::mask(json, &mut masks);
    let redacted = masks.apply();
    known.extend(masks.known);
    redacted
}

/// An OCR response as a recorder that redacts writes it; none where there is nothing to mask.
pub fn redacted(response: &str) -> Option<String> {
    self::response(response, &mut Known::new()).map(|redacted| redacted.text)
}

/// Masks the strings of an event's arguments or result; none where there is nothing to mask.
pub(super) fn value(json: &str, known: &Known) -> Option<Redacted> {
    let mut masks = Masks::new(json);
    masks.known.clone_from(known);
    walk(json, |levels, place| {
        let name = levels.iter().rev().find_map(|level| level.key);
        if has_digits(json, &place) && !name.is_some_and(|name| NAMES.contains(&name)) {
            masks.string(place, || path(levels), false);
        }
    });
    masks.apply()
}

/// Masks a text that is no JSON; none where there is nothing to mask.
pub(super) fn text(text: &str, known: &Known) -> Option<Redacted> {
    let mut masks = Masks::new(text);
    masks.known.clone_from(known);
    let mut at = 0;
    let characters = text.chars().map(|c| {
        let found = Char { c, at, len: c.len_utf8() };
        at += found.len;
        found
    });
    let characters: Vec<Char> = characters.collect();
    masks.characters(0, &characters, String::new, false);
    masks.apply()
}

/// Whether a number that is worth a look can be in there: nearly no string of a response has one.
fn has_digits(json: &str, place: &Range<usize>) -> bool {
    json.get(place.clone()).unwrap_or_default().bytes().filter(u8::is_ascii_digit).count() >= 8
}

/// What is to be changed in one text.
struct Masks<'a> {
    json: &'a str,
    /// Bytes that write a digit.
    digits: BTreeSet<(usize, usize)>,
    /// By where the string begins.
    fields: BTreeMap<usize, Field>,
    known: Known,
}

impl<'a> Masks<'a> {
    fn new(json: &'a str) -> Self {
        Self { json, digits: BTreeSet::new(), fields: BTreeMap::new(), known: Known::new() }
    }

    /// Masks what is found in the string at this place. `labelled`: a phone number is expected there.
    fn string(&mut self, place: Range<usize>, path: impl Fn() -> String, labelled: bool) -> Vec<Number> {
        let characters = characters(self.json, place.clone());
        self.characters(place.start, &characters, path, labelled)
    }

    fn characters(
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
    fn number(&mut self, start: usize, characters: &[Char], path: impl Fn() -> String, what: What) {
        // What is all zeros already reads as masked; saying so again would make no line of a trace shorter.
        let digits = characters.iter().filter(|found| found.c.is_ascii_digit() && found.c != '0');
        let before = self.digits.len();
        self.digits.extend(digits.map(|found| (found.at, found.len)));
        if self.digits.len() > before {
            self.fields.entry(start).or_insert_with(|| Field { path: path(), what: what.as_str() });
        }
    }

    fn apply(&mut self) -> Option<Redacted> {
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
