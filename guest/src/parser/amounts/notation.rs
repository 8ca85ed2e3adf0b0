//! How a page writes thousands and decimals: decided once, from all of its numbers and its currency.

use super::super::marks::{self, Mark};

/// How a page writes its amounts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::parser) struct Notation {
    /// Whether points group thousands, and no decimals follow: `62.500`.
    points_group: bool,
    /// Whether blanks do: `62 500`.
    pub(super) blanks_group: bool,
    /// Whether points stand before three decimals: `2.750`.
    three_decimals: bool,
    /// Whether its prices have no decimals at all.
    pub(super) is_whole: bool,
    /// Whether two digits behind a point are decimals somewhere.
    has_point_cents: bool,
}

/// A number as it is to be read.
pub(super) struct Interpreted {
    pub(super) digits: String,
    pub(super) scale: u8,
    /// Whether it is written as a price, though without two decimals.
    pub(super) is_firm: bool,
}

/// Currencies whose smallest unit is a thousandth.
const THREE_DECIMALS: [&str; 7] = ["KWD", "BHD", "OMR", "JOD", "TND", "IQD", "LYD"];
/// Currencies that are written without decimals.
const NO_DECIMALS: [&str; 11] = ["IDR", "VND", "CLP", "KRW", "JPY", "COP", "PYG", "UGX", "ISK", "HUF", "CRC"];
/// So many numbers are a habit.
const HABIT: usize = 2;

impl Notation {
    /// Of the page with these texts.
    pub(in crate::parser) fn of<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let (mut points, mut long, mut commas, mut blanks, mut point_cents, mut comma_cents) = (0, 0, 0, 0, 0, 0);
        let mut shows_three = false;
        for text in texts {
            // BHD is also a form of companies: it stands at an amount, or alone.
            let has_code = || text.split(|c: char| !c.is_ascii_alphabetic()).any(|word| THREE_DECIMALS.contains(&word));
            let mut numbers = text.split(|c: char| !(c.is_ascii_digit() || c == '.'));
            let mut at_amount = || numbers.any(|number| shape(number) == Some(('.', 3)));
            shows_three |= THREE_DECIMALS.contains(&text)
                || text.contains('.') && has_code() && at_amount()
                || has_code() && matches!(marks::named(text), Some(Mark::Code(code)) if THREE_DECIMALS.contains(&code));
            blanks += usize::from(is_grouped_by_blanks(text));
            for number in text.split(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | ','))) {
                match shape(number) {
                    Some(('.', 2)) => point_cents += 1,
                    Some((',', 2)) => comma_cents += 1,
                    Some(('.', 3)) => {
                        points += 1;
                        // A price a litre has one digit before its point.
                        long += usize::from(number.trim_matches(['.', ',']).len() > "2.590".len());
                    }
                    Some((',', 3)) => commas += 1,
                    _ => {}
                }
            }
        }
        let has_cents = point_cents + comma_cents > 0;
        Self {
            points_group: !shows_three
                && point_cents == 0
                && points > 0
                && (points >= HABIT || comma_cents > 0 || long > 0),
            blanks_group: blanks >= HABIT && !has_cents,
            three_decimals: shows_three,
            is_whole: !has_cents && !shows_three && points + commas + blanks >= HABIT,
            has_point_cents: point_cents > 0,
        }
    }

    /// Of the page with these texts, whose amounts are in this currency.
    pub(in crate::parser) fn of_currency<'a>(code: &str, texts: impl Iterator<Item = &'a str>) -> Self {
        let page = Self::of(texts);
        Self {
            three_decimals: page.three_decimals || THREE_DECIMALS.contains(&code),
            points_group: page.points_group && !THREE_DECIMALS.contains(&code) || NO_DECIMALS.contains(&code),
            blanks_group: page.blanks_group || NO_DECIMALS.contains(&code),
            is_whole: page.is_whole || NO_DECIMALS.contains(&code) && !page.has_point_cents,
            ..page
        }
    }

    /// The same where a dash stands for the decimals.
    pub(super) fn with_whole_prices(self) -> Self {
        Self { points_group: true, ..self }
    }
}

/// The last mark of a number, and how many digits follow it; none where what stands before is no number.
fn shape(number: &str) -> Option<(char, usize)> {
    let number = number.trim_matches(['.', ',']);
    let at = number.rfind(['.', ','])?;
    let (head, tail) = (number.get(..at)?, number.get(at + 1..)?);
    let mark = number.get(at..)?.chars().next()?;
    let first = head.split(['.', ',']).next()?;
    let fits = match tail.len() {
        3 => (1..=3).contains(&first.len()) && !first.starts_with('0'),
        _ => !head.is_empty() && head.len() < 10,
    };
    fits.then_some((mark, tail.len()))
}

