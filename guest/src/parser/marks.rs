//! Signs and codes of currencies, as they are printed at amounts and named by words.

/// What stands at an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// A sign or code of one currency.
    Code(&'static str),
    /// `$`, which is twenty currencies.
    Dollar,
    /// A sign that several currencies share: their codes, with a space between.
    Several(&'static str),
    /// A letter that is a sign only at an amount with decimals: the codes of its currencies.
    Letter(&'static str),
}

impl Mark {
    /// The one currency that it says.
    pub(super) fn code(self) -> Option<&'static str> {
        match self {
            Self::Code(code) => Some(code),
            _ => None,
        }
    }

    /// Whether it may be one of this currency.
    pub(super) fn may_be(self, code: &str) -> bool {
        match self {
            Self::Code(own) => own == code,
            Self::Dollar => DOLLARS.split(' ').any(|dollar| dollar == code),
            Self::Several(codes) | Self::Letter(codes) => codes.split(' ').any(|own| own == code),
        }
    }

    /// Whether it says nothing at a number without decimals.
    pub(super) fn is_weak(self) -> bool {
        matches!(self, Self::Letter(_))
    }
}

/// Currencies that are written `$`.
const DOLLARS: &str =
    "USD AUD CAD SGD HKD NZD TWD MXN CLP COP ARS BRL UYU BND BBD BSD BZD FJD GYD JMD KYD LRD NAD TTD XCD";

/// Signs that several currencies share.
const SHARED: [(&str, &str); 6] = [
    ("RS", "INR PKR LKR NPR MUR SCR"),
    ("KR", "SEK NOK DKK ISK"),
    ("¥", "JPY CNY"),
    ("SH", "KES TZS UGX"),
    ("BS", "VES BOB"),
    ("LEI", "RON MDL"),
];
const LETTERS: [(&str, &str); 4] = [("R", "ZAR MYR"), ("P", "PHP BWP"), ("Q", "GTQ"), ("L", "HNL")];

/// ISO 4217 codes in use.
pub(super) const CODES: &str = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF \
CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR \
ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU \
MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD \
SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XOF \
XPF YER ZAR ZMW ZWG";

/// Codes that are also words or names of goods: they are one where they end a label.
const WORDS: &str = "ALL AMD BAM BHD BND BOB COP CUP DOP ERN GEL LAK MAD MOP MUR PAB PEN RON SLE SOS STN TOP";

/// Those of them that stand at a price as codes only: no goods are called so.
const RARE_WORDS: &str = "AMD BAM BHD BND COP DOP GEL MAD MOP MUR RON";

/// A code that is also a word, at an amount with two decimals: `89,00 RON`.
pub(super) fn also_word(token: &str) -> Option<Mark> {
    let is_one = token.len() == 3 && RARE_WORDS.split(' ').any(|word| word == token);
    if is_one { known(token).map(Mark::Code) } else { None }
}

/// The code, if it is one of ISO 4217's.
pub(super) fn known(code: &str) -> Option<&'static str> {
    // Three letters and a blank each; splitting the list at its blanks takes several times as long.
    let at = CODES.as_bytes().chunks(4).position(|listed| listed.get(..3) == Some(code.as_bytes()))?;
    CODES.get(4 * at..4 * at + 3)
}

/// Signs and codes that are printed at amounts and elsewhere. The other codes of ISO 4217 count at amounts and labels alone.
pub(super) const MARKS: [(&str, &str); 73] = [
    ("S/", "PEN"),
    ("KSH", "KES"),
    ("DHS", "AED"),
    ("FT", "HUF"),
    ("TL", "TRY"),
    ("CDN$", "CAD"),
    ("USD$", "USD"),
    ("MX$", "MXN"),
    ("RD$", "DOP"),
    ("J$", "JMD"),
    ("₦", "NGN"),
    ("₲", "PYG"),
    ("₡", "CRC"),
    ("₴", "UAH"),
    ("₽", "RUB"),
    ("₸", "KZT"),
    ("₭", "LAK"),
    ("৳", "BDT"),
    ("원", "KRW"),
    ("元", "CNY"),
    ("GH₵", "GHS"),
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
    ("Đ", "VND"),
    ("VNĐ", "VND"),
    ("₩", "KRW"),
    ("KRW", "KRW"),
    ("円", "JPY"),
    ("JPY", "JPY"),
    ("₺", "TRY"),
    ("₪", "ILS"),
];

/// Bytes of the longest one.
pub(super) const LONGEST_MARK: usize = 5;

/// What a sign or code at an amount says; the token in upper case, with nothing around it.
pub(super) fn mark(token: &str) -> Option<Mark> {
    if token == "$" {
        return Some(Mark::Dollar);
    }
    if token.len() > LONGEST_MARK {
        return None;
    }
    let of =
        |signs: &'static [(&str, &'static str)]| signs.iter().find(|(sign, _)| *sign == token).map(|(_, code)| *code);
    if let Some(code) = of(&MARKS) {
        return Some(Mark::Code(code));
    }
    if let Some(codes) = of(&SHARED) {
        return Some(Mark::Several(codes));
    }
    if let Some(codes) = of(&LETTERS) {
        return Some(Mark::Letter(codes));
    }
    if token.len() != 3 {
        return None;
    }
    let is_word = || WORDS.split(' ').any(|word| word == token);
    Some(Mark::Code(known(token).filter(|_| !is_word())?))
}

/// The currency that the words of an amount name: `Summe EUR`, `TOTAL (RM)`.
pub(super) fn named(words: &str) -> Option<Mark> {
    let (before, last) = words.trim_end().rsplit_once(char::is_whitespace).unwrap_or(("", words));
    let last = last.trim_matches(|c: char| c.is_ascii_punctuation() && c != '$').to_uppercase();
    let code = || known(&last).filter(|_| before.to_uppercase().contains("TOT")).map(Mark::Code);
    mark(&last).filter(|mark| !mark.is_weak()).or_else(code)
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
    fn every_code_is_a_sign_but_for_words() {
        assert!(CODES.split(' ').all(|code| code.len() == 3));
        for (token, found) in [("AED", Some(Mark::Code("AED"))), ("XYZ", None), ("TOP", None), ("RON", None)] {
            assert_eq!(mark(token), found, "{token}");
        }
        assert!(mark("RS").is_some_and(|mark| mark.may_be("INR") && mark.code().is_none()));
    }

    #[test]
    fn a_label_names_the_currency_of_its_amount() {
        for (words, code) in [("Summe EUR", "EUR"), ("TOTAL (RM):", "MYR"), ("Total CHF", "CHF")] {
            assert_eq!(named(words), Some(Mark::Code(code)), "{words}");
        }
        assert_eq!(named("Total RON"), Some(Mark::Code("RON")));
        assert!(named("PEN").is_none() && named("Pho L").is_none());
        assert!(named("TOTAL").is_none() && named("").is_none() && named("RM TOTAL").is_none());
    }
}
