//! Which currency a document is in: by the sign at the amount, else by what the whole document shows.

use super::amounts;
use super::marks::{LONGEST_MARK, Mark, mark};

/// ISO 4217 codes in use, for codes that Textract itself names.
const CODES: &str = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF \
CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR \
ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU \
MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD \
SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XOF \
XPF YER ZAR ZMW ZWG";

const US_STATES: &str = "AL AK AZ AR CA CO CT DE FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH \
OK OR PA RI SC SD TN TX UT VT VA WA WV WI WY DC PR";

/// The code, if it is one of ISO 4217's.
pub(super) fn known(code: &str) -> Option<&'static str> {
    CODES.split(' ').find(|known| *known == code)
}

/// What a whole document says about its currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Context {
    /// The one currency that the document shows; none where it shows none, or several.
    pub(super) shown: Option<&'static str>,
    /// Whether it names a place in the United States: `$` is then USD, and months come before days.
    pub(super) us: bool,
}

impl Context {
    pub(super) fn new<'a>(texts: impl Iterator<Item = &'a str> + Clone) -> Self {
        let mut context = Self { shown: None, us: texts.clone().any(names_us_place) };
        let mut codes = texts.flat_map(marks_in).filter_map(|mark| context.code(Some(mark))).peekable();
        let first = codes.peek().copied();
        if codes.all(|code| Some(code) == first) {
            context.shown = first;
        }
        context
    }

    /// The currency of an amount with this mark. `$` alone is only a currency where something says which.
    pub(super) fn currency(&self, mark: Option<Mark>) -> Option<&'static str> {
        self.code(mark).or(self.shown)
    }

    fn code(&self, mark: Option<Mark>) -> Option<&'static str> {
        match mark? {
            Mark::Code(code) => Some(code),
            Mark::Dollar => self.us.then_some("USD"),
        }
    }
}

/// The marks in a text: `Total (RM)`, `€`, `$5`, `EUR 5.00`, `Summe EUR`.
fn marks_in(text: &str) -> impl Iterator<Item = Mark> + '_ {
    let found = text
        .split(|c: char| c.is_whitespace() || c.is_ascii_digit() || (c.is_ascii_punctuation() && c != '$'))
        .filter(|token| !token.is_empty() && token.len() <= LONGEST_MARK)
        .filter_map(move |token| Some((token, mark(&token.to_uppercase())?)));
    found.filter(|(token, mark)| says_currency(text, token, *mark)).map(|(_, mark)| mark)
}

/// Whether a sign or code is meant as a currency: it stands at a price, in brackets, alone, or at the end of a label.
/// Elsewhere it may be anything: SEK is also short for a section of a town, and OCR sees £ in many an E.
fn says_currency(text: &str, sign: &str, mark: Mark) -> bool {
    let at_price = || amounts::scan(text).iter().any(|amount| amount.has_cents() && amount.mark == Some(mark));
    let in_brackets = text.contains(&format!("({sign})"));
    let is_word = sign.bytes().all(|b| b.is_ascii_alphabetic());
    let ends_label = is_word && !text.contains(|c: char| c.is_ascii_digit()) && text.ends_with(sign);
    in_brackets || ends_label || text == sign || at_price()
}

fn names_us_place(text: &str) -> bool {
    let is_state =
        |word: &str| word.len() == 2 && US_STATES.as_bytes().chunks(3).any(|s| s.starts_with(word.as_bytes()));
    let is_zip = |word: &str| {
        let digits = word.split('-').next().unwrap_or_default();
        digits.len() == 5 && digits.bytes().all(|b| b.is_ascii_digit())
    };
    let mut state = false;
    for word in text.split_whitespace() {
        let word = word.trim_matches(|c: char| c.is_ascii_punctuation());
        if word == "USA" || (state && is_zip(word)) {
            return true;
        }
        state = is_state(word);
    }
    // `CHICAGO, IL`: a town, a comma, and a state at the end.
    let town = text.rsplit_once(',').is_some_and(|(town, state)| {
        is_state(state.trim_matches(|c: char| c == ' ' || c == '.')) && town.ends_with(|c: char| c.is_alphabetic())
    });
    town || text.contains("United States")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser::marks::MARKS;

    fn context(texts: &[&str]) -> Context {
        Context::new(texts.iter().copied())
    }

    #[test]
    fn codes_are_well_formed() {
        assert!(CODES.split(' ').all(|code| code.len() == 3));
        for (_, code) in MARKS {
            assert_eq!(known(code), Some(code));
        }
        assert_eq!(known("XYZ"), None);
        assert_eq!(known("usd"), None);
    }

    #[test]
    fn a_dollar_is_american_only_in_america() {
        assert_eq!(context(&["$5.00", "12 Main St, Springfield, IL 62701"]).shown, Some("USD"));
        assert_eq!(context(&["$5.00", "CHICAGO, IL"]).currency(Some(Mark::Dollar)), Some("USD"));
        assert_eq!(context(&["$5.00", "81100 JOHOR"]).currency(Some(Mark::Dollar)), None);
        assert_eq!(context(&["US$ 5.00"]).shown, Some("USD"));
        assert!(!context(&["PLEASE COME IN", "NO 5, JALAN 12/4, PA"]).us);
    }

    #[test]
    fn signs_and_codes_are_known() {
        for (text, code) in
            [("RM6.35", "MYR"), ("Total (RM)", "MYR"), ("12,50 €", "EUR"), ("£3.00", "GBP"), ("CHF 4.00", "CHF")]
        {
            assert_eq!(context(&[text]).shown, Some(code), "{text}");
        }
        assert_eq!(context(&["Summe EUR", "Amount (USD)", "5.00"]).shown, None);
        assert_eq!(context(&["Summe EUR", "12,50"]).shown, Some("EUR"));
        assert_eq!(context(&["FARM 12", "RON 95", "TOP 5", "E.&.O.£.", "TAMAN SEK U9, 40150 SHAH ALAM"]).shown, None);
    }

    #[test]
    fn two_currencies_are_none_for_the_document_and_one_for_the_amount() {
        let both = context(&["EUR 5.00", "GBP 4.00"]);
        assert_eq!(both.shown, None);
        assert_eq!(both.currency(Some(Mark::Code("EUR"))), Some("EUR"));
    }
}
