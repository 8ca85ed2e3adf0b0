//! The day on a receipt.

use std::collections::BTreeSet;

use super::american;
use super::amounts;
use super::date_notation::{Found, LABELS, scan};
use super::header;
use super::lists::{List, list};
use super::rows::Row;
use super::words::Words;
use crate::receipt::{Date, Field, Why};

/// Finds the document's date: one that is labelled as such before one that is not, the first before the later.
pub(super) fn find(rows: &[Row], us: bool) -> Option<Field<Date>> {
    let mut days: Vec<Day> = rows.iter().enumerate().flat_map(|(at, row)| Day::all(at, row)).take(MOST).collect();
    // 25/12 cannot be a month and a day the other way round: one such date tells how the others are meant.
    let month_first = match (
        days.iter().any(|day| day.found.certainly_month_first()),
        days.iter().any(|day| day.found.certainly_day_first()),
    ) {
        (true, false) => true,
        (false, true) => false,
        _ => us || days.iter().any(|day| day.found.is_ambiguous()) && american::is_likely(rows),
    };
    leave_out_listed(&mut days, rows, month_first);
    let mut best: Option<(f32, Field<Date>)> = None;
    for day in &days {
        let (Some(date), Some(row)) = (day.found.date(month_first), rows.get(day.row)) else { continue };
        let sure = day.sure(month_first);
        if sure < LEAST || best.as_ref().is_some_and(|(s, _)| sure <= *s + 0.01) {
            continue;
        }
        let score = sure.clamp(0.0, 1.0);
        let rule = if day.called == Called::Date { "called a date" } else { "written as a date" }.to_owned();
        let why = Why { line: row.cells.first().map(|cell| cell.number), rule, score };
        let field = Field { value: date, confidence: row.confidence() * score, place: row.place(), why };
        best = Some((sure, field));
    }
    best.map(|(_, field)| field)
}

/// Days that are not the document's own.
const OTHER_DAYS: List = list(
    "DUE, EXPIRY, EXPIRE, EXP, VALID, BIRTH, DOB, UNTIL, BEFORE, SINCE, DELIVERY DATE, START DATE, END DATE, PERIOD, \
    ARRIVAL, DEPARTURE, CHECK IN, CHECK OUT, RETURN, RETURNS, EXCHANGE",
);
/// How sure a day must be: what is only another day of the document is none.
const LEAST: f32 = 0.5;
/// Dates of a page, and of one row, that are looked at.
const MOST: usize = 200;
const MOST_IN_ROW: usize = 8;
/// So many days below the heads of a table are what it lists.
const LIST: usize = 3;

/// A date on the page.
struct Day {
    found: Found,
    row: usize,
    called: Called,
    has_time: bool,
}

/// What the words at a date call it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Called {
    Date,
    OtherDay,
    Nothing,
}

impl Day {
    /// Those of a row.
    fn all(at: usize, row: &Row) -> Vec<Self> {
        let mut found = scan(&row.text());
        if found.is_empty() {
            return Vec::new();
        }
        found.truncate(MOST_IN_ROW);
        let has_time = row.cells.iter().any(|cell| has_time(&cell.text));
        let in_cells: Vec<Vec<Found>> = row.cells.iter().map(|cell| scan(&cell.text)).collect();
        let named = |found: &Found| called(row, &in_cells, found);
        found.iter().map(|found| Self { found: *found, row: at, called: named(found), has_time }).collect()
    }

    fn sure(&self, month_first: bool) -> f32 {
        let mut sure: f32 = match self.called {
            Called::Date => 0.97,
            Called::OtherDay => 0.4,
            Called::Nothing => 0.85,
        };
        if self.found.is_ambiguous() && !month_first {
            sure -= 0.05;
        }
        if self.has_time {
            sure += 0.08;
        }
        if self.found.short_year {
            sure -= 0.03;
        }
        if self.found.is_run {
            sure -= 0.2;
        }
        sure
    }
}