/// `62 500`, `1 250 000`, with nothing but a sign around it.
fn is_grouped_by_blanks(text: &str) -> bool {
    let number = text.trim_matches(|c: char| !c.is_ascii_digit());
    let mut groups = number.split([' ', '\u{a0}', '\u{202f}']);
    let first = groups.next().unwrap_or_default();
    let is_number = |group: &str| group.bytes().all(|b| b.is_ascii_digit());
    let rest: Vec<&str> = groups.collect();
    (1..=3).contains(&first.len())
        && is_number(first)
        && !rest.is_empty()
        && rest.iter().all(|group| group.len() == 3 && is_number(group))
}

/// Reads digits and marks: which mark is the decimal one, and whether the others group thousands. `mark`: the currency's sign.
pub(super) fn interpret(body: &str, notation: Notation, mark: Option<Mark>) -> Option<Interpreted> {
    let digits: String = body.chars().filter(char::is_ascii_digit).collect();
    if digits.len() > 12 {
        return None;
    }
    let read = |scale: u8, is_firm: bool| Interpreted { digits: digits.clone(), scale, is_firm };
    let Some(last) = body.rfind(['.', ',', '\'', '_']) else {
        // A long run of digits is a number of something else; a leading zero too.
        let plausible = digits.len() <= 7 && (digits.len() == 1 || !digits.starts_with('0'));
        return plausible.then(|| read(0, false));
    };
    let (head, tail) = (body.get(..last)?, body.get(last + 1..)?);
    let by = body.get(last..=last)?;
    let code = mark.and_then(Mark::code);
    let has = |codes: &[&str]| code.is_some_and(|code| codes.contains(&code));
    let is_single = !head.contains(['.', ',', '\'', '_']);
    let (decimals, is_firm) = match tail.len() {
        1 | 2 if by == "." || by == "," => (tail.len() as u8, false),
        3 if by == "." && is_single && (has(&THREE_DECIMALS) || notation.three_decimals && head.len() <= 3) => {
            (3, true)
        }
        3 if by == "." && is_single => {
            // 2.590 is as often a price a litre: only where the page or the currency says so, points group.
            let groups = notation.points_group
                || has(&NO_DECIMALS)
                || code.is_some() && code != Some("MYR") && !notation.has_point_cents;
            if !groups || head.starts_with('0') {
                return None;
            }
            (0, true)
        }
        3 => (0, notation.is_whole || has(&NO_DECIMALS)),
        _ => return None,
    };
    let whole = if decimals == 0 { body } else { head };
    let marks: String = whole.chars().filter(|c| !c.is_ascii_digit()).collect();
    let group = marks.chars().next();
    if marks.chars().any(|c| Some(c) != group) || (decimals > 0 && group.is_some_and(|g| by.starts_with(g))) {
        return None;
    }
    let groups: Vec<&str> = whole.split(['.', ',', '\'', '_']).collect();
    let (first, rest) = groups.split_first()?;
    // Several zeros in front are a number of something else.
    if first.len() > 3 && first.starts_with('0') {
        return None;
    }
    let by_thousands = first.len() <= 3 && rest.iter().all(|group| group.len() == 3);
    // Lakh and crore: 2,53,365.40.
    let by_lakh = group == Some(',')
        && first.len() <= 2
        && rest.split_last().is_some_and(|(last, rest)| last.len() == 3 && rest.iter().all(|group| group.len() == 2));
    let grouped = group.is_none() || by_thousands || by_lakh;
    (grouped && !first.is_empty()).then(|| read(decimals, is_firm))
}

#[cfg(test)]
mod tests {
    use super::super::scan_as;
    use super::*;

    fn read(texts: &[&str]) -> Vec<String> {
        let notation = Notation::of(texts.iter().copied());
        let last = texts.last().copied().unwrap_or_default();
        scan_as(last, notation).iter().map(|amount| amount.money.to_string()).collect()
    }

    #[test]
    fn the_page_tells_how_thousands_are_written() {
        for (texts, amount) in [
            (["62 500", "1 062 500"], "1062500"),
            (["18.500", "TOTAL 148.320"], "148320"),
            (["12,50", "TOTAL 2.480 EUR"], "2480"),
            (["1,250", "14,600"], "14600"),
            (["BHD", "2.750"], "2.750"),
            (["", "Rp 31.000"], "31000"),
            (["", "31.000 ₫"], "31000"),
            (["", "12,400원"], "12400"),
            (["", "2.480,--"], "2480"),
            (["", "173/-"], "173"),
            (["", "2,53,365.40"], "253365.40"),
            (["", "1,12,53,365.40"], "11253365.40"),
            (["KWD", "2.750"], "2.750"),
            (["", "KWD 2.750"], "2.750"),
        ] {
            assert_eq!(read(&texts), [amount], "{texts:?}");
        }
        for texts in [["4.50", "2.590"], ["", "2.590"], ["3.20", "RM 2.590"]] {
            assert!(read(&texts).is_empty(), "{texts:?}");
        }
        assert_eq!(read(&["4.00", "1 200.00"]), ["1", "200.00"]);
    }
}
