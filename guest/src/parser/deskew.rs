//! A page as it would lie on a table: text that runs from left to right, and level.
//!
//! A photo may be turned by quarters and a little crooked. Where Textract's polygons say which way the text runs, they are
//! followed; where they say nothing (boxes alone), a slant shows in the lines that would then stand at one height.

mod tilt;

use std::collections::BTreeMap;

use crate::receipt::{BoundingBox, Place};
use crate::textract::{Document, Line};

/// The lines of a document with their boxes put upright, and the way back.
pub(super) struct Deskewed {
    pub(super) lines: Vec<Line>,
    /// Where the lines really are.
    seen: Vec<Option<BoundingBox>>,
    /// What was done to each page; pages that were left as they are have none.
    turns: Vec<(u32, Turn)>,
}

/// First by quarters, then what is left of a slant.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Turn {
    /// Which way the text runs: 0 right, 1 down, 2 left, 3 up.
    quarter: u8,
    /// How much it falls on its way from left to right, page heights a page width.
    slope: f32,
}

/// Below, a page is straight enough: rows follow such a slant from neighbour to neighbour, and a bend of the paper too.
const LEVEL: f32 = 0.015;
/// The same of a slant that the rows tell: two columns far apart have no neighbours between them.
const LEVEL_OF_ROWS: f32 = 0.006;
/// Above, it is no slant but something else that is printed across.
const STEEPEST: f32 = 0.25;

/// The steepest slant that is looked for by the rows alone.
const STEEPEST_OF_ROWS: f32 = 0.07;
const STEP: f32 = 0.005;
/// How far from what the boxes' heights and the columns say the slant may be, in twentieths of it.
const NEAR_TILT: (i16, i16) = (14, 28);
const FAR_TILT: (i16, i16) = (10, 34);
const STEEPEST_TILT: f32 = 0.15;

impl Deskewed {
    pub(super) fn new(document: &Document) -> Self {
        let seen = document.lines.iter().map(|line| line.bounds).collect();
        let mut upright = Self { lines: document.lines.clone(), seen, turns: Vec::new() };
        let mut pages: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (at, line) in document.lines.iter().enumerate() {
            pages.entry(line.page).or_default().push(at);
        }
        for (page, lines) in pages {
            upright.straighten(page, &lines, document);
        }
        upright
    }

    /// `lines`: which of the document's are on the page.
    fn straighten(&mut self, page: u32, lines: &[usize], document: &Document) {
        let run = |at: &usize| {
            let direction = (*document.directions.get(*at)?)?;
            Some((document.lines.get(*at)?.text.chars().count(), direction))
        };
        let run: Vec<(usize, [f32; 2])> = lines.iter().filter_map(run).collect();
        let quarter = quarter(&run);
        let mut turn = Turn { quarter, slope: 0.0 };
        self.apply(lines, turn);
        let crooked = run.iter().any(|(_, [x, y])| *x != 0.0 && *y != 0.0);
        let slope = if crooked { slope(&run, quarter) } else { self.slope_of_rows(lines) };
        let least = if crooked { LEVEL } else { LEVEL_OF_ROWS };
        if (least..STEEPEST).contains(&slope.abs()) {
            turn.slope = slope;
            self.apply(lines, Turn { quarter: 0, slope });
        }
        if turn != (Turn { quarter: 0, slope: 0.0 }) {
            self.turns.push((page, turn));
        }
    }

    fn apply(&mut self, lines: &[usize], turn: Turn) {
        for at in lines {
            if let Some(line) = self.lines.get_mut(*at) {
                line.bounds = line.bounds.map(|bounds| turn.apply(bounds));
            }
        }
    }

