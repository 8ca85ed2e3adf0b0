//! Who was paid: the name at the top.

mod features;
mod header_lines;
mod name;
mod ocr_correction;
mod weights;

pub(super) use self::name::tidy;
pub(super) use self::weights::WEIGHTS;

use super::rows::Row;
use super::scorer::Scorer;
use crate::receipt::{Field, Place, Why};

/// Finds the name at the top of the first page, which is a bill's. `quality`: OCR's confidence on average.
pub(super) fn find(rows: &[Row], scorer: &Scorer, quality: f32) -> Option<Field<String>> {
    let top = header_lines::read(rows);
    let candidates = features::of(&top, rows);
    let scores: Vec<f32> = candidates.iter().map(|candidate| scorer.score(&candidate.features)).collect();
    let at = |index: usize| scores.get(index).copied().unwrap_or(f32::MIN);
    // The first of two equals: what comes before is more prominent.
    let best = (0..scores.len()).reduce(|best, next| if at(next) > at(best) { next } else { best })?;
    let all: f32 = scores.iter().map(|score| (score - at(best)).exp()).sum();
    let found = candidates.get(best).filter(|candidate| candidate.rules > 0.0)?;
    Some(Field {
        value: found.name.clone(),
        confidence: scorer.calibration.confidence(1.0 / all, found.confidence, quality),
        place: found.bounds.map(|bounds| Place { page: found.page, bounds }),
        why: Why { line: Some(found.line), rule: found.say(), score: 1.0 / all },
    })
}

/// What speaks for each name at the top, for training: the name, the numbers that are weighed, OCR's confidence.
pub(super) fn training_features(rows: &[Row]) -> Vec<(String, Vec<f32>, f32)> {
    let found = features::of(&header_lines::read(rows), rows).into_iter();
    found.map(|found| (found.name, found.features.to_vec(), found.confidence)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser::model::Model;
    use crate::parser::page_kind;
    use crate::parser::rows;
    use crate::receipt::BoundingBox;
    use crate::textract::Line;

    fn vendor(texts: &[&str]) -> Option<String> {
        let lines: Vec<Line> = texts
            .iter()
            .enumerate()
            .map(|(index, text)| Line {
                number: index as u32,
                text: (*text).to_owned(),
                confidence: 99.0,
                page: 1,
                bounds: BoundingBox::new(0.2, 0.04 * index as f32, 0.5, 0.02),
            })
            .collect();
        let rows = rows::group(&lines);
        let found = find(&rows, &Model::built_in().vendor, 99.0)
            .filter(|_| page_kind::classify(&rows) == page_kind::PageKind::Bill);
        found.map(|field| field.value)
    }

    fn is(texts: &[&str], expected: &str) {
        assert_eq!(vendor(texts).as_deref(), Some(expected), "{texts:?}");
    }

    #[test]
    fn the_name_stands_at_the_top() {
        is(&["CORNER CAFE", "12 Main Street", "TOTAL 4.00"], "CORNER CAFE");
        is(&["TAX INVOICE", "CORNER CAFE", "TEL: 03-2164 1400", "TOTAL 4.00"], "CORNER CAFE");
    }

    #[test]
    fn the_company_is_preferred_to_its_brand() {
        is(
            &["HAPPY NOODLES", "NORTH KITCHEN SDN BHD (1202152-P)", "53100 SETAPAK", "TOTAL 4.00"],
            "NORTH KITCHEN SDN BHD",
        );
        is(&["JANE DOE", "HILL GIFT & HOME", "27, JALAN DEDAP 13,", "TOTAL 4.00"], "HILL GIFT & HOME");
    }

    #[test]
    fn a_broken_name_is_joined() {
        is(&["NORTH POWER HARDWARE", "TRADING", "002458685-T", "TOTAL 4.00"], "NORTH POWER HARDWARE TRADING");
    }

    #[test]
    fn a_fragment_of_a_name_is_no_name() {
        is(
            &["OLD HARBOUR HARDWARE", "ENTERPRISE (NORTH HILL) SDN BHD", "12, JALAN DEDAP 13,", "TOTAL 4.00"],
            "OLD HARBOUR HARDWARE ENTERPRISE (NORTH HILL) SDN BHD",
        );
        is(&["LUCKY HARDWARE &", "ELECTRICAL", "27, JALAN DEDAP 13,", "TOTAL 4.00"], "LUCKY HARDWARE & ELECTRICAL");
        is(&["RIVER BOOK", "CO. (M) SDN BHD", "(113825-W)", "TOTAL 4.00"], "RIVER BOOK CO. (M) SDN BHD");
    }

    #[test]
    fn descriptors_branches_and_towns_are_no_names() {
        is(&["TAMARIND", "THAI STREET KITCHEN", "12 Main Street", "TOTAL 4.00"], "TAMARIND");
        is(&["Store #2207", "Golden Ladle", "Sparks, NV 89431", "TOTAL 4.00"], "Golden Ladle");
        is(&["WILLOW", "CREEK", "12 Main Street", "TOTAL 4.00"], "WILLOW CREEK");
        is(&["Welcome to Shopwell", "12 Main Street", "TOTAL 4.00"], "Shopwell");
        is(&["Thank you for visiting Shopwell", "12 Main Street", "TOTAL 4.00"], "Shopwell");
    }

    #[test]
    fn two_names_are_not_joined() {
        is(
            &["NOODLE PALACE - EAST WING", "GOLDEN DRAGON FOODS SDN BHD", "53100 SETAPAK", "TOTAL 4.00"],
            "GOLDEN DRAGON FOODS SDN BHD",
        );
        is(&["GOLDEN DRAGON SDN BHD", "FRESH EVERY DAY", "53100 SETAPAK", "TOTAL 4.00"], "GOLDEN DRAGON SDN BHD");
    }

    #[test]
    fn sellers_and_buyers_are_told_apart() {
        is(&["Invoice", "From:", "Sliced Example", "To:", "Test Business", "Total 4.00"], "Sliced Example");
        assert_eq!(vendor(&["INVOICE", "Bill To", "ACME Corp", "Total $ 4.00"]), None);
    }

    #[test]
    fn what_is_no_bill_has_no_vendor() {
        assert_eq!(vendor(&["Test Document", "Page (1)", "Date : 08/14/2022"]), None);
        assert_eq!(vendor(&["SOAP 659.00 Y", "04987176039347", "SALT 127.50 V"]), None);
    }
}
