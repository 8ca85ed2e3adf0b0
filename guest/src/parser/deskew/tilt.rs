//! How crooked a page lies, by what is printed in columns: where boxes are parallel to the page's edges, only these still lean.

use crate::textract::Line;

/// Columns that lean less are straight.
const LEAST: f32 = 0.03;
const STEP: f32 = 0.01;
const STEPS: i16 = 32;
/// How far lines of a column are from each other, page heights.
const NEAR: f32 = 0.03;
const FAR: f32 = 0.3;
/// How exactly a line's edge stands in its column.
const SLACK: f32 = 0.006;
/// Boxes that grow less are as high as their print.
const LEAST_GROWTH: f32 = 0.012;
/// So much wider must a line be than another one to be compared with it.
const WIDER: f32 = 0.1;
/// Pairs of lines that must agree.
const ENOUGH: usize = 8;
/// A letter is about so much wider than half as high as its line.
const LETTER: f32 = 0.55;

/// How much rows fall from left to right, page heights a page width, by two signs of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tilt {
    /// By how much higher the boxes of long lines are; none where they are not.
    pub(super) by_heights: Option<f32>,
    /// By the page's shape, which is only guessed.
    pub(super) by_shape: f32,
}

impl Tilt {
    pub(super) fn steepest(self) -> f32 {
        self.by_shape.abs().max(self.by_heights.unwrap_or(0.0).abs())
    }
}

/// None where columns are straight, or nothing stands in one.
pub(super) fn of_columns(lines: &[&Line]) -> Option<Tilt> {
    let lean = lean(lines)?;
    // The corner between rows and columns is square on paper: page width over height tells what it is in parts of them.
    let shape = shape(lines)?;
    let by_heights = growth(lines).filter(|growth| *growth >= LEAST_GROWTH).map(|growth| -growth * lean.signum());
    Some(Tilt { by_heights, by_shape: -lean * shape * shape })
}

/// How much higher the box of a line is that is a page wider: the middle of all pairs.
fn growth(lines: &[&Line]) -> Option<f32> {
    let boxes: Vec<(f32, f32)> = lines.iter().filter_map(|line| line.bounds).map(|b| (b.width, b.height)).collect();
    let mut all: Vec<f32> = Vec::new();
    for (at, (width, height)) in boxes.iter().enumerate() {
        let wider = boxes.iter().skip(at + 1).filter(|(other, _)| (other - width).abs() > WIDER);
        all.extend(wider.map(|(other, other_height)| (other_height - height) / (other - width)));
    }
    all.sort_by(f32::total_cmp);
    all.get(all.len() / 2).copied()
}

/// How much further right a column stands, page widths a page height further down.
fn lean(lines: &[&Line]) -> Option<f32> {
    let edges: Vec<(f32, f32, f32)> =
        lines.iter().filter_map(|line| line.bounds).map(|b| (b.left, b.right(), b.middle())).collect();
    let mut pairs: Vec<(f32, f32)> = Vec::new();
    for (at, (left, right, middle)) in edges.iter().enumerate() {
        for (other_left, other_right, other) in edges.iter().skip(at + 1) {
            let down = other - middle;
            if (NEAR..FAR).contains(&down.abs()) {
                pairs.extend([(other_left - left, down), (other_right - right, down)]);
            }
        }
    }
    let most = f32::from(STEPS) * STEP;
    pairs.retain(|(right, down)| right.abs() <= most * down.abs() + SLACK);
    let votes = |lean: f32| pairs.iter().filter(|(right, down)| (right - lean * down).abs() < SLACK).count();
    let steps = (-STEPS..=STEPS).map(|step| f32::from(step) * STEP);
    let (count, lean) = steps.map(|lean| (votes(lean), lean)).max_by_key(|(count, _)| *count)?;
    (lean.abs() >= LEAST && count >= ENOUGH && count * 2 > votes(0.0) * 3).then_some(lean)
}

/// The page's width over its height, by how wide and how high its text is.
fn shape(lines: &[&Line]) -> Option<f32> {
    let of = |line: &&Line| {
        let bounds = line.bounds.filter(|bounds| bounds.width > 0.0)?;
        let letters = line.text.chars().count();
        // The box of a long line that is crooked is higher than its print.
        (3..=9).contains(&letters).then(|| letters as f32 * LETTER * bounds.height / bounds.width)
    };
    let mut shapes: Vec<f32> = lines.iter().filter_map(of).collect();
    shapes.sort_by(f32::total_cmp);
    shapes.get(shapes.len() / 2).map(|shape| shape.clamp(0.3, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receipt::BoundingBox;

    /// Rows of a name and a price on a page twice as high as wide, turned by so many degrees.
    fn page(degrees: f32) -> Vec<Line> {
        let (sin, cos) = degrees.to_radians().sin_cos();
        let mut lines = Vec::new();
        for row in 0..10 {
            for (text, left) in [("NOODLE", 0.2), ("12.50", 0.7)] {
                let (x, y, w, h) = (left - 0.5, 2.0 * (0.2 + 0.05 * row as f32 - 0.5), 0.14, 0.04);
                let corners = [(x, y), (x + w, y), (x, y + h), (x + w, y + h)];
                let turned = corners.map(|(x, y)| (cos * x - sin * y + 0.5, (sin * x + cos * y) / 2.0 + 0.5));
                let by = |of: fn(&(f32, f32)) -> f32| {
                    let all = || turned.iter().map(of);
                    (all().fold(f32::MAX, f32::min), all().fold(f32::MIN, f32::max))
                };
                let ((left, right), (top, bottom)) = (by(|c| c.0), by(|c| c.1));
                lines.push(Line {
                    number: lines.len() as u32,
                    text: text.to_owned(),
                    confidence: 99.0,
                    page: 1,
                    bounds: BoundingBox::new(left, top, right - left, bottom - top),
                });
            }
        }
        lines
    }

    #[test]
    fn columns_tell_how_crooked_a_page_lies() {
        for degrees in [-8.0_f32, -5.0, 5.0, 8.0] {
            let lines = page(degrees);
            let tilt = of_columns(&lines.iter().collect::<Vec<_>>()).unwrap();
            let slope = degrees.to_radians().tan() * 0.5;
            assert!(tilt.by_shape / slope > 0.5 && tilt.by_shape / slope < 2.0, "{degrees}: {tilt:?} for {slope}");
        }
        assert_eq!(of_columns(&page(0.0).iter().collect::<Vec<_>>()), None);
        assert_eq!(of_columns(&[]), None);
    }
}
