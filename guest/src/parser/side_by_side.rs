//! Two receipts on one photo, side by side: which of the two is meant, nobody knows.

use super::currency::Context;
use super::model::Model;
use super::rows;
use super::{total, vendor};
use crate::textract::Line;

/// Lines that the smaller one has at least.
const LEAST: usize = 5;

/// Whether a page shows two receipts beside each other, each with a vendor and a total of its own.
pub(super) fn are_two_receipts(lines: &[Line], context: &Context, model: &Model, quality: f32) -> bool {
    let Some(gutter) = gutter(lines) else { return false };
    let (left, right): (Vec<Line>, Vec<Line>) =
        lines.iter().cloned().partition(|line| line.bounds.is_some_and(|bounds| bounds.right() <= gutter));
    if left.len() < LEAST || right.len() < LEAST {
        return false;
    }
    let receipt = |half: &[Line]| {
        let rows = rows::group(half);
        let total = total::find(&total::amounts(&rows), context, &model.total, quality)?;
        Some((total.value.micros(), vendor::find(&rows, &model.vendor, quality)?.value))
    };
    // The customer's copy beside the merchant's is one receipt.
    receipt(&left).zip(receipt(&right)).is_some_and(|(left, right)| left != right)
}

/// The middle of the widest stretch, near the page's middle, that no line crosses.
fn gutter(lines: &[Line]) -> Option<f32> {
    if lines.iter().any(|line| line.bounds.is_none() || line.page != 1) {
        return None;
    }
    let is_free = |percent: &u8| {
        let at = f32::from(*percent) / 100.0;
        let crosses = |line: &Line| line.bounds.is_none_or(|bounds| bounds.left < at && bounds.right() > at);
        !lines.iter().any(crosses)
    };
    let free: Vec<u8> = (35..=65).filter(is_free).collect();
    let stretches = free.chunk_by(|a, b| a + 1 == *b);
    let widest = stretches.reduce(|best, next| if next.len() > best.len() { next } else { best })?;
    widest.get(widest.len() / 2).map(|percent| f32::from(*percent) / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receipt::BoundingBox;

    fn half(left: f32, name: &str, total: &str) -> Vec<Line> {
        let texts = [name, "12, JALAN DEDAP 13,", "TEL: 03-2164 1400", "TEA 4.00", total];
        let line = |(at, text): (usize, &&str)| Line {
            number: at as u32,
            text: (*text).to_owned(),
            confidence: 99.0,
            page: 1,
            bounds: BoundingBox::new(left, 0.1 + 0.04 * at as f32, 0.4, 0.02),
        };
        texts.iter().enumerate().map(line).collect()
    }

    #[test]
    fn two_are_told_from_one() {
        let are_two = |lines: &[Line]| are_two_receipts(lines, &Context::default(), &Model::built_in(), 99.0);
        let (one, other) = (half(0.05, "CORNER CAFE", "TOTAL 4.00"), half(0.52, "HILL BAKERY", "TOTAL 9.00"));
        assert!(are_two(&[one.clone(), other].concat()));
        assert!(!are_two(&one));
        assert!(!are_two(&[one.clone(), half(0.52, "CORNER CAFE", "TOTAL 4.00")].concat()));
        assert!(!are_two(&[one, half(0.52, "1", "4.00")].concat()));
    }
}
