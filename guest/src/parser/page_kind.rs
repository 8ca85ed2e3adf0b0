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
    /// A form about somebody's work, loan or taxes: its sums are nobody's to pay.
    Form,
    /// A letter, a form. It has a first line too, but no vendor.
    Other,
}

/// So many kinds of a form's words make one.
const FORM: usize = 3;

/// Whether the page says that nothing was paid: the sale was voided, the card declined, or it is an offer.
pub(super) fn is_unpaid(rows: &[Row]) -> bool {
    /// What became of a sale.
    const UNDONE: List = list(
        "\
        VOID, VOIDED, DECLINED, CANCELLED, CANCELED, NOT APPROVED, NOT AUTHORISED, NOT AUTHORIZED, REFUSED, TRANSACTION FAILED, \
        PAYMENT FAILED, STORNIERT, STORNO, ABGELEHNT, ANNULE, ANNULEE, REFUSEE, ANULADO, ANULADA, DENEGADA, RECHAZADA, ANNULLATO, \
        RIFIUTATA, CANCELADO, RECUSADA, GEANNULEERD, GEWEIGERD",
    );
    /// What a page calls itself, perhaps with a number.
    const OFFERS: List = list(
        "\
        QUOTATION, QUOTE, ESTIMATE, PRO FORMA, PROFORMA, KOSTENVORANSCHLAG, ANGEBOT NR, ANGEBOTSNUMMER, DEVIS, PRESUPUESTO, COTIZACION, \
        PREVENTIVO, ORCAMENTO, OFFERTE NR, OFFERTENUMMER",
    );
    const TRAINING: List =
        list("TRAINING MODE, TRAINING RECEIPT, TRAINING TRANSACTION, IN TRAINING, TRAINING SALE, TRAINING ONLY");
    const DECLINED: List = list(
        "CARD DECLINED, PAYMENT DECLINED, TRANSACTION DECLINED, CARD WAS DECLINED, SALE WAS VOIDED, TRANSACTION VOIDED",
    );
    /// `Item void`, `Void where prohibited`, `Void if detached`.
    const NOT_THE_SALE: List = list("ITEM, ITEMS, IF, WHERE, WITHOUT, AFTER, UNLESS, COUPON, VOUCHER");
    rows.iter().flat_map(|row| &row.cells).any(|cell| {
        let words = Words::new(&cell.text);
        let has_price = || amounts::scan(&cell.text).iter().any(amounts::Amount::has_cents);
        let undone = words.len() <= 3 && words.has_any(&UNDONE) && !words.has_any(&NOT_THE_SALE);
        let is_count = || words.has("VOID") && cell.text.contains(|c: char| c.is_ascii_digit());
        let offer = words.len() <= 7 && words.starts_with_any(&OFFERS) || words.len() <= 3 && words.has_any(&OFFERS);
        let only_void = || words.len() > 3 && words.iter().all(|word| UNDONE.has(word));
        let training = words.len() == 1 && words.has("TRAINING") || words.len() <= 4 && words.has_any(&TRAINING);
        ((undone && !is_count() || offer) && !has_price())
            || training
            || only_void()
            || words.has_any(&DECLINED)
            || words.has("NOT A RECEIPT")
    })
}

/// Says what a page is.
pub(super) fn classify(rows: &[Row]) -> PageKind {
    const ACCOUNTS: [List; 2] = [
        list("ACCOUNT STATEMENT, BANK STATEMENT, STATEMENT OF ACCOUNT"),
        list("BEGINNING BALANCE, OPENING BALANCE, ENDING BALANCE, CLOSING BALANCE"),
    ];
    const FORMS: [List; 6] = [
        list("EMPLOYER, EMPLOYERS"),
        list("EMPLOYEE, EMPLOYEES, EMPLOYMENT"),
        list("APPLICANT, BORROWER, LENDER"),
        list("FORM, OMB, IRS"),
        list("TRADE NAME, TAXPAYER, WAGES, GROSS EARNINGS"),
        list("VERIFICATION, CERTIFICATION, AUTHORIZED SIGNATURE"),
    ];
    let mut kind = PageKind::Other;
    let mut asked = [false; FORMS.len()];
    // A bill may name one of them in its small print; together they are an account's.
    let mut said = [false; ACCOUNTS.len()];
    for cell in rows.iter().flat_map(|row| &row.cells) {
        let words = Words::new(&cell.text);
        for (said, phrases) in said.iter_mut().zip(&ACCOUNTS) {
            *said = *said || words.has_any(phrases);
        }
        for (asked, phrases) in asked.iter_mut().zip(&FORMS) {
            *asked = *asked || words.has_any(phrases);
        }
        if asked.iter().filter(|asked| **asked).count() >= FORM {
            return PageKind::Form;
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

    fn lines(texts: &[&str]) -> Vec<Line> {
        let line = |(at, text): (usize, &&str)| Line {
            number: at as u32,
            text: (*text).to_owned(),
            confidence: 99.0,
            page: 1,
            bounds: None,
        };
        texts.iter().enumerate().map(line).collect()
    }

    fn of(texts: &[&str]) -> PageKind {
        classify(&rows::group(&lines(texts)))
    }

    #[test]
    fn a_page_says_that_nothing_was_paid() {
        for text in [
            "VOID",
            "*** VOID ***",
            "CARD DECLINED",
            "TRAINING MODE",
            "QUOTATION",
            "ESTIMATE No. 12",
            "PRO FORMA",
            "DEVIS",
        ] {
            assert!(is_unpaid(&rows::group(&lines(&[text, "TOTAL 4.00"]))), "{text}");
        }
        for text in
            ["ITEM VOID", "VOID 4.00", "Void where prohibited", "Declined goods are taken back", "HILL TRAINING CENTRE"]
        {
            assert!(!is_unpaid(&rows::group(&lines(&[text, "TOTAL 4.00"]))), "{text}");
        }
    }

    #[test]
    fn bills_are_told_from_statements_and_letters() {
        assert_eq!(of(&["CORNER CAFE", "TEA 4.00"]), PageKind::Bill);
        assert_eq!(of(&["ACCOUNT STATEMENT", "Beginning balance 1,200.00"]), PageKind::Statement);
        let form = ["Employer", "Employee name", "Form 12", "Overtime 90.00"];
        assert_eq!(of(&form), PageKind::Form);
        assert_eq!(of(&["Dear Ms Brown,", "thank you for your letter."]), PageKind::Other);
    }

    #[test]
    fn small_print_makes_no_statement_of_a_bill() {
        assert_eq!(of(&["TOTAL 4.00", "THIS WILL APPEAR ON YOUR BANK STATEMENT AS CORNER CAFE"]), PageKind::Bill);
        assert_eq!(of(&["Beginning balance 20.00", "Amount due 45.00"]), PageKind::Bill);
    }
}
