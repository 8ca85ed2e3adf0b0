//! Who was paid: the name at the top.

use super::amounts;
use super::header::{self, Kind};
use super::rows::Row;
use super::words::Words;
use crate::receipt::{BoundingBox, Field, Place};
use crate::textract::Line;

/// Finds the name at the top of the first page.
pub(super) fn find(rows: &[Row]) -> Option<Field<String>> {
    if !looks_like_a_bill(rows) {
        return None;
    }
    let top = top(rows);
    let typical = typical_height(rows);
    let candidates: Vec<Candidate> = (0..top.len()).filter_map(|at| judge(&top, at, typical)).collect();
    let best = candidates.iter().reduce(|best, next| if next.score > best.score { next } else { best })?;
    let rival = candidates.iter().filter(|c| c.name != best.name).map(|c| c.score).fold(f32::MIN, f32::max);
    let clear = if best.score - rival < 10.0 { 0.8 } else { 1.0 };
    let sure = ((best.score + 20.0) / 130.0).clamp(0.05, 0.98) * clear;
    (best.score > 0.0).then(|| Field {
        value: best.name.clone(),
        confidence: (best.confidence * sure).clamp(0.0, 100.0),
        place: best.bounds.map(|bounds| Place { page: best.page, bounds }),
    })
}

/// A name as it should be shown: without the registration number behind it and the ornaments around it.
pub(super) fn tidy(text: &str) -> String {
    let mut name = text.trim();
    // `OWN BY: X SDN BHD`: what stands before the colon is no part of the name.
    if let Some((_, owner)) = name.split_once(": ") {
        name = owner;
    }
    loop {
        let before = name;
        name = name.trim_matches(|c: char| c.is_whitespace() || ORNAMENTS.contains(&c));
        name = without_bracketed_number(name);
        name = without_words_after_form(name);
        name = without_last_number(name);
        if name == before {
            break;
        }
    }
    name.to_owned()
}

const ORNAMENTS: [char; 22] =
    ['*', '#', '=', '-', '_', '~', ',', ';', ':', '|', '"', '\'', '“', '”', '‘', '’', '`', '<', '>', '«', '»', '—'];

/// How many lines from the top a name may stand.
const REACH: usize = 14;

/// A line at the top, and what it is.
struct Entry<'a> {
    line: &'a Line,
    kind: Kind,
}

struct Candidate {
    name: String,
    score: f32,
    confidence: f32,
    page: u32,
    bounds: Option<BoundingBox>,
}

/// A bill shows a price, or calls itself one. What is neither (a letter, a form) has a first line too, but no vendor; nor
/// has a bank's statement, which is full of prices.
fn looks_like_a_bill(rows: &[Row]) -> bool {
    let mut priced = false;
    for cell in rows.iter().flat_map(|row| &row.cells) {
        let words = Words::new(&cell.text);
        if words.has_any("ACCOUNT STATEMENT, BANK STATEMENT, BEGINNING BALANCE") {
            return false;
        }
        priced = priced
            || words.has_any("RECEIPT, INVOICE, TOTAL, CASH BILL")
            || amounts::scan(&cell.text).iter().any(|a| a.has_cents() || a.mark.is_some());
    }
    priced
}

