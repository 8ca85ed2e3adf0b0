//! The lines at the top of a receipt, down to the items, among which the vendor's name is looked for.

use super::super::amounts;
use super::super::header::{self, LineKind};
use super::super::rows::Row;
use super::super::words::Words;
use super::ocr_correction;
use crate::textract::Line;

/// How many lines from the top a name may stand.
const REACH: usize = 14;

/// A line at the top, and what it is.
pub(super) struct HeaderLine<'a> {
    pub(super) line: &'a Line,
    /// As it was probably printed.
    pub(super) text: String,
    pub(super) words: Words,
    pub(super) kind: LineKind,
}

impl<'a> HeaderLine<'a> {
    fn new(line: &'a Line) -> Self {
        let text = ocr_correction::correct(&line.text, line.confidence);
        let text = without_welcome(&text).to_owned();
        let words = Words::new(&text);
        let kind = header::classify(&text, &words);
        Self { line, text, words, kind }
    }
}

/// `Welcome to Shopwell`: what follows the greeting is the name.
fn without_welcome(text: &str) -> &str {
    const GREETINGS: [&str; 4] =
        ["welcome to ", "thank you for visiting ", "thank you for shopping at ", "thank you for dining at "];
    let name = GREETINGS.iter().find_map(|greeting| {
        let head = text.get(..greeting.len())?;
        head.eq_ignore_ascii_case(greeting).then(|| text.get(greeting.len()..)).flatten()
    });
    let is_name = |name: &&str| {
        let first = Words::new(name);
        !["OUR", "THE", "YOUR", "MY", "US"].iter().any(|word| first.starts_with(word)) && header::own_words(&first) > 0
    };
    name.filter(is_name).unwrap_or(text)
}

/// The lines above the items.
pub(super) fn read<'a>(rows: &'a [Row<'a>]) -> Vec<HeaderLine<'a>> {
    let mut top: Vec<HeaderLine> = Vec::new();
    for row in rows {
        let text = row.text();
        let priced = amounts::scan(&text).iter().any(|a| a.has_cents() || a.mark.is_some());
        let letters = |text: &str| text.chars().filter(|c| c.is_alphabetic()).count();
        let item = row.cells.first().map_or("", |cell| cell.text.as_str());
        let is_item = row.cells.len() > 1 && letters(item) > 2 && !item.contains(|c: char| c.is_ascii_digit());
        let named = letters(&text) > 3 || is_item;
        if header::is_items_head(&Words::new(&text)) || (priced && named) || top.len() >= REACH {
            break;
        }
        // A row may have any number of cells.
        top.extend(row.cells.iter().take(REACH).map(|&line| HeaderLine::new(line)));
    }
    top
}
