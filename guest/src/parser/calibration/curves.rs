//! The curves that turn a choice's probability and OCR's confidence into how often such a reading is right.

/// Below and above, one is as bad or as good as the other: OCR's own confidences are not that exact.
const WORST: f32 = 0.02;
const BEST_OCR: f32 = 0.99;
const BEST_CHOICE: f32 = 0.995;

/// What was fitted for a field.
#[derive(Clone, Copy, Debug)]
pub struct Curves {
    /// Offset, and weight of the log-odds of the choice.
    pub choice: [f32; 2],
    /// Offset, weight of the log-odds of OCR's confidence in the text, and in the whole document.
    pub reading: [f32; 3],
}

impl Curves {
    /// How sure a value is, 0 to 100. `share`: its share of what speaks for all candidates, 0 to 1; `ocr` and `quality`: OCR's
    /// confidence in its text and, on average, in all lines of the document, 0 to 100.
    pub(in crate::parser) fn confidence(&self, share: f32, ocr: f32, quality: f32) -> f32 {
        let [offset, weight] = self.choice;
        let chosen = logistic(offset + weight * log_odds(share, BEST_CHOICE));
        let [offset, of_text, of_document] = self.reading;
        let read =
            offset + of_text * log_odds(ocr / 100.0, BEST_OCR) + of_document * log_odds(quality / 100.0, BEST_OCR);
        (100.0 * chosen * logistic(read)).clamp(0.0, 100.0)
    }
}

fn log_odds(share: f32, best: f32) -> f32 {
    let share = if share.is_nan() { WORST } else { share.clamp(WORST, best) };
    (share / (1.0 - share)).ln()
}

fn logistic(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::super::weights::{TOTAL, VENDOR};

    #[test]
    fn whatever_goes_in_a_percentage_comes_out_and_more_is_more() {
        for curves in [VENDOR, TOTAL] {
            for value in [f32::NAN, f32::NEG_INFINITY, -1.0, 0.0, 1e9, f32::INFINITY] {
                assert!((0.0..=100.0).contains(&curves.confidence(value, value, value)), "{value}");
            }
            let good = curves.confidence(0.99, 99.0, 99.0);
            assert!(good >= 90.0, "{good}");
            assert!(curves.confidence(0.4, 99.0, 99.0) < good && curves.confidence(0.99, 60.0, 99.0) < good);
            assert!(curves.confidence(0.99, 99.0, 80.0) < good);
        }
    }
}