    /// The slant under which the most lines stand beside another one; none where it makes no clear difference.
    fn slope_of_rows(&self, lines: &[usize]) -> f32 {
        /// Lines that are compared, each with each.
        const ENOUGH: usize = 100;
        let some: Vec<&Line> = lines
            .iter()
            .filter_map(|at| self.lines.get(*at))
            .filter(|line| line.bounds.is_some())
            .take(ENOUGH)
            .collect();
        let boxes: Vec<BoundingBox> = some.iter().filter_map(|line| line.bounds).collect();
        let tilt = tilt::of_columns(&some);
        let steepest =
            tilt.map_or(STEEPEST_OF_ROWS, |tilt| (2.0 * tilt.steepest()).clamp(STEEPEST_OF_ROWS, STEEPEST_TILT));
        let pairs = boxes.iter().enumerate().flat_map(|(at, a)| boxes.iter().skip(at + 1).map(move |b| (a, b)));
        let pairs: Vec<Pair> =
            pairs.filter_map(|(a, b)| Pair::new(a, b)).filter(|pair| pair.reaches(steepest)).collect();
        let fits = |slope: f32| -> f32 { pairs.iter().map(|pair| pair.fit(slope)).sum() };
        if let Some(tilt) = tilt {
            // Which row is meant, the next one or its own, only the columns tell, and how high long lines are.
            let best = |(from, to): (i16, i16), tilt: f32| {
                let steps = (from..=to).map(|part| f32::from(part) * 0.05 * tilt);
                let steps = steps.filter(|slope| slope.abs() <= STEEPEST_TILT).map(|slope| (fits(slope), slope));
                steps.reduce(|best, next| if next.0 > best.0 { next } else { best })
            };
            let level = fits(0.0);
            // Columns lean on a photo from the side, too, whose rows are level.
            let by_heights = tilt.by_heights.and_then(|tilt| best(NEAR_TILT, tilt));
            if let Some((_, slope)) = by_heights.filter(|(fit, _)| *fit > 1.3 * level + 0.5) {
                return slope;
            }
            if let Some((_, slope)) = best(FAR_TILT, tilt.by_shape).filter(|(fit, _)| *fit > 1.8 * level + 1.0) {
                return slope;
            }
        }
        // What stands level is level: under a slant it would be so by chance alone.
        if pairs.iter().filter(|pair| pair.fit(0.0) > 0.7).count() >= 2 {
            return 0.0;
        }
        let level = fits(0.0);
        let mut best = (level, 0.0);
        let steps = (STEEPEST_OF_ROWS / STEP) as i16;
        for step in 1..=steps {
            for slope in [f32::from(step) * STEP, -f32::from(step) * STEP] {
                // A row further up or down fits nearly as well; a small slant is the likelier one.
                let fit = fits(slope) * (1.0 - 4.0 * slope.abs());
                if fit > best.0 * 1.02 {
                    best = (fit, slope);
                }
            }
        }
        if best.0 > 1.5 * level + 2.0 { best.1 } else { 0.0 }
    }

    /// Where on the page as it was seen something is that was read here. `line`: the number of its first line.
    pub(super) fn place(&self, line: Option<u32>, place: Place) -> Place {
        let Some((_, turn)) = self.turns.iter().find(|(page, _)| *page == place.page) else { return place };
        let Some(number) = line else { return place };
        let at = self.lines.iter().position(|line| line.number == number);
        let own = at.and_then(|at| Some((self.lines.get(at)?.bounds?, (*self.seen.get(at)?)?)));
        match own {
            Some((upright, seen)) if upright == place.bounds => Place { bounds: seen, ..place },
            _ => Place { bounds: turn.undo(place.bounds).unwrap_or(place.bounds), ..place },
        }
    }
}

impl Turn {
    fn apply(self, b: BoundingBox) -> BoundingBox {
        let (right, bottom) = (1.0 - b.right(), 1.0 - b.bottom());
        let b = match self.quarter {
            1 => BoundingBox { left: b.top, top: right, width: b.height, height: b.width },
            2 => BoundingBox { left: right, top: bottom, ..b },
            3 => BoundingBox { left: bottom, top: b.left, width: b.height, height: b.width },
            _ => b,
        };
        if self.slope == 0.0 {
            return b;
        }
        // A box around slanted text is as much higher.
        let height = (b.height - self.slope.abs() * b.width).max(0.4 * b.height);
        let top = b.middle() - height / 2.0 - self.slope * (b.left + b.width / 2.0 - 0.5);
        BoundingBox { top, height, ..b }
    }

