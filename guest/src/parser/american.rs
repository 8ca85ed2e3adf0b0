//! Whether a page is from the United States, where months stand before days, though it names no place there.

use super::lists::{List, list};
use super::rows::Row;
use super::words::Words;

/// What is said on receipts there.
const AMERICAN: List = list(
    "\
    SALES TAX, STATE TAX, CITY TAX, COUNTY TAX, LOCAL TAX, EBT, FOOD STAMP, SNAP, WIC, ZIP, ZIP CODE, GALLONS, GALLON, GAL, USA, \
    DRIVE THRU, GRATUITY, TAX EXEMPT, DEBIT CARD, CHECK NUMBER",
);
/// What is said on receipts elsewhere.
const ELSEWHERE: List = list(
    "\
    GST, VAT, SST, HST, PST, QST, MWST, UST, TVA, IVA, BTW, MOMS, ABN, SDN, BHD, PTE, PTY, JALAN, JLN, TAMAN, TARIKH, DATUM, FECHA, DATA, \
    RM, MYR, EUR, GBP, INR, SGD, AUD, CAD, LITRE, LITRES, POSTCODE, CGST, SGST, FSSAI, PLC, GMBH, CUKAI",
);

/// Whether more speaks for it than against it.
pub(super) fn is_likely(rows: &[Row]) -> bool {
    let mut is_american = false;
    for cell in rows.iter().flat_map(|row| &row.cells) {
        let words = Words::new(&cell.text);
        if words.has_any(&ELSEWHERE) || cell.text.contains(['£', '€', '₹', '¥']) {
            return false;
        }
        is_american |= words.has_any(&AMERICAN) || has_noon(&words) || has_telephone(&cell.text);
    }
    is_american
}

/// `05:12 PM`, `5:12PM`.
fn has_noon(words: &Words) -> bool {
    let all: Vec<&str> = words.iter().collect();
    let is_number = |word: &str| word.bytes().all(|b| b.is_ascii_digit());
    // `5:12 P.M.`
    if all.windows(3).any(|three| matches!(three, [number, "A" | "P", "M"] if is_number(number))) {
        return true;
    }
    let mut before_is_number = false;
    for word in all {
        let bare = word.trim_start_matches(|c: char| c.is_ascii_digit());
        if matches!(bare, "AM" | "PM") && (bare.len() < word.len() || before_is_number) {
            return true;
        }
        before_is_number = bare.is_empty();
    }
    false
}

/// `(503) 555-0134`, `503-555-0134`, `503.555.0134`: neither area nor exchange begin with 0 or 1.
fn has_telephone(text: &str) -> bool {
    let shape = |digits: &[u8]| matches!(digits, [b'2'..=b'9', b'0'..=b'9', b'0'..=b'9']);
    let bytes = text.as_bytes();
    bytes.windows(12).enumerate().any(|(at, window)| {
        let before = at.checked_sub(1).and_then(|at| bytes.get(at)).copied().unwrap_or(b' ');
        let after = bytes.get(at + 12).copied().unwrap_or(b' ');
        let (Some(area), Some(exchange), Some(line)) = (window.get(..3), window.get(4..7), window.get(8..)) else {
            return false;
        };
        let marks = (window.get(3), window.get(7));
        let is_split = matches!(marks, (Some(b'-'), Some(b'-')) | (Some(b'.'), Some(b'.')))
            || marks == (Some(&b')'), Some(&b'-')) && before == b'(';
        is_split
            && shape(area)
            && shape(exchange)
            && line.iter().all(u8::is_ascii_digit)
            && !before.is_ascii_alphanumeric()
            && !after.is_ascii_alphanumeric()
    }) || text.contains(") ") && has_telephone(&text.replace(") ", ")"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn telephones_are_told_from_other_numbers() {
        for text in ["(503) 555-0134", "(503)555-0134", "Tel 503-555-0134", "503.555.0134"] {
            assert!(has_telephone(text), "{text}");
        }
        for text in ["03-2164 1400", "012-345-6789", "1503-555-01345", "503-155-0134", "+44 20 7946 0000", ""] {
            assert!(!has_telephone(text), "{text}");
        }
    }

    #[test]
    fn a_time_by_noon_is_known() {
        assert!(has_noon(&Words::new("05:12 PM")) && has_noon(&Words::new("5:12pm")));
        assert!(has_noon(&Words::new("5:12 P.M.")) && !has_noon(&Words::new("A.M. SHOP")));
        assert!(!has_noon(&Words::new("PM ASIA")) && !has_noon(&Words::new("17:12")));
    }
}
