//! Whether a page is a bill at all.

use super::amounts;
use super::rows::Row;
use super::words::Words;

/// A bill shows a price, or calls itself one. What is neither (a letter, a form) has a first line too, but no vendor; nor
/// has a bank's statement, which is full of prices.
pub(super) fn is_one(rows: &[Row]) -> bool {
    let mut priced = false;
    for cell in rows.iter().flat_map(|row| &row.cells) {
        let words = Words::new(&cell.text);
        if words.has_any(STATEMENT) {
            return false;
        }
        priced = priced
            || words.has_any("RECEIPT, INVOICE, TOTAL, CASH BILL")
            || amounts::scan(&cell.text).iter().any(|a| a.has_cents() || a.mark.is_some());
    }
    priced
}

/// Whether it lists what went in and out of an account: it has sums, and none of them is to be paid.
pub(super) fn is_statement(rows: &[Row]) -> bool {
    rows.iter().flat_map(|row| &row.cells).any(|cell| Words::new(&cell.text).has_any(STATEMENT))
}

const STATEMENT: &str = "ACCOUNT STATEMENT, BANK STATEMENT, BEGINNING BALANCE";