    fn undo(self, b: BoundingBox) -> Option<BoundingBox> {
        let height = b.height + self.slope.abs() * b.width;
        let top = b.middle() - height / 2.0 + self.slope * (b.left + b.width / 2.0 - 0.5);
        let b = BoundingBox { top, height, ..b };
        let (right, bottom) = (1.0 - b.right(), 1.0 - b.bottom());
        match self.quarter {
            1 => BoundingBox::new(bottom, b.left, b.height, b.width),
            2 => BoundingBox::new(right, bottom, b.width, b.height),
            3 => BoundingBox::new(b.top, right, b.height, b.width),
            _ => BoundingBox::new(b.left, b.top, b.width, b.height),
        }
    }
}

/// Which way most of the text runs.
fn quarter(run: &[(usize, [f32; 2])]) -> u8 {
    let mut letters = [0_usize; 4];
    for (length, [x, y]) in run {
        let way = match (x.abs() >= y.abs(), *x >= 0.0, *y >= 0.0) {
            (true, true, _) => 0,
            (false, _, true) => 1,
            (true, false, _) => 2,
            (false, _, false) => 3,
        };
        if let Some(sum) = letters.get_mut(way) {
            *sum += length;
        }
    }
    // The first of equals: upright.
    (0_u8..4).rev().max_by_key(|way| letters.get(usize::from(*way)).copied()).unwrap_or(0)
}

/// The slant of the line in the middle, by length.
fn slope(run: &[(usize, [f32; 2])], quarter: u8) -> f32 {
    let turned = |[x, y]: [f32; 2]| match quarter {
        1 => (y, -x),
        2 => (-x, -y),
        3 => (-y, x),
        _ => (x, y),
    };
    let slopes = run.iter().map(|(length, direction)| (*length, turned(*direction)));
    let mut slopes: Vec<(f32, usize)> =
        slopes.filter(|(_, (x, _))| *x > 0.02).map(|(length, (x, y))| (y / x, length)).collect();
    slopes.sort_by(|a, b| a.0.total_cmp(&b.0));
    let all: usize = slopes.iter().map(|(_, length)| length).sum();
    let mut before = 0;
    for (slope, length) in slopes {
        before += length;
        if 2 * before >= all {
            return slope;
        }
    }
    0.0
}

/// Two lines beside each other, perhaps on one row: how far it is from the one to the other.
struct Pair {
    right: f32,
    down: f32,
    /// So much may they be apart.
    slack: f32,
}

impl Pair {
    /// None where one stands above the other.
    fn new(a: &BoundingBox, b: &BoundingBox) -> Option<Self> {
        let beside = a.left >= b.right() || b.left >= a.right();
        let right = (b.left + b.width / 2.0) - (a.left + a.width / 2.0);
        let slack = (0.4 * a.height.min(b.height)).max(1e-4);
        beside.then_some(Self { right, down: b.middle() - a.middle(), slack })
    }

    /// Whether a slope up to this may bring them together.
    fn reaches(&self, slope: f32) -> bool {
        self.down.abs() <= slope * self.right.abs() + self.slack
    }

