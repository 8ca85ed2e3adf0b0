//! Masks card and phone numbers: every digit becomes 0, so that a parser reads the rest as it did before.

mod masks;
mod numbers;
mod response;
mod strings;

use serde::de::IgnoredAny;

pub(super) use self::masks::{Field, Known};
use self::masks::{Masks, Redacted, has_digits};
use self::strings::{Char, path, walk};

/// Members of arguments and results that name things: whoever reads the trace looks for them.
const NAMES: [&str; 8] = ["receipt_id", "digest", "response", "key", "kind", "code", "content_type", "artifact"];

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
