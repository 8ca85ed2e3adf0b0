//! The strings of a JSON text, where they stand: masking changes digits in place and leaves every other byte alone.

use std::ops::Range;

/// An object or array around a value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Level<'a> {
    /// Where it begins in the text: what tells it from its siblings.
    pub(super) start: usize,
    /// The member that we are in, as it is written; none in an array.
    pub(super) key: Option<&'a str>,
    /// Which element we are in, in an array.
    pub(super) index: usize,
}

/// One character of a string, and the bytes that write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Char {
    pub(super) c: char,
    /// Offset in the JSON text.
    pub(super) at: usize,
    /// 1 to 4 bytes as it is; 2, 6 or 12 as an escape.
    pub(super) len: usize,
}

/// Calls `visit` for every string that is a value, outermost level first, with its bytes between the quotes. The text
/// must be JSON.
pub(super) fn walk<'a>(json: &'a str, mut visit: impl FnMut(&[Level<'a>], Range<usize>)) {
    let mut levels: Vec<Level> = Vec::new();
    let mut objects: Vec<bool> = Vec::new();
    let mut key_next = false;
    let mut rest = json.bytes().enumerate();
    while let Some((at, byte)) = rest.next() {
        match byte {
            b'{' | b'[' => {
                let key = (byte == b'{').then_some("");
                levels.push(Level { start: at, key, index: 0 });
                objects.push(byte == b'{');
                key_next = byte == b'{';
            }
            b'}' | b']' => {
                levels.pop();
                objects.pop();
                key_next = false;
            }
            b',' => {
                key_next = objects.last() == Some(&true);
                if let Some(level) = levels.last_mut() {
                    level.index += 1;
                }
            }
            b':' => key_next = false,
            b'"' => {
                let mut end = at + 1;
                while let Some((place, byte)) = rest.next() {
                    end = place;
                    match byte {
                        b'"' => break,
                        b'\\' => drop(rest.next()),
                        _ => {}
                    }
                }
                if !key_next {
                    visit(&levels, at + 1..end);
                } else if let (Some(level), Some(key)) = (levels.last_mut(), json.get(at + 1..end)) {
                    level.key = Some(key);
                }
            }
            _ => {}
        }
    }
}

/// Where a value is, as people write it: `Blocks[12].Text`.
pub(super) fn path(levels: &[Level]) -> String {
    let mut path = String::new();
    for level in levels {
        match level.key {
            Some(key) if path.is_empty() => path.push_str(key),
            Some(key) => path.extend([".", key]),
            None => path.push_str(&format!("[{}]", level.index)),
        }
    }
    path
}

/// The characters of a string that stands at this place of the JSON text.
pub(super) fn characters(json: &str, place: Range<usize>) -> Vec<Char> {
    let mut characters = Vec::new();
    let mut rest = json.get(place.clone()).unwrap_or_default();
    let mut at = place.start;
    while let Some(c) = rest.chars().next() {
        let (c, len) = if c == '\\' { escape(rest) } else { (c, c.len_utf8()) };
        characters.push(Char { c, at, len });
        at += len;
        rest = rest.get(len..).unwrap_or_default();
    }
    characters
}

fn escape(text: &str) -> (char, usize) {
    let unit = |text: &str| text.get(2..6).and_then(|hex| u32::from_str_radix(hex, 16).ok());
    match text.as_bytes().get(1) {
        Some(b'u') => match unit(text).and_then(char::from_u32) {
            Some(c) => (c, 6),
            // Half of a pair; no digit, and nothing else matters here.
            None => (char::REPLACEMENT_CHARACTER, 6),
        },
        Some(b'n' | b't' | b'r' | b'f' | b'b') => (' ', 2),
        Some(&other) => (char::from(other), 2),
        None => (char::REPLACEMENT_CHARACTER, 1),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn every_string_value_is_found_with_its_path() {
        let json = r#"{"a": "x\"]}", "b" :[1, "y", {"c":"z","d":{}}, [], ["\\"]], "e":null, "f":"" }"#;
        let mut found = Vec::new();
        walk(json, |levels, place| found.push((path(levels), &json[place])));
        let expected = [("a", r#"x\"]}"#), ("b[1]", "y"), ("b[2].c", "z"), ("b[4][0]", r"\\"), ("f", "")]
            .map(|(p, v)| (p.to_owned(), v));
        assert_eq!(found, expected);
    }

    #[test]
    fn characters_know_their_bytes() {
        let json = r#"["é\u0031\n\"7"]"#;
        let found: Vec<(char, &str)> =
            characters(json, 2..json.len() - 2).iter().map(|c| (c.c, &json[c.at..c.at + c.len])).collect();
        assert_eq!(found, [('é', "é"), ('1', r"\u0031"), (' ', r"\n"), ('"', r#"\""#), ('7', "7")]);
    }
}