    /// How well they stand on one row under a slope, 0 to 1.
    fn fit(&self, slope: f32) -> f32 {
        (1.0 - (self.down - slope * self.right).abs() / self.slack).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Text, box, and the way it runs.
    type Seen = (&'static str, [f32; 4], Option<[f32; 2]>);

    fn document(lines: &[Seen]) -> Document {
        let line = |(number, (text, [left, top, width, height], _)): (usize, &Seen)| Line {
            number: number as u32,
            text: (*text).to_owned(),
            confidence: 99.0,
            page: 1,
            bounds: BoundingBox::new(*left, *top, *width, *height),
        };
        Document {
            pages: 1,
            lines: lines.iter().enumerate().map(line).collect(),
            directions: lines.iter().map(|(_, _, direction)| *direction).collect(),
            summary: Vec::new(),
        }
    }

    /// `TOTAL` left and `6.35` right on one row, seen with the page turned by quarters.
    fn seen(quarter: u8) -> Document {
        let turn = Turn { quarter, slope: 0.0 };
        let direction = [[0.2, 0.0], [0.0, 0.2], [-0.2, 0.0], [0.0, -0.2]][usize::from(quarter)];
        let seen = |[left, top, width, height]: [f32; 4]| {
            let b = turn.undo(BoundingBox { left, top, width, height }).unwrap();
            [b.left, b.top, b.width, b.height]
        };
        document(&[
            ("TOTAL", seen([0.1, 0.5, 0.2, 0.02]), Some(direction)),
            ("6.35", seen([0.8, 0.5, 0.1, 0.02]), Some(direction)),
        ])
    }

    #[test]
    fn a_turned_page_is_put_upright_and_its_places_are_where_they_were_seen() {
        for quarter in 0..4 {
            let document = seen(quarter);
            let upright = Deskewed::new(&document);
            let [total, amount] = upright.lines.as_slice() else { panic!() };
            let (a, b) = (total.bounds.unwrap(), amount.bounds.unwrap());
            assert!((a.left - 0.1).abs() < 1e-5 && (a.top - 0.5).abs() < 1e-5, "{quarter}: {a:?}");
            assert!((b.left - 0.8).abs() < 1e-5 && (a.middle() - b.middle()).abs() < 1e-5, "{quarter}: {b:?}");
            let place = upright.place(Some(1), Place { page: 1, bounds: b });
            assert_eq!(Some(place.bounds), document.lines[1].bounds, "{quarter}");
        }
    }

    #[test]
    fn a_slant_is_known_by_the_polygons_or_by_the_rows() {
        let rows = |slope: f32, direction: Option<[f32; 2]>| {
            let mut lines = Vec::new();
            for row in 0..6 {
                let top = 0.2 + 0.028 * row as f32;
                for left in [0.05, 0.45, 0.85] {
                    lines.push(("X1", [left, top + slope * left, 0.1, 0.018], direction));
                }
            }
            document(&lines)
        };
        for document in [rows(0.045, Some([0.1, 0.0045])), rows(0.045, None), rows(-0.03, None)] {
            let upright = Deskewed::new(&document);
            for row in upright.lines.chunks(3) {
                let middles: Vec<f32> = row.iter().map(|line| line.bounds.unwrap().middle()).collect();
                assert!((middles[0] - middles[2]).abs() < 0.004, "{middles:?}");
            }
        }
        let level = rows(0.0, None);
        assert_eq!(Deskewed::new(&level).lines, level.lines);
    }

    /// Names left, and each price on a row of its own at the right: no slant, though one would bring them together.
    #[test]
    fn prices_below_their_items_are_no_slant() {
        let mut lines = Vec::new();
        for row in 0..8 {
            let top = 0.2 + 0.04 * row as f32;
            lines.push(("ITEM", [0.1, top, 0.3, 0.016], None));
            lines.push(("4.00", [0.8, top + 0.02, 0.1, 0.016], None));
        }
        for row in 0..3 {
            let top = 0.6 + 0.02 * row as f32;
            lines.push(("TOTAL", [0.1, top, 0.2, 0.016], None));
            lines.push(("32.00", [0.8, top, 0.1, 0.016], None));
        }
        let document = document(&lines);
        assert_eq!(Deskewed::new(&document).lines, document.lines);
    }

    proptest! {
        #[test]
        fn any_boxes_are_survived(
            boxes in proptest::collection::vec((0.0_f32..1.0, 0.0_f32..1.0, 0.0_f32..1.0, 0.0_f32..1.0, -1.0_f32..1.0), 0..30),
        ) {
            let lines: Vec<_> = boxes.iter().map(|(l, t, w, h, d)| ("A", [*l, *t, *w, *h], Some([*d, -*d / 2.0]))).collect();
            let upright = Deskewed::new(&document(&lines));
            for line in &upright.lines {
                if let Some(bounds) = line.bounds {
                    let place = upright.place(Some(line.number), Place { page: 1, bounds });
                    prop_assert!(place.bounds.left.is_finite() && place.bounds.top.is_finite());
                }
            }
        }
    }
}
