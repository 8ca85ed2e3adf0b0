//! Lines of text → rows as the eye sees them: what stands at the same height reads from left to right.

use crate::receipt::{BoundingBox, Place};
use crate::textract::Line;

/// What stands at one height of a page.
#[derive(Clone, Debug)]
pub(super) struct Row<'a> {
    /// The lines of it, from left to right; at least one.
    pub(super) cells: Vec<&'a Line>,
    /// The page, from 1.
    pub(super) page: u32,
}

impl<'a> Row<'a> {
    /// All of its text, cells separated by a wide space.
    pub(super) fn text(&self) -> String {
        let texts: Vec<&str> = self.cells.iter().map(|cell| cell.text.as_str()).collect();
        texts.join("  ")
    }

    /// How sure the OCR is of it, 0 to 100: as sure as of its worst cell.
    pub(super) fn confidence(&self) -> f32 {
        self.cells.iter().map(|cell| cell.confidence).fold(100.0, f32::min)
    }

    /// The box around it, where its cells have one.
    pub(super) fn bounds(&self) -> Option<BoundingBox> {
        self.cells.iter().filter_map(|cell| cell.bounds).reduce(BoundingBox::union)
    }

    /// Where it is.
    pub(super) fn place(&self) -> Option<Place> {
        self.bounds().map(|bounds| Place { page: self.page, bounds })
    }
}

/// Groups the lines of a document into rows, from top to bottom, page by page.
pub(super) fn group(lines: &[Line]) -> Vec<Row<'_>> {
    let mut sorted: Vec<&Line> = lines.iter().collect();
    // Stable: lines without a box keep the response's order, which is the reading order, at the end of their page.
    sorted.sort_by(|a, b| a.page.cmp(&b.page).then(height(a).total_cmp(&height(b))));
    let mut rows: Vec<Row> = Vec::new();
    for line in sorted {
        match home(&mut rows, line) {
            Some(row) => row.cells.push(line),
            None => rows.push(Row { cells: vec![line], page: line.page }),
        }
    }
    for row in &mut rows {
        row.cells.sort_by(|a, b| left(a).total_cmp(&left(b)));
    }
    rows
}

/// Cells of a row. No table on paper has as many columns.
const WIDEST: usize = 100;
/// How many of the last rows a line may still belong to: a skewed photo interleaves neighbouring rows.
const OPEN_ROWS: usize = 4;

/// The row that a line belongs to: the one whose nearest cell stands at its height.
fn home<'r, 'a>(rows: &'r mut [Row<'a>], line: &Line) -> Option<&'r mut Row<'a>> {
    let bounds = line.bounds?;
    let start = rows.len().saturating_sub(OPEN_ROWS);
    let open = rows.get_mut(start..)?;
    let mut best: Option<(f32, usize)> = None;
    for (index, row) in open.iter().enumerate() {
        if row.page != line.page || row.cells.len() >= WIDEST {
            continue;
        }
        let boxes = row.cells.iter().filter_map(|cell| cell.bounds);
        // The nearest cell sideways: in a skewed photo the far ones are higher or lower.
        let Some(near) = boxes.min_by(|a, b| gap(a, &bounds).total_cmp(&gap(b, &bounds))) else {
            continue;
        };
        if overlaps_sideways(&near, &bounds) {
            continue;
        }
        let shift = (near.middle() - bounds.middle()).abs();
        let same_height = shift < 0.5 * near.height.min(bounds.height).max(0.6 * near.height.max(bounds.height));
        if (same_height || is_within(&near, &bounds)) && best.is_none_or(|(s, _)| shift < s) {
            best = Some((shift, index));
        }
    }
    open.get_mut(best?.1)
}

/// Whether one stands within the other's height, as small print beside large does.
fn is_within(a: &BoundingBox, b: &BoundingBox) -> bool {
    let shared = (a.top + a.height).min(b.top + b.height) - a.top.max(b.top);
    shared > 0.8 * a.height.min(b.height)
}

fn gap(a: &BoundingBox, b: &BoundingBox) -> f32 {
    (b.left - a.right()).max(a.left - b.right())
}

/// Whether they share more than a quarter of the narrower one's width, as lines below each other do.
fn overlaps_sideways(a: &BoundingBox, b: &BoundingBox) -> bool {
    -gap(a, b) > 0.25 * a.width.min(b.width)
}

fn height(line: &Line) -> f32 {
    line.bounds.map_or(2.0, |bounds| bounds.middle())
}

fn left(line: &Line) -> f32 {
    line.bounds.map_or(0.0, |bounds| bounds.left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, left: f32, top: f32, width: f32) -> Line {
        Line {
            number: 0,
            text: text.to_owned(),
            confidence: 99.0,
            page: 1,
            bounds: BoundingBox::new(left, top, width, 0.02),
        }
    }

    fn texts(lines: &[Line]) -> Vec<String> {
        group(lines).iter().map(Row::text).collect()
    }

    #[test]
    fn label_and_amount_share_a_row() {
        let lines = [line("6.35", 0.8, 0.503, 0.1), line("TOTAL", 0.1, 0.5, 0.2), line("CASH", 0.1, 0.53, 0.2)];
        assert_eq!(texts(&lines), ["TOTAL  6.35", "CASH"]);
    }

    #[test]
    fn a_skewed_row_holds_together() {
        let lines = [line("1", 0.1, 0.50, 0.05), line("2", 0.4, 0.509, 0.05), line("3", 0.8, 0.518, 0.05)];
        assert_eq!(texts(&lines), ["1  2  3"]);
    }

    #[test]
    fn lines_below_each_other_are_two_rows() {
        let lines = [line("A", 0.1, 0.50, 0.3), line("B", 0.1, 0.506, 0.3)];
        assert_eq!(texts(&lines), ["A", "B"]);
    }

    #[test]
    fn without_boxes_the_order_is_kept() {
        let mut lines = [line("A", 0.0, 0.0, 0.1), line("B", 0.0, 0.0, 0.1)];
        for line in &mut lines {
            line.bounds = None;
        }
        assert_eq!(texts(&lines), ["A", "B"]);
    }

    #[test]
    fn pages_do_not_mix() {
        let mut lines = [line("TOTAL", 0.1, 0.5, 0.2), line("6.35", 0.8, 0.5, 0.1)];
        lines[1].page = 2;
        assert_eq!(texts(&lines), ["TOTAL", "6.35"]);
    }
}