/// The lines above the items.
fn top<'a>(rows: &'a [Row<'a>]) -> Vec<Entry<'a>> {
    let mut top: Vec<Entry> = Vec::new();
    for row in rows {
        let text = row.text();
        let priced = amounts::scan(&text).iter().any(|a| a.has_cents() || a.mark.is_some());
        let named = text.chars().filter(|c| c.is_alphabetic()).count() > 3;
        let kind = header::classify(&text);
        if kind == Kind::Items || (priced && named) || top.len() >= REACH {
            break;
        }
        top.extend(row.cells.iter().map(|&line| Entry { line, kind: header::classify(&line.text) }));
    }
    top
}

/// Weighs the line at `at`, together with the next one where the name goes on there.
fn judge(top: &[Entry], at: usize, typical: f32) -> Option<Candidate> {
    let entry = top.get(at).filter(|entry| entry.kind == Kind::Name)?;
    let mut text = entry.line.text.clone();
    let mut bounds = entry.line.bounds;
    let mut confidence = entry.line.confidence;
    let mut last = at;
    while let Some(next) = top.get(last + 1).filter(|next| continues(&text, next)) {
        text.push(' ');
        text.push_str(&next.line.text);
        bounds = bounds.zip(next.line.bounds).map(|(a, b)| a.union(b));
        confidence = confidence.min(next.line.confidence);
        last += 1;
    }
    let name = tidy(&text);
    let words = Words::new(&name);
    let letters = name.chars().filter(|c| c.is_alphabetic()).count();
    let above = top.get(..at).unwrap_or_default();
    let part_of_above = above.last().is_some_and(|e| e.kind == Kind::Name && continues(&e.line.text, entry));
    if letters < 2 || part_of_above {
        return None;
    }
    let mut score = 50.0;
    score -= 4.0 * above.iter().filter(|e| e.kind == Kind::Name).count() as f32;
    if header::is_legal(&words) {
        score += 40.0;
    }
    if header::is_business(&words) {
        score += 14.0;
    }
    // A registration number belongs to the company above it.
    let numbered = name.len() < text.len() && text.chars().filter(char::is_ascii_digit).count() >= 4;
    match top.get(last + 1).map(|next| next.kind) {
        _ if numbered => score += 20.0,
        Some(Kind::Registration) => score += 20.0,
        Some(Kind::TaxNumber) => score += 8.0,
        _ if address_follows(top, last) => score += 10.0,
        _ => {}
    }
    // Below the address come branches, slogans and customers.
    if above.iter().any(|e| e.kind == Kind::Address) {
        score -= 22.0;
    }
    if above.iter().any(|e| matches!(e.kind, Kind::Registration | Kind::TaxNumber | Kind::Contact)) {
        score -= 14.0;
    }
    match above.iter().rev().map(|e| e.kind).find(|k| matches!(k, Kind::SellerLabel | Kind::BuyerLabel)) {
        Some(Kind::SellerLabel) => score += 45.0,
        Some(Kind::BuyerLabel) => return None,
        _ => {}
    }
    if text.starts_with(['(', '[']) {
        score -= 30.0;
    }
    if letters < 4 {
        score -= 20.0;
    }
    if words.len() > 8 {
        score -= 20.0;
    }
    if let Some(bounds) = entry.line.bounds.filter(|_| typical > 0.0) {
        score += 10.0 * (bounds.height / typical - 1.0).clamp(0.0, 1.2);
    }
    score -= 0.4 * (75.0 - confidence).max(0.0);
    Some(Candidate { name, score, confidence, page: entry.line.page, bounds })
}

/// Whether the next thing that is no name (a slogan, a branch) is an address.
fn address_follows(top: &[Entry], last: usize) -> bool {
    let mut below = top.iter().skip(last + 1).take(3);
    below.find(|e| e.kind != Kind::Name).is_some_and(|e| e.kind == Kind::Address)
}

/// Whether a name goes on in the next line: it is all words like TRADING or SDN BHD, and the name has no legal form yet.
fn continues(name: &str, next: &Entry) -> bool {
    let begun = Words::new(name);
    next.kind == Kind::Name
        && !header::is_legal(&begun)
        && begun.len() <= 6
        && header::is_rest_of_name(&Words::new(&next.line.text))
}

/// The height of most lines: a name is often printed larger.
fn typical_height(rows: &[Row]) -> f32 {
    let mut heights: Vec<f32> =
        rows.iter().flat_map(|row| &row.cells).filter_map(|cell| cell.bounds.map(|bounds| bounds.height)).collect();
    heights.sort_by(f32::total_cmp);
    heights.get(heights.len() / 2).copied().unwrap_or(0.0)
}

/// `X SDN BHD (126926-H)`, `X <484297-M>`: without what is in the last brackets, where that is a number.
fn without_bracketed_number(name: &str) -> &str {
    let Some(open) = name.rfind(['(', '[', '<', '{']) else { return name };
    let (head, tail) = name.split_at(open);
    let digits = tail.chars().filter(char::is_ascii_digit).count();
    let after = tail.find([')', ']', '>', '}']).map_or("", |close| tail.get(close + 1..).unwrap_or_default());
    let letters_after = after.chars().filter(|c| c.is_alphabetic()).count();
    if digits >= 4 && letters_after <= 2 && !head.trim().is_empty() { head } else { name }
}

/// `X SDN BHD ba`: nothing but a bracket may follow a form that always ends the name.
fn without_words_after_form(name: &str) -> &str {
    const ENDS: [&str; 4] = ["SDN BHD", "SDN. BHD.", "SDN. BHD", "SDN BHD."];
    for end in ENDS {
        let at = name.as_bytes().windows(end.len()).position(|w| w.eq_ignore_ascii_case(end.as_bytes()));
        let Some((head, tail)) = at.and_then(|at| name.split_at_checked(at + end.len())) else { continue };
        if tail.starts_with(char::is_whitespace) && !tail.trim_start().starts_with(['(', '[', '.']) {
            return head;
        }
    }
    name
}

/// `X SDN BHD 862725-U`, `X SDN BHD CO. NO. 862725-U`: without the number and the words that announce it.
fn without_last_number(name: &str) -> &str {
    let Some((head, last)) = name.rsplit_once(char::is_whitespace) else { return name };
    let digits = last.chars().filter(char::is_ascii_digit).count();
    let letters = last.chars().filter(|c| c.is_alphabetic()).count();
    if digits < 5 || letters > 3 {
        return name;
    }
    let mut head = head;
    while let Some((rest, word)) = head.rsplit_once(char::is_whitespace) {
        let words = Words::new(word);
        let announces =
            words.is_empty() || words.iter().all(|w| matches!(w, "NO" | "REG" | "ROC" | "COMPANY" | "CO" | "BRN"));
        if !announces {
            break;
        }
        head = rest;
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser::rows;

    fn vendor(texts: &[&str]) -> Option<String> {
        let lines: Vec<Line> = texts
            .iter()
            .enumerate()
            .map(|(index, text)| Line {
                text: (*text).to_owned(),
                confidence: 99.0,
                page: 1,
                bounds: BoundingBox::new(0.2, 0.04 * index as f32, 0.5, 0.02),
            })
            .collect();
        find(&rows::group(&lines)).map(|field| field.value)
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
    fn sellers_and_buyers_are_told_apart() {
        is(&["Invoice", "From:", "Sliced Example", "To:", "Test Business", "Total 4.00"], "Sliced Example");
        assert_eq!(vendor(&["INVOICE", "Bill To", "ACME Corp", "Total $ 4.00"]), None);
    }

    #[test]
    fn what_is_no_bill_has_no_vendor() {
        assert_eq!(vendor(&["Test Document", "Page (1)", "Date : 08/14/2022"]), None);
        assert_eq!(vendor(&["SOAP 659.00 Y", "04987176039347", "SALT 127.50 V"]), None);
    }

    #[test]
    fn names_are_tidied() {
        for (text, name) in [
            ("AEON CO. (M) BHD (126926-H)", "AEON CO. (M) BHD"),
            ("X SDN BHD (CO. NO:20154-T)", "X SDN BHD"),
            ("X SDN BHD 862725-U", "X SDN BHD"),
            ("X SDN BHD CO. NO. 862725-U", "X SDN BHD"),
            ("** X **", "X"),
            ("META -", "META"),
            ("SUNFISH <484297-M>", "SUNFISH"),
            ("Print Sdn Bhd ba", "Print Sdn Bhd"),
            ("PRINT SDN BHD (NORTH)", "PRINT SDN BHD (NORTH)"),
            ("99 SPEED (2000)", "99 SPEED"),
            ("TRIPLE SIX 666", "TRIPLE SIX 666"),
            ("(X)", "(X)"),
        ] {
            assert_eq!(tidy(text), name, "{text}");
        }
    }
}
