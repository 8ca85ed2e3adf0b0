//! What the words at an amount say that it is.

use super::lists::{List, list};
use super::words::Words;

/// What an amount is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    /// What was to be paid. The number says how sure the words are, 0 to 100.
    Total(u8),
    /// Before tax, service or discount.
    Subtotal,
    /// Tax, or a sum of it.
    Tax,
    /// The difference that rounding to a coin makes.
    Rounding,
    /// What was handed over: cash, and words for it.
    Tendered,
    /// What was paid by card, which is the total to the cent.
    Card,
    /// What was given back.
    Change,
    /// What is added for service, beside the tax.
    Service,
    /// Counts, discounts, savings, points: named, and not the total.
    Other,
}

/// Words that are known in spite of a misread letter.
const KNOWN: List = list(
    "\
    TOTAL, SUBTOTAL, CHANGE, ROUNDING, ROUNDED, AMOUNT, PAYABLE, TENDERED, DISCOUNT, JUMLAH, INCLUSIVE, EXCLUDING, \
    RECEIVED, PAYMENT",
);
/// Words of their own that are one letter from a known one.
const NOT_MISREAD: List = list("CHARGE, CHANCE, MOUNT, SOUNDING, DISCOUNTS, CHANGES, EXCLUSIVE, PAYMENTS");
/// What merged words are taken apart into.
const PIECES: List = list(
    "\
    TOTAL, SUB, GRAND, NETT, NET, SALES, AMOUNT, AMT, GST, TAX, VAT, RM, EUR, USD, CASH, QTY, DUE, ROUNDED, ROUNDING, \
    INCL, EXCL, INCLUSIVE, EXCLUDING, PAYABLE, CHANGE, PAID, ITEMS, ITEM, FINAL, BILL, JUMLAH",
);

