//! Which currency a document is in: by the sign at the amount, else by what the whole document shows.

use super::amounts;
use super::marks::{LONGEST_MARK, MARKS, Mark, mark};
use super::places;

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

    /// The currency of an amount with this mark. What the document shows elsewhere counts where nothing stands at the amount, or a
    /// sign that may mean it; `$` alone is only a currency where something says which.
    pub(super) fn currency(&self, mark: Option<Mark>) -> Option<&'static str> {
        self.code(mark).or_else(|| self.shown.filter(|shown| mark.is_none_or(|mark| mark.may_be(shown))))
    }

    fn code(&self, mark: Option<Mark>) -> Option<&'static str> {
        match mark? {
            Mark::Code(code) => Some(code),
            Mark::Dollar => self.us.then_some("USD"),
            Mark::Several(_) | Mark::Letter(_) => None,
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
    let ends_label = is_word
        && MARKS.iter().any(|(known, _)| known.eq_ignore_ascii_case(sign))
        && !text.contains(|c: char| c.is_ascii_digit())
        && text.ends_with(sign);
    in_brackets || ends_label || text == sign || at_price()
}

fn names_us_place(text: &str) -> bool {
    text.contains("United States")
        || text.split_whitespace().any(|word| word.trim_matches(|c: char| c.is_ascii_punctuation()) == "USA")
        || places::town(text).is_some_and(|town| town.is_us)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser::marks::known;

    fn context(texts: &[&str]) -> Context {
        Context::new(texts.iter().copied())
    }

    #[test]
    fn codes_are_well_formed() {
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
