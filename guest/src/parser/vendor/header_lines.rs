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
        let words = Words::new(&text);
        let kind = header::classify(&text, &words);
        Self { line, text, words, kind }
    }
}

/// The lines above the items.
pub(super) fn read<'a>(rows: &'a [Row<'a>]) -> Vec<HeaderLine<'a>> {
    let mut top: Vec<HeaderLine> = Vec::new();
    for row in rows {
        let text = row.text();
        let priced = amounts::scan(&text).iter().any(|a| a.has_cents() || a.mark.is_some());
        let named = text.chars().filter(|c| c.is_alphabetic()).count() > 3;
        if header::is_items_head(&Words::new(&text)) || (priced && named) || top.len() >= REACH {
            break;
        }
        // A row may have any number of cells.
        top.extend(row.cells.iter().take(REACH).map(|&line| HeaderLine::new(line)));
    }
    top
}