const SUBTOTAL: List = list(
    "\
    SUBTOTAL, SUB TOTAL, SUBTTL, SUB TTL, ZWISCHENSUMME, SOUS TOTAL, TOTAL HT, TOTAL HORS, SUBTOTAAL, TUSSENTOTAAL, \
    SUBTOTALE, NETTO, NETTOBETRAG, EXCLUDING, EXCLUSIVE, EXCLUDE, EXCLUDED, EXCL, EXC, TOTAL BEFORE, BEFORE TAX, \
    BEFORE GST, TOTAL NET OF, MEZISOUCET, VALISUMMA, DELSUMMA, MEDJUZBROJ, BASE IMPONIBLE, IMPONIBILE, SUB JUMLAH, TOTAL PARCIAL",
);
const COUNT: List = list(
    "\
    QTY, QUANTITY, ITEM, ITEMS, PCS, PIECES, UNITS, ARTICLES, ARTIKEL, ARTICULOS, ARTICOLI, ARTIGOS, POINTS, POINT, \
    LITRE, LITRES, PAX, GUESTS, COVERS, HOURS, WEIGHT, TRANSACTION, TRANSACTIONS, NO OF, NUMBER OF, KUANTITI",
);
const REDUCTION: List = list(
    "\
    DISCOUNT, DISC, SAVING, AJUSTE, TROPP, RABATE, SAVINGS, SAVED, SAVE, REBATE, VOUCHER, COUPON, DEPOSIT, LOYALTY, RABATT, REMISE, TIP, \
    GRATUITY, SUGGESTED, DISKAUN, DESCUENTO, SCONTO, DESCONTO, KORTING, ERSPARNIS",
);
/// Of an account, not of this sale.
const ACCOUNT: List = list(
    "\
    PREVIOUS BALANCE, OPENING BALANCE, BEGINNING BALANCE, CLOSING BALANCE, ENDING BALANCE, BALANCE FORWARD, \
    BALANCE BROUGHT, CARD BALANCE, POINTS BALANCE, BALANCE POINTS",
);
const TAX: List = list(
    "\
    TAX, GST, G S T, V A T, CGST, SGST, IGST, UTGST, VAT, SST, HST, PST, QST, CESS, MWST, UST, TVA, IVA, BTW, TAXES, SERVICE TAX, MOMS, CUKAI, MEHRWERTSTEUER",
);
const INCLUSIVE: List = list("INCL, INCLUSIVE, INCLUDING, INCLUDES, INCLUDED, INCLUDE, INC, WITH, TTC, INKL, PAYABLE");
const ROUNDING: List = list(
    "\
    ROUNDED, ROUNDING, ROUND, ADJ, ADJUSTMENT, RNDG, RND, RUNDUNG, PELARASAN, PENGGENAPAN, ARRONDI, REDONDEO, \
    ARROTONDAMENTO, AFRONDING, ARREDONDAMENTO",
);
const CHANGE: List = list(
    "\
    CHANGE, RUCKGELD, WECHSELGELD, RENDU, RENDU MONNAIE, CAMBIO, WISSELGELD, RESTE, BAKI, CHG DUE, RESZTA, RESTO, \
    TROCO, VUELTO, TERUG",
);
const TENDERED: List = list(
    "\
    TENDERED, TENDER, TEND, PAY CASH, PAY BY, CASH, GASH, CASN, OASH, RECEIVED, PAID, PAYMENT, GEGEBEN, GEG, BAR, BARGELD, ESPECES, \
    EFECTIVO, CONTANT, CONTANTI, CONTANTE, TUNAI, GOTOWKA, CASHIN, CUSTOMER PAY, DINHEIRO, NUMERARIO, PAGAMENTO, \
    BAYARAN, RINGGIT",
);
const CARD: List = list(
    "\
    CR CARD, DR CARD, CR CD, BANK CARD, BANKCARD, DISCOVER, UNIONPAY, JCB, APPLE PAY, GOOGLE PAY, VISA, EDC, MASTER, MASTERCARD, AMEX, DEBIT, CREDIT, CARD, NETS, MAESTRO, GIROCARD, EFTPOS, AMERICAN EXPRESS, CB, \
    CARTE, KARTE, TARJETA, CONTACTLESS, CARTAO, MULTIBANCO, CARTA",
);
const DUE: List = list(
    "\
    AMOUNT DUE, AMT DUE, BALANCE DUE, TOTAL DUE, TOTAL PAYABLE, AMOUNT PAYABLE, AMT PAYABLE, NET PAYABLE, AMOUNT TO \
    PAY, TO PAY, PAY AMOUNT, PAY THIS AMOUNT, TO BE PAID, A PAYER, ZU ZAHLEN, ZU BEZAHLEN, ZAHLBETRAG, RECHNUNGSBETRAG, RECHNUNGSSUMME, \
    BAL DUE, PAYMENT DUE, YOU PAY, VALOR PAGADO, IMPORTO PAGATO, TOTAL PAGADO, TOTAL PAGATO, MONTANT PAYE, VALOR PAGO, \
    K UHRADE, FIZETENDO, ZA PLACILO, ZA NAPLATU, IMPORTE A PAGAR, NETTO A PAYER, NET A PAYER, IMPORTO DOVUTO, \
    TE BETALEN, ATT BETALA, AT BETALE, DO ZAPLATY, A PAGAR, YOU OWE, PLEASE PAY, BILL AMOUNT, INVOICE TOTAL, \
    TOTAL OWING, DA PAGARE, PERLU DIBAYAR",
);
const TOTAL: List = list(
    "\
    TOTAL, TTL, JUMLAH, SUMME, GESAMT, GESAMTBETRAG, ENDBETRAG, GESAMTSUMME, TOTALE, TOTAAL, SUMA, SUMMA, RAZEM, \
    IMPORTE, TOTALS, TOT, SUM, TOTALSUMMA, BRUTTOBETRAG, TOTAALBEDRAG, SAMMENLAGT, LOPPUSUMMA, GESAMTPREIS, ENDSUMME, ENDPREIS, UKUPNO, CELKEM, SPOLU, SKUPAJ, I ALT, IALT, YHTEENSA, SAMTALS, KOKKU, KOPA, VISO, OSSZESEN, VEGOSSZEG, \
    SOMME, SUMMEN, TOPLAM, TONG CONG, TONG TIEN, FUEL SALE, COMPLESSIVO",
);

/// What sentences about something else than this sale speak of.
const POLICY: List =
    list("HOLD, POLICY, REFUND, REFUNDS, RETURNS, RETURNED, EXCHANGED, PREAUTHORIZATION, PENDING, WIN, SURVEY");
/// Words of the longest label that is no sentence.
const LONGEST_LABEL: usize = 5;

