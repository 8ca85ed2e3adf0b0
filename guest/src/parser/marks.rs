//! Signs and codes of currencies, as they are printed at amounts and named by words.

/// What stands at an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// A sign or code of one currency.
    Code(&'static str),
    /// `$`, which is twenty currencies.
    Dollar,
}

/// Signs and codes that are printed at amounts. Codes that are also words or product names (TOP, ALL, RON 95) are left out.
pub(super) const MARKS: [(&str, &str); 50] = [
    ("RM", "MYR"),
    ("MYR", "MYR"),
    ("€", "EUR"),
    ("EUR", "EUR"),
    ("EURO", "EUR"),
    ("£", "GBP"),
    ("GBP", "GBP"),
    ("US$", "USD"),
    ("USD", "USD"),
    ("S$", "SGD"),
    ("SGD", "SGD"),
    ("A$", "AUD"),
    ("AU$", "AUD"),
    ("AUD", "AUD"),
    ("NZ$", "NZD"),
    ("NZD", "NZD"),
    ("C$", "CAD"),
    ("CA$", "CAD"),
    ("CAD", "CAD"),
    ("HK$", "HKD"),
    ("HKD", "HKD"),
    ("NT$", "TWD"),
    ("TWD", "TWD"),
    ("R$", "BRL"),
    ("BRL", "BRL"),
    ("CHF", "CHF"),
    ("SEK", "SEK"),
    ("NOK", "NOK"),
    ("DKK", "DKK"),
    ("PLN", "PLN"),
    ("ZŁ", "PLN"),
    ("CZK", "CZK"),
    ("KČ", "CZK"),
    ("HUF", "HUF"),
    ("₹", "INR"),
    ("INR", "INR"),
    ("RP", "IDR"),
    ("IDR", "IDR"),
    ("฿", "THB"),
    ("THB", "THB"),
    ("₱", "PHP"),
    ("PHP", "PHP"),
    ("₫", "VND"),
    ("VND", "VND"),
    ("₩", "KRW"),
    ("KRW", "KRW"),
    ("円", "JPY"),
    ("JPY", "JPY"),
    ("₺", "TRY"),
    ("₪", "ILS"),
];

/// Bytes of the longest one.
pub(super) const LONGEST_MARK: usize = 4;

/// What a sign or code at an amount says; the token in upper case, with nothing around it.
pub(super) fn mark(token: &str) -> Option<Mark> {
    if token == "$" {
        return Some(Mark::Dollar);
    }
    if token.len() > LONGEST_MARK {
        return None;
    }
    let (_, code) = MARKS.iter().find(|(sign, _)| *sign == token)?;
    Some(Mark::Code(code))
}

/// The currency that the words of an amount name: `Summe EUR`, `TOTAL (RM)`.
pub(super) fn named(words: &str) -> Option<Mark> {
    let last = words.split_whitespace().next_back()?;
    mark(&last.trim_matches(|c: char| c.is_ascii_punctuation() && c != '$').to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mark_is_known() {
        for (sign, code) in MARKS {
            assert_eq!(mark(sign), Some(Mark::Code(code)), "{sign}");
        }
    }

    #[test]
    fn a_label_names_the_currency_of_its_amount() {
        for (words, code) in [("Summe EUR", "EUR"), ("TOTAL (RM):", "MYR"), ("Total CHF", "CHF")] {
            assert_eq!(named(words), Some(Mark::Code(code)), "{words}");
        }
        assert!(named("TOTAL").is_none() && named("").is_none() && named("RM TOTAL").is_none());
    }
}
