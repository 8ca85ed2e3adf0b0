//! The day on a receipt.

mod notation;

pub(super) use self::notation::parse;

use self::notation::{Found, scan};
use super::header;
use super::lists::{List, list};
use super::rows::Row;
use super::words::Words;
use crate::receipt::{Date, Field, Why};

/// Finds the document's date: one that is labelled as such before one that is not, the first before the later.
pub(super) fn find(rows: &[Row], us: bool) -> Option<Field<Date>> {
    let found: Vec<(Found, &Row)> =
        rows.iter().flat_map(|row| scan(&row.text()).into_iter().map(move |found| (found, row))).collect();
    // 25/12 cannot be a month and a day the other way round: one such date tells how the others are meant.
    let month_first = match (
        found.iter().any(|(f, _)| f.certainly_month_first()),
        found.iter().any(|(f, _)| f.certainly_day_first()),
    ) {
        (true, false) => true,
        (false, true) => false,
        _ => us,
    };
    let mut best: Option<(f32, Field<Date>)> = None;
    let listed = listed_days(rows, month_first);
    for (found, row) in &found {
        let Some(date) = found.date(month_first) else { continue };
        if listed.contains(&date) {
            continue;
        }
        let words = Words::new(&row.text());
        let mut sure: f32 = 0.85;
        let labelled = words.has_any(&LABELS);
        if labelled {
            sure += 0.12;
        }
        if words.has_any(&OTHER_DAYS) {
            sure -= 0.45;
        }
        if found.is_ambiguous() && !us && !(found.certainly_day_first() || found.certainly_month_first()) {
            sure -= 0.05;
        }
        if row.cells.iter().any(|cell| has_time(&cell.text)) {
            sure += 0.08;
        }
        if found.short_year {
            sure -= 0.03;
        }
        if sure >= LEAST && best.as_ref().is_none_or(|(s, _)| sure > *s + 0.01) {
            let score = sure.clamp(0.0, 1.0);
            let rule = if labelled { "called a date" } else { "written as a date" }.to_owned();
            let why = Why { line: row.cells.first().map(|cell| cell.number), rule, score };
            let field = Field { value: date, confidence: row.confidence() * score, place: row.place(), why };
            best = Some((sure, field));
        }
    }
    best.map(|(_, field)| field)
}

/// What calls a day the document's own.
const LABELS: List = list("DATE, DATUM, FECHA, TARIKH, DATA");
/// Days that are not the document's own.
const OTHER_DAYS: List = list(
    "DUE, EXPIRY, EXPIRE, EXP, VALID, BIRTH, DOB, DELIVERY, UNTIL, BEFORE, SINCE, START, END, PERIOD, ARRIVAL, \
    DEPARTURE, CHECK IN, CHECK OUT",
);
/// How sure a day must be: what is only another day of the document is none.
const LEAST: f32 = 0.55;
/// So many days below the heads of a table are what it lists.
const LIST: usize = 3;

/// The days that a table lists, one for each of its rows.
fn listed_days(rows: &[Row], month_first: bool) -> Vec<Date> {
    let heads = rows.iter().position(|row| header::is_items_head(&Words::new(&row.text())));
    let below = rows.iter().skip(heads.map_or(rows.len(), |at| at + 1));
    let is_listed = |text: &String| !Words::new(text).has_any(&LABELS);
    let texts: Vec<String> = below.map(Row::text).filter(is_listed).collect();
    let mut days: Vec<Date> = Vec::new();
    for day in texts.iter().flat_map(|text| scan(text)).filter_map(|found| found.date(month_first)) {
        if !days.contains(&day) {
            days.push(day);
        }
    }
    if days.len() < LIST { Vec::new() } else { days }
}

/// Whether a time stands in the text: what was sold has none, its date has.
fn has_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    let pairs =
        bytes.windows(5).filter(|w| matches!(w, [_, a, b':', c, d] if [a, c, d].iter().all(|b| b.is_ascii_digit())));
    pairs.count() > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser::rows;
    use crate::textract::Line;

    fn day(texts: &[&str]) -> Option<String> {
        let line = |(at, text): (usize, &&str)| Line {
            number: at as u32,
            text: (*text).to_owned(),
            confidence: 99.0,
            page: 1,
            bounds: crate::receipt::BoundingBox::new(0.1, 0.04 * at as f32, 0.6, 0.02),
        };
        let lines: Vec<Line> = texts.iter().enumerate().map(line).collect();
        find(&rows::group(&lines), false).map(|field| field.value.to_string())
    }

    #[test]
    fn the_documents_own_day_comes_first() {
        assert_eq!(day(&["TEA 4.00", "12/03/2018 11:28"]).as_deref(), Some("2018-03-12"));
        assert_eq!(day(&["Due date 12/04/2018", "Invoice date 12/03/2018"]).as_deref(), Some("2018-03-12"));
        assert_eq!(day(&["Member since 01/02/2015", "12/03/2018"]).as_deref(), Some("2018-03-12"));
    }

    #[test]
    fn another_day_is_none() {
        assert_eq!(day(&["Due date 12/04/2018", "TOTAL 4.00"]), None);
        assert_eq!(day(&["Start Date 01/03/2018", "End Date 05/03/2018"]), None);
    }

    #[test]
    fn what_a_table_lists_is_not_the_documents_day() {
        let table = ["Description Hours Total", "01/03/2018 4 40.00", "02/03/2018 3 30.00", "03/03/2018 1 10.00"];
        assert_eq!(day(&table), None);
        assert_eq!(day(&[&["Date 05/03/2018"], table.as_slice()].concat()).as_deref(), Some("2018-03-05"));
        // Two of them may be a sale and its refund.
        assert_eq!(day(&table[..3]).as_deref(), Some("2018-03-01"));
    }
}
