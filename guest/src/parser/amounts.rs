//! Amounts in a text, in the notations that receipts use: `1,234.50` `1.234,50` `1 234,50` `1'234.50` `RM6.35` `6.35-`
//! `(6.35)` `12,50 €`. Dates, times, percentages, quantities with a unit and numbers inside words are none.

mod notation;
mod repair;

pub(super) use self::notation::Notation;
pub(super) use self::repair::Repaired;
use super::marks::{self, Mark};
use crate::receipt::Money;

/// An amount in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Amount {
    /// Digits and scale; the currency is the caller's to decide.
    pub(super) money: Money,
    /// The sign or code that stands at it.
    pub(super) mark: Option<Mark>,
    /// Where it starts in the text, its currency sign included, in bytes.
    pub(super) start: usize,
    /// Where it ends.
    pub(super) end: usize,
    /// Whether it is the price of one, as in `2 x 4.50` or `@4.50`.
    pub(super) each: bool,
    /// Whether it is written as the page writes its prices, though not with two decimals: `62 500`, `KWD 2.750`, `173/-`.
    pub(super) firm: bool,
}

impl Amount {
    /// Whether it is written as prices are: with two decimals in most countries.
    pub(super) fn has_cents(&self) -> bool {
        self.money.scale == 2 || self.firm
    }
}

/// Finds the amounts of a text that says nothing of its page, from left to right.
pub(super) fn scan(text: &str) -> Vec<Amount> {
    scan_as(text, Notation::default())
}

/// Finds the amounts of a text on a page that writes them so.
pub(super) fn scan_as(text: &str, notation: Notation) -> Vec<Amount> {
    let chars: Vec<(usize, char)> = text.char_indices().map(|(at, c)| (at, plain(c))).collect();
    let scanner = Scanner { text, chars: &chars, notation };
    let mut found = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        if !scanner.char(at).is_ascii_digit() {
            at += 1;
            continue;
        }
        let number = scanner.number(at);
        if let Some(amount) = scanner.amount(at, &number) {
            found.push(amount);
        }
        at = number.end;
    }
    found
}

/// A minus has several forms in print.
fn plain(c: char) -> char {
    if matches!(c, '\u{2212}' | '\u{2013}') { '-' } else { c }
}

struct Scanner<'a> {
    text: &'a str,
    chars: &'a [(usize, char)],
    notation: Notation,
}

/// Digits with marks between them.
struct Number {
    /// The digits and marks; a space that groups thousands is kept as `_`.
    body: String,
    end: usize,
}

/// Letters behind an amount that make it a measure.
const UNITS: [&str; 20] = [
    "G", "KG", "GM", "MG", "L", "ML", "LT", "LTR", "CM", "MM", "M", "MTR", "OZ", "LB", "LBS", "PCS", "PC", "X", "V",
    "W",
];

