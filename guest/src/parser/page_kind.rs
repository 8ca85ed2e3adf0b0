//! Whether a page is a bill at all.

use super::amounts;
use super::lists::{List, list};
use super::rows::Row;
use super::words::Words;

/// What a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageKind {
    /// It shows a price, or calls itself a bill.
    Bill,
    /// It lists what went in and out of an account: it has sums, and none of them is to be paid.
    Statement,
    /// A letter, a form. It has a first line too, but no vendor.
    Other,
}

/// Says what a page is.
pub(super) fn classify(rows: &[Row]) -> PageKind {
    const ACCOUNTS: [List; 2] = [
        list("ACCOUNT STATEMENT, BANK STATEMENT, STATEMENT OF ACCOUNT"),
        list("BEGINNING BALANCE, OPENING BALANCE, ENDING BALANCE, CLOSING BALANCE"),
    ];
    let mut kind = PageKind::Other;
    // A bill may name one of them in its small print; together they are an account's.
    let mut said = [false; ACCOUNTS.len()];
    for cell in rows.iter().flat_map(|row| &row.cells) {
        let words = Words::new(&cell.text);
        for (said, phrases) in said.iter_mut().zip(&ACCOUNTS) {
            *said = *said || words.has_any(phrases);
        }
        if said.iter().all(|said| *said) {
            return PageKind::Statement;
        }
        if kind == PageKind::Bill {
            continue;
        }
        let is_priced = || amounts::scan(&cell.text).iter().any(|a| a.has_cents() || a.mark.is_some());
        if words.has_any(&const { list("RECEIPT, INVOICE, TOTAL, CASH BILL") }) || is_priced() {
            kind = PageKind::Bill;
        }
    }
    kind
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser::rows;
    use crate::textract::Line;

    fn of(texts: &[&str]) -> PageKind {
        let line = |(at, text): (usize, &&str)| Line {
            number: at as u32,
            text: (*text).to_owned(),
            confidence: 99.0,
            page: 1,
            bounds: None,
        };
        let lines: Vec<Line> = texts.iter().enumerate().map(line).collect();
        classify(&rows::group(&lines))
    }

    #[test]
    fn bills_are_told_from_statements_and_letters() {
        assert_eq!(of(&["CORNER CAFE", "TEA 4.00"]), PageKind::Bill);
        assert_eq!(of(&["ACCOUNT STATEMENT", "Beginning balance 1,200.00"]), PageKind::Statement);
        assert_eq!(of(&["Dear Ms Brown,", "thank you for your letter."]), PageKind::Other);
    }

    #[test]
    fn small_print_makes_no_statement_of_a_bill() {
        assert_eq!(of(&["TOTAL 4.00", "THIS WILL APPEAR ON YOUR BANK STATEMENT AS CORNER CAFE"]), PageKind::Bill);
        assert_eq!(of(&["Beginning balance 20.00", "Amount due 45.00"]), PageKind::Bill);
    }
}