/// What a date is called: in its own cell, or in those before it up to another date.
fn called(row: &Row, in_cells: &[Vec<Found>], found: &Found) -> Called {
    let own = in_cells.iter().position(|dates| dates.contains(found));
    let from = own.map(|own| in_cells.iter().take(own).rposition(|dates| !dates.is_empty()).map_or(0, |at| at + 1));
    // Torn over cells, it may be called so by any of them.
    let (from, to) = from.zip(own).map_or((0, row.cells.len()), |(from, own)| (from, own + 1));
    let texts: Vec<&str> = row.cells.iter().take(to).skip(from).map(|cell| cell.text.as_str()).collect();
    let words = Words::new(&texts.join(" "));
    // Of two dates in one cell the first is the document's: `Invoice date 12/03/2018 due date 12/04/2018`.
    let is_first_of_two =
        own.and_then(|own| in_cells.get(own)).is_some_and(|d| d.len() > 1 && d.first() == Some(found));
    match words.has_any(&LABELS) {
        _ if words.has_any(&OTHER_DAYS) && !is_first_of_two => Called::OtherDay,
        true => Called::Date,
        false => Called::Nothing,
    }
}

/// Leaves out the days that a table lists, one for each of its priced rows.
fn leave_out_listed(days: &mut Vec<Day>, rows: &[Row], month_first: bool) {
    let heads = rows.iter().position(|row| header::is_items_head(&Words::new(&row.text())));
    let Some(heads) = heads.filter(|_| days.len() >= LIST) else { return };
    let is_priced = |at: usize| {
        let cells = rows.get(at).map(|row| row.cells.as_slice()).unwrap_or_default();
        cells.iter().any(|cell| amounts::scan(&cell.text).iter().any(amounts::Amount::has_cents))
    };
    let is_listed = |day: &Day| day.row > heads && day.called == Called::Nothing && !day.has_time && is_priced(day.row);
    let listed: Vec<bool> = days.iter().map(is_listed).collect();
    let dates =
        days.iter().zip(&listed).filter(|(_, listed)| **listed).filter_map(|(day, _)| day.found.date(month_first));
    if dates.collect::<BTreeSet<Date>>().len() < LIST {
        return;
    }
    let mut listed = listed.into_iter();
    days.retain(|_| !listed.next().unwrap_or(false));
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
    use crate::receipt::BoundingBox;
    use crate::textract::Line;

    fn day(texts: &[&str]) -> Option<String> {
        let mut lines = Vec::new();
        for (at, text) in texts.iter().enumerate() {
            for (column, cell) in text.split('|').enumerate() {
                lines.push(Line {
                    number: lines.len() as u32,
                    text: cell.to_owned(),
                    confidence: 99.0,
                    page: 1,
                    bounds: BoundingBox::new(0.1 + 0.2 * column as f32, 0.04 * at as f32, 0.19, 0.02),
                });
            }
        }
        find(&rows::group(&lines), false).map(|field| field.value.to_string())
    }

    #[test]
    fn the_documents_own_day_comes_first() {
        for texts in [
            ["TEA 4.00", "12/03/2018 11:28"],
            ["Due date 12/04/2018", "Invoice date 12/03/2018"],
            ["Member since 01/02/2015", "12/03/2018"],
            ["Invoice Date 12/03/2018|Due Date 12/04/2018", "TOTAL 4.00"],
            ["Invoice Date|12/03/2018|Due Date|12/04/2018", "TOTAL 4.00"],
            ["Invoice Date 12/03/2018 Due Date 12/04/2018", "TOTAL 4.00"],
            ["Date 12/03/2018|Valid until further notice", "TOTAL 4.00"],
            ["DELIVERY 12/03/2018 18:22", "TOTAL 4.00"],
            ["WEST END 12/03/2018", "TOTAL 4.00"],
            ["Start 12/03/2018 10:00", "Parking 4.00"],
        ] {
            assert_eq!(day(&texts).as_deref(), Some("2018-03-12"), "{texts:?}");
        }
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
        assert_eq!(day(&[&["Date 03/03/2018"], table.as_slice()].concat()).as_deref(), Some("2018-03-03"));
        // Two of them may be a sale and its refund.
        assert_eq!(day(&table[..3]).as_deref(), Some("2018-03-01"));
        let below = ["QTY DESCRIPTION AMOUNT", "1 TEA 4.00", "12/03/2018 11:28"];
        let below = [&below[..], &["Points valid until 30/06/2018", "Vouchers expire 31/12/2019"]].concat();
        assert_eq!(day(&below).as_deref(), Some("2018-03-12"));
    }

    #[test]
    fn a_page_full_of_dates_is_no_work() {
        let many = vec!["12/03/2018 ".repeat(80); 300];
        let texts: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(day(&texts).as_deref(), Some("2018-03-12"));
    }
}