/// Says what an amount with these words at it is; none where the words name an item or nothing.
pub(super) fn classify(words: Words) -> Option<Label> {
    let words = words.pieced(&KNOWN, &PIECES).corrected(&KNOWN, &NOT_MISREAD);
    if words.is_empty() {
        return None;
    }
    if words.len() > LONGEST_LABEL && words.has_any(&POLICY) {
        return Some(Label::Other);
    }
    let total = words.has_any(&TOTAL);
    let inclusive = words.has_any(&INCLUSIVE);
    if words.has_any(&SUBTOTAL) {
        return Some(Label::Subtotal);
    }
    if words.has_any(&ROUNDING) {
        let rounded = total && (words.has("AFTER") || words.has("ROUNDED") || words.has("WITH"));
        return Some(if rounded { Label::Total(100) } else { Label::Rounding });
    }
    if words.has_any(&ACCOUNT) || words.has_any(&REDUCTION) && !words.has("AFTER") {
        return Some(Label::Other);
    }
    if words.has_any(&DUE) || words.len() == 1 && words.has_any(&const { list("DUE, PAYABLE") }) {
        let change = words.has("CHANGE");
        return Some(if change { Label::Change } else { Label::Total(95) });
    }
    if words.has_any(&CHANGE) {
        return Some(Label::Change);
    }
    if inclusive && words.has_any(&const { list("AMOUNT, AMT") }) {
        return Some(Label::Total(87));
    }
    // The end of a label that goes over two lines.
    if words.starts_with("INCLUSIVE OF") && words.len() <= 4 {
        return Some(Label::Total(60));
    }
    if words.has_any(&TAX) && !(inclusive && total) && !words.has_any(&const { list("NETT, GRAND") }) {
        return Some(Label::Tax);
    }
    if words.starts_with_any(&TAX) && !words.has("TOTAL INCL") {
        return Some(Label::Tax);
    }
    if total {
        return Some(of_total(&words, inclusive));
    }
    // Somewhere in a sentence these are an item or an entry of an account: they name an amount only at the start.
    if words.starts_with_any(&CARD) || words.has_any(&const { list("CREDIT CARD, DEBIT CARD") }) {
        return Some(Label::Card);
    }
    if words.starts_with_any(&TENDERED)
        || words.len() == 1 && words.has("PAY")
        || words.has_any(&const { list("TENDERED, TENDER, RECEIVED, PAID") })
    {
        return Some(Label::Tendered);
    }
    if words.has_any(&const { list("NET AMOUNT, NETT AMOUNT, NET AMT, NETT AMT, NETT") }) {
        return Some(Label::Total(80));
    }
    if words.has_any(&const { list("AMOUNT, AMT, BETRAG, MONTANT") }) && words.len() <= 5 {
        return Some(Label::Total(55));
    }
    if words.len() == 1 && words.has_any(&const { list("NETO, VALOR, CASTKA, BELOB") }) {
        return Some(Label::Total(55));
    }
    if words.starts_with("BALANCE") && words.len() <= 2 {
        return Some(Label::Total(50));
    }
    if words.starts_with("S C") && words.len() <= 3 {
        return Some(Label::Service);
    }
    if words.has_any(&const { list("SERV, SERVICE, SVC, SRV, SVR") })
        && words.has_any(&const { list("CHARGE, CHG, CHRG, CHR, CHARGES") })
    {
        return Some(Label::Service);
    }
    words.has_any(&COUNT).then_some(Label::Other)
}

/// Whether it counts something.
pub(super) fn is_count(words: &Words) -> bool {
    words.has_any(&COUNT) && !words.has_any(&REDUCTION)
}

/// Whether it is taken off, or added as a tip.
pub(super) fn is_reduction(words: &Words) -> bool {
    words.has_any(&REDUCTION) || words.has_any(&const { list("PROMO, PROMOTION, OFFER, FREE, LESS") })
}

/// `Total 2 items`: how many there are stands within the label.
fn is_of_items(words: &Words) -> bool {
    let all: Vec<&str> = words.iter().collect();
    let is_number = |word: &str| word.bytes().all(|b| b.is_ascii_digit());
    all.windows(3).any(|three| matches!(three, ["TOTAL", number, count] if is_number(number) && COUNT.has(count)))
}