impl Scanner<'_> {
    fn char(&self, at: usize) -> char {
        self.chars.get(at).map_or('\0', |&(_, c)| c)
    }

    fn before(&self, at: usize, distance: usize) -> char {
        at.checked_sub(distance).map_or('\0', |at| self.char(at))
    }

    fn byte(&self, at: usize) -> usize {
        self.chars.get(at).map_or(self.text.len(), |&(byte, _)| byte)
    }

    fn digits_from(&self, at: usize) -> usize {
        (at..).take_while(|&i| self.char(i).is_ascii_digit()).count()
    }

    fn number(&self, start: usize) -> Number {
        let mut body = String::new();
        let mut at = start;
        loop {
            let c = self.char(at);
            if c.is_ascii_digit() {
                body.push(c);
                at += 1;
            } else if matches!(c, '.' | ',' | '\'' | '’') && self.char(at + 1).is_ascii_digit() {
                body.push(if c == '’' { '\'' } else { c });
                at += 1;
            } else if self.is_group_space(start, at, &body) {
                body.push('_');
                at += 1;
            } else if self.is_torn_mark(at, &body) {
                body.push(c);
                at += 2;
            } else {
                return Number { body, end: at };
            }
        }
    }

    /// `1 234,50`: a space between thousands. With a decimal point it would as often be a quantity and a price, so then
    /// only a space that does not break counts.
    fn is_group_space(&self, start: usize, at: usize, body: &str) -> bool {
        let space = self.char(at);
        let head = body.rsplit('_').next().unwrap_or_default();
        let first = !body.contains('_');
        let firm = matches!(space, '\u{a0}' | '\u{202f}');
        let is_blank_page = space == ' ' && self.notation.blanks_group && self.char(at + 4) != '.';
        (space == ' ' || firm)
            && start < at
            && head.bytes().all(|b| b.is_ascii_digit())
            && (if first { head.len() <= 3 } else { head.len() == 3 })
            && self.digits_from(at + 1) == 3
            && (firm
                || is_blank_page
                || self.char(at + 4) == ',' && self.digits_from(at + 5) == 2
                || self.char(at + 4) == '.' && self.digits_from(at + 5) == 2 && first && self.is_glued_to_mark(start)
                || self.is_group_space_next(at + 4))
    }

    /// `R1 143.60`: what begins at a currency's sign is one number.
    fn is_glued_to_mark(&self, start: usize) -> bool {
        let word_start = (0..start).rev().take_while(|&i| is_sign(self.char(i))).last().unwrap_or(start);
        let token: String = self
            .chars
            .get(word_start..start)
            .unwrap_or_default()
            .iter()
            .map(|&(_, c)| c.to_ascii_uppercase())
            .collect();
        !self.before(word_start, 1).is_alphanumeric() && marks::mark(&token).is_some()
    }

    fn is_group_space_next(&self, at: usize) -> bool {
        self.char(at) == ' '
            && self.digits_from(at + 1) == 3
            && self.char(at + 4) == ','
            && self.digits_from(at + 5) == 2
    }

    /// `29. 70`, `33, 92`: OCR puts a space behind the mark of widely set digits.
    fn is_torn_mark(&self, at: usize, body: &str) -> bool {
        matches!(self.char(at), '.' | ',')
            && self.char(at + 1) == ' '
            && body.bytes().all(|b| b.is_ascii_digit())
            && self.digits_from(at + 2) == 2
            && !self.char(at + 4).is_alphanumeric()
            && !(self.char(at + 4) == ' ' && self.char(at + 5) == '&')
            && !(matches!(self.char(at + 4), '.' | ',' | '/' | '-' | ':') && self.char(at + 5).is_ascii_digit())
    }

    fn amount(&self, start: usize, number: &Number) -> Option<Amount> {
        let has_cents = has_cents(&number.body);
        let (sign_at, mark, each, minus) = self.look_left(start, has_cents)?;
        let right = mark.or_else(|| self.mark_behind(number.end));
        let dash = self.dash_behind(number.end);
        let notation = if dash.is_some() { self.notation.with_whole_prices() } else { self.notation };
        let read = notation::interpret(&number.body, notation, right)?;
        let (digits, scale) = (read.digits, read.scale);
        let firm = scale != 2 && (read.is_firm || dash.is_some() || self.is_whole_price(sign_at, start, number.end));
        if mark.is_some_and(Mark::is_weak) && scale != 2 && !firm {
            return None;
        }
        if let Some(end) = dash {
            let units: i64 = digits.parse().ok()?;
            let money = Money { units: if minus { -units } else { units }, scale, currency: None };
            let (start, end) = (self.byte(sign_at), self.byte(end));
            return Some(Amount { money, mark, start, end, each, firm });
        }
        if self.is_percentage(number.end) && !(scale == 2 && (mark.is_some() || is_no_rate(&digits))) {
            return None;
        }
        let (end, right_mark, right_minus) = self.look_right(number.end, scale)?;
        let each = each || self.is_unit_price(end);
        let bracketed = self.before(sign_at, 1) == '(' && self.char(end) == ')' && scale > 0;
        let negative = minus || right_minus || bracketed;
        let units: i64 = digits.parse().ok()?;
        Some(Amount {
            money: Money { units: if negative { -units } else { units }, scale, currency: None },
            mark: mark.or(right_mark),
            start: self.byte(sign_at),
            end: self.byte(end),
            each,
            firm,
        })
    }

    /// What stands for no cents behind a whole number, and where it ends: `173/-`, `2.480,--`, `50.-`.
    fn dash_behind(&self, end: usize) -> Option<usize> {
        let is_dash = matches!(self.char(end), '/' | ',' | '.') && self.char(end + 1) == '-';
        let last = (end + 1..).find(|&at| !matches!(self.char(at), '-' | '='))?;
        (is_dash && last <= end + 3 && !self.char(last).is_alphanumeric()).then_some(last)
    }

    /// Whether a whole number is all that the text says, on a page whose prices have no decimals.
    fn is_whole_price(&self, sign_at: usize, start: usize, end: usize) -> bool {
        let is_alone = self.chars.iter().enumerate().all(|(at, (_, c))| (sign_at..end).contains(&at) || *c == ' ');
        self.notation.is_whole && (is_alone || sign_at < start) && end - start > 1
    }

    /// The mark behind the digits, if one is there and no other number follows it.
    fn mark_behind(&self, end: usize) -> Option<Mark> {
        let from = if self.char(end) == ' ' { end + 1 } else { end };
        let to = (from..).find(|&i| !is_sign(self.char(i))).unwrap_or(from);
        let token: String = self.chars.get(from..to)?.iter().map(|&(_, c)| c).collect();
        let next = if self.char(to) == ' ' { self.char(to + 1) } else { self.char(to) };
        marks::mark(&token.to_uppercase()).filter(|mark| !mark.is_weak() && !next.is_ascii_digit())
    }

    /// What stands before the digits: the amount's start, its currency, whether it is a unit price, whether negative.
    fn look_left(&self, start: usize, has_cents: bool) -> Option<(usize, Option<Mark>, bool, bool)> {
        let mut at = start;
        let mut minus = false;
        if self.before(at, 1) == '-' {
            match self.before(at, 2) {
                // 03-2164, 12-01: not an amount. TOTAL-5.00: a dash.
                c if c.is_ascii_digit() => return None,
                c if c.is_alphabetic() => {}
                _ => {
                    minus = true;
                    at -= 1;
                }
            }
        }
        let mut sign_at = at;
        while sign_at > 0 && at - sign_at < 2 && matches!(self.before(sign_at, 1), ' ' | '.' | ':' | '_') {
            sign_at -= 1;
        }
        let is_sol = self.before(sign_at, 1) == '/' && self.before(sign_at, 2) == 'S';
        let letters_end = if is_sol { sign_at - 1 } else { sign_at };
        let word_start = (0..letters_end).rev().take_while(|&i| is_sign(self.char(i))).last().unwrap_or(sign_at);
        let token: String = self.chars.get(word_start..sign_at)?.iter().map(|&(_, c)| c).collect();
        let token = token.to_uppercase();
        let word = || marks::also_word(&token).filter(|_| has_cents && !self.before(word_start, 1).is_alphanumeric());
        if let Some(mark) = marks::mark(&token).or_else(word) {
            if self.before(word_start, 1) == '-' && !self.before(word_start, 2).is_alphanumeric() {
                return Some((word_start - 1, Some(mark), false, true));
            }
            return Some((word_start, Some(mark), false, minus));
        }
        match self.before(at, 1) {
            '@' => Some((at, None, true, minus)),
            'x' | 'X' if !self.before(at, 2).is_alphanumeric() => Some((at, None, true, minus)),
            '#' | '/' | '\\' | '_' => None,
            c if c.is_alphanumeric() => None,
            '.' | ',' | ':' if self.before(at, 2).is_ascii_digit() => None,
            _ => Some((at, None, matches!(token.as_str(), "X"), minus)),
        }
    }

    /// What stands behind the digits: the amount's end, its currency, whether negative.
    fn look_right(&self, end: usize, scale: u8) -> Option<(usize, Option<Mark>, bool)> {
        let c = self.char(end);
        let next = self.char(end + 1);
        match c {
            '/' | ':' | '-' | '.' | ',' if next.is_ascii_digit() => return None,
            '-' if !next.is_alphanumeric() => return Some((end + 1, None, true)),
            '-' if scale == 0 => return None,
            _ => {}
        }
        let word_start = if c == ' ' { end + 1 } else { end };
        let word_end = (word_start..).find(|&i| !is_sign(self.char(i))).unwrap_or(word_start);
        let token: String = self.chars.get(word_start..word_end)?.iter().map(|&(_, c)| c).collect();
        let token = token.to_uppercase();
        // `17.25CR`: to the customer's credit.
        if token == "CR" && scale == 2 && !self.char(word_end).is_alphanumeric() {
            return Some((word_end, None, true));
        }
        // `5.00 RM 6.00`: the sign belongs to the amount that follows it.
        let of_next = self.char(word_end).is_ascii_digit()
            || (self.char(word_end) == ' ' && self.char(word_end + 1).is_ascii_digit());
        let word = || marks::also_word(&token).filter(|_| scale == 2 && !self.char(word_end).is_alphanumeric());
        match marks::mark(&token).or_else(word) {
            Some(mark) if !of_next && !mark.is_weak() => return Some((word_end, Some(mark), false)),
            _ => {}
        }
        if c.is_alphabetic() && (scale == 0 || token.chars().count() > 3 || UNITS.contains(&token.as_str()) || of_next)
        {
            return None;
        }
        Some((end, None, false))
    }

    fn is_percentage(&self, end: usize) -> bool {
        self.char(end) == '%' || self.char(end) == ' ' && self.char(end + 1) == '%'
    }

    /// `4.50 x 2`, `4.50 @`, `21.50/Unit`.
    fn is_unit_price(&self, end: usize) -> bool {
        let at = if self.char(end) == ' ' { end + 1 } else { end };
        match self.char(at) {
            '/' => self.char(at + 1).is_alphabetic(),
            'x' | 'X' | '@' => {
                self.char(at + 1).is_ascii_digit() || self.char(at + 1) == ' ' && self.char(at + 2).is_ascii_digit()
            }
            _ => false,
        }
    }
}

/// Whether digits and marks end in two decimals.
fn has_cents(body: &str) -> bool {
    body.rfind(['.', ',']).is_some_and(|mark| body.len() - mark == 3)
}

/// Whether it is no percentage in spite of the sign behind it, which is a stroke then: those above 30 are not given to the hundredth.
fn is_no_rate(digits: &str) -> bool {
    !digits.ends_with("00") && digits.parse().is_ok_and(|units: i64| units > 3_000)
}

/// Letters and signs that a currency may be written with.
fn is_sign(c: char) -> bool {
    c.is_alphabetic() || c == '$' || ('\u{20a0}'..='\u{20cf}').contains(&c) || matches!(c, '£' | '฿' | '¥')
}

#[cfg(test)]
mod tests;