fn of_total(words: &Words, inclusive: bool) -> Label {
    if words.has_any(&const { list("TENDERED, TENDER, PAID, CASH, ACCEPTED, GIVEN") }) && !inclusive {
        return Label::Tendered;
    }
    let is_net =
        words.has_any(
            &const {
                list("NET TOTAL, NETT TOTAL, GRAND TOTAL, ITEMS TOTAL, GRAND TOT, TOTAL COMPRA, TOT COMPRA, FUEL TOTAL")
            },
        );
    if words.has_any(&COUNT) && !inclusive && !is_net && !is_of_items(words)
        || words.has_any(&const { list("SUPPLIES, SUPPLY, TAXABLE") })
    {
        return Label::Other;
    }
    if words.has_any(&const { list("GRAND, FINAL, NETT, NET, AFTER") }) {
        return Label::Total(92);
    }
    if inclusive {
        return Label::Total(88);
    }
    // The longer the sentence, the less it is a label.
    Label::Total(match words.len() {
        0..=3 => 84,
        4..=6 => 74,
        _ => 45,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<Label> {
        classify(Words::new(text))
    }

    fn strength(text: &str) -> u8 {
        match of(text) {
            Some(Label::Total(strength)) => strength,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn totals_by_how_final_they_are() {
        let order = ["TOTAL ROUNDED", "Amount due:", "GRAND TOTAL", "TOTAL INCL. GST@6%", "TOTAL (RM)", "AMOUNT"];
        for pair in order.windows(2) {
            assert!(strength(pair[0]) > strength(pair[1]), "{pair:?}");
        }
        for text in [
            "TOTAL AFTER ROUNDING",
            "TOTAL SALES (INCLUSIVE GST) RM",
            "FINAL TOTAL",
            "NETT TOTAL:",
            "Summe",
            "Total TTC",
            "TOTA1",
            "TOTAL AMT INCL. GST @ 6% :",
            "TOTAL AFTER ADJ INCL GST",
            "TOTAL (GST INCL)",
            "T O T A L",
            "TO TAL",
            "TOTALRM",
            "GrandTotal",
            "TotalSales (Inclusive of GST)",
            "TOTA!",
            "TUTAL",
            "IUIAL",
            "JUMLAH BESAR",
            "Rechnungsbetrag",
            "Net à payer",
            "Totale complessivo",
            "JGTAL SALES",
            "2 Item(s) Net Total (MYR)",
            "(Inclusive of GST):",
        ] {
            strength(text);
        }
    }

    #[test]
    fn what_is_near_a_total_is_none() {
        for (text, label) in [
            ("SUB-TOTAL (GST)", Label::Subtotal),
            ("TOTAL (EXCLUDING GST):", Label::Subtotal),
            ("Zwischensumme", Label::Subtotal),
            ("TOTAL GST", Label::Tax),
            ("GST @6%", Label::Tax),
            ("GST INCLUDED IN TOTAL", Label::Tax),
            ("ROUNDING ADJUSTMENT", Label::Rounding),
            ("TOTAL ROUNDING", Label::Rounding),
            ("CASH", Label::Tendered),
            ("Pay", Label::Tendered),
            ("EDC MASTER", Label::Card),
            ("INCL. GST 6%", Label::Tax),
            ("AMOUNT TENDERED", Label::Tendered),
            ("VISA ****1234", Label::Card),
            ("CHANGE DUE", Label::Change),
            ("TOTAL SAVINGS", Label::Other),
            ("TOTAL QTY:", Label::Other),
            ("TOTAL 6% SUPPLIES", Label::Other),
            ("Suggested tip 15%", Label::Other),
            ("Previous balance", Label::Other),
            ("SubTotal", Label::Subtotal),
            ("SUB TO TAL", Label::Subtotal),
            ("Base imponible", Label::Subtotal),
            ("Resto", Label::Change),
            ("Troco", Label::Change),
            ("Baki", Label::Change),
            ("CASHRM", Label::Tendered),
            ("Rundung", Label::Rounding),
        ] {
            assert_eq!(of(text), Some(label), "{text}");
        }
        assert_eq!(of("CHICKEN RICE"), None);
        assert_eq!(of("SERVICE CHARGE 10%"), Some(Label::Service));
    }
}
