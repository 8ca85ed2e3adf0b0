//! The notations of dates: `12/03/2018`, `2018-03-12`, `12 Mar 2018`, `March 12th, 2018`, `12MAR18`, and OCR's `O7/01/18`.

use std::borrow::Cow;

use super::lists::{List, hash, list};
use super::words::Words;
use crate::receipt::Date;

/// What calls a day the document's own.
pub(super) const LABELS: List = list("DATE, DATUM, FECHA, TARIKH, DATA");

/// Reads a text that is a date, or holds one.
pub(super) fn parse(text: &str, us: bool) -> Option<Date> {
    let found = scan(text);
    let month_first = us || found.iter().any(Found::certainly_month_first);
    found.iter().find_map(|found| found.date(month_first))
}

/// A date as it is printed; which of two numbers is the month may be open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    year: u16,
    first: u8,
    second: u8,
    /// Whether `first` is the day, the month, or either.
    order: Order,
    pub(super) short_year: bool,
    /// Whether it is written without marks, as many a number is.
    pub(super) is_run: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    DayFirst,
    MonthFirst,
    Open,
}

impl Found {
    pub(super) fn certainly_day_first(&self) -> bool {
        self.order == Order::Open && self.first > 12 && !self.is_run
    }

    pub(super) fn certainly_month_first(&self) -> bool {
        self.order == Order::Open && self.second > 12 && !self.is_run
    }

    pub(super) fn is_ambiguous(&self) -> bool {
        self.order == Order::Open && self.first <= 12 && self.second <= 12 && self.first != self.second
    }

    pub(super) fn date(&self, month_first: bool) -> Option<Date> {
        let day_first = || Date::new(self.year, self.second, self.first);
        let month_first_date = || Date::new(self.year, self.first, self.second);
        match self.order {
            Order::DayFirst => day_first(),
            Order::MonthFirst => month_first_date(),
            Order::Open if month_first => month_first_date().or_else(day_first),
            Order::Open => day_first().or_else(month_first_date),
        }
    }
}

/// A piece of a date: a number with its count of digits, a month's name, or a mark between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Number(u32, usize),
    Month(u8),
    Mark(char),
    Space,
    Word,
    Other,
}

/// The dates of a text.
pub(super) fn scan(text: &str) -> Vec<Found> {
    // Most rows have none, and are not looked at any closer.
    if text.bytes().filter(u8::is_ascii_digit).count() < 3 {
        return Vec::new();
    }
    let pieces = pieces(mended(text).as_ref());
    let mut found = Vec::new();
    let mut at = 0;
    while at < pieces.len() {
        match pieces.get(at..).and_then(match_date) {
            Some((date, length)) if !glued(pieces.get(..at).unwrap_or_default()) => {
                found.push(date);
                at += length;
            }
            _ => at += 1,
        }
    }
    found
}

/// The text with digits in dates in place of the letters that OCR takes them for: `O7/01/18`, `25-Q1-16`, `Dater11/03/18`.
fn mended(text: &str) -> Cow<'_, str> {
    if text.bytes().filter(|byte| matches!(byte, b'/' | b'-')).count() < 2 {
        return Cow::Borrowed(text);
    }
    let is_labelled = Words::new(text).has_any(&LABELS);
    Cow::Owned(text.split_inclusive(char::is_whitespace).map(|word| mended_word(word, is_labelled)).collect())
}

fn mended_word(word: &str, is_labelled: bool) -> String {
    const GLUED: [&str; 4] = ["Date", "DATE", "Datum", "Tarikh"];
    let label = GLUED.iter().find(|label| word.starts_with(**label)).map_or(0, |label| label.len());
    let (label, rest) = word.split_at_checked(label).unwrap_or(("", word));
    // One letter between label and date is the colon.
    let is_glued = !label.is_empty() && !rest.starts_with(|c: char| c.is_ascii_digit());
    let colon = rest.char_indices().nth(1).filter(|(_, c)| is_glued && c.is_ascii_digit()).map(|(at, _)| at);
    let date = colon.and_then(|at| rest.get(at..)).unwrap_or(rest);
    // D1-05-12 is a door as well as a day, unless a day is what its label says.
    let marks = date.chars().filter(|c| *c == '/' || *c == '-' && is_labelled).count();
    let digits = date.chars().filter(char::is_ascii_digit).count();
    let letters = date.chars().filter(|c| c.is_alphabetic()).count();
    let alike = date.chars().filter(|c| lookalike(*c) != *c).count();
    let numbers = date.split(['/', '-']).all(|part| part.contains(|c: char| c.is_ascii_digit()));
    if marks != 2 || !numbers || digits < 4 || letters > 2 || letters != alike || (letters == 0 && colon.is_none()) {
        return word.to_owned();
    }
    let date: String = date.chars().map(lookalike).collect();
    if label.is_empty() { date } else { format!("{label}: {date}") }
}

/// The digit that a letter looks like.
fn lookalike(c: char) -> char {
    match c {
        'O' | 'o' | 'Q' | 'D' => '0',
        'I' | 'l' | 'i' => '1',
        'Z' => '2',
        'S' => '5',
        'B' => '8',
        other => other,
    }
}

/// Whether what stands before makes the number a part of something longer. A dash at the start is an ornament.
fn glued(before: &[Piece]) -> bool {
    match before {
        [] | [Piece::Mark('-')] | [.., Piece::Space, Piece::Mark('-')] => false,
        [.., last] => matches!(last, Piece::Number(..) | Piece::Word | Piece::Mark('/' | '-' | '.')),
    }
}

fn match_date(pieces: &[Piece]) -> Option<(Found, usize)> {
    use Piece::{Mark, Month, Number, Space};
    if !matches!(pieces.first(), Some(Number(..) | Month(_))) {
        return None;
    }
    let bare: Vec<(usize, Piece)> =
        pieces.iter().copied().enumerate().filter(|(_, piece)| *piece != Space).take(6).collect();
    let piece = |at: usize| bare.get(at).map(|&(_, piece)| piece);
    let length = |last: usize| bare.get(last).map_or(pieces.len(), |&(at, _)| at + 1);
    let is_mark = |at: usize| matches!(piece(at), Some(Mark('/' | '-' | '.' | '\'')));
    let is_soft = |at: usize| matches!(piece(at), Some(Mark('/' | '-' | '.' | ',' | '\'')));
    match piece(0)? {
        // 2018-03-12, 2018/3/12, 2018-Mar-12
        Number(y, 4) if is_mark(1) => match (piece(2)?, piece(3), piece(4)) {
            (Number(m, 1..=2), Some(Mark(_)), Some(Number(d, 1..=2))) if is_mark(3) => {
                Some((exact(y, 4, m, d, Order::MonthFirst)?, length(4)))
            }
            (Month(m), Some(Mark(_)), Some(Number(d, 1..=2))) => {
                Some((exact(y, 4, u32::from(m), d, Order::MonthFirst)?, length(4)))
            }
            _ => None,
        },
        // 20180312, 12032018
        Number(run, 8) => Some((run_together(run)?, length(0))),
        // 12/03/2018, 12-03-18, 12.03.2018, 12/03-2018; OCR's 12. 03-18
        Number(a, 1..=2)
            if is_mark(1) && matches!(piece(2), Some(Number(_, 1..=2))) && same_marks(piece(1), piece(3), piece(4)) =>
        {
            let (Some(Number(b, _)), Some(Number(y, digits @ (2 | 4)))) = (piece(2), piece(4)) else {
                return None;
            };
            // 12.30.18 h: digits that go on with a mark are a time or an address.
            if matches!(piece(5), Some(Mark(mark)) if Some(Mark(mark)) == piece(1)) && length(5) == length(4) + 1 {
                return None;
            }
            Some((exact(y, digits, a, b, Order::Open)?, length(4)))
        }
        // 12 Mar 2018, 12-MAR-18, 12MAR2018, 30 DEC 17, 12 March, 2018
        Number(d, 1..=2) => {
            let at = if is_soft(1) { 2 } else { 1 };
            let Some(Month(m)) = piece(at) else { return None };
            let at = if is_soft(at + 1) { at + 2 } else { at + 1 };
            let Some(Number(y, digits @ (2 | 4))) = piece(at) else { return None };
            if digits == 2 && goes_on(pieces.get(length(at)..)) {
                return None;
            }
            Some((exact(y, digits, d, u32::from(m), Order::DayFirst)?, length(at)))
        }
        // Mar 12, 2018; MAR 12 2018; March 12th, 2018; Mar 12'18
        Month(m) => {
            let at = if is_soft(1) { 2 } else { 1 };
            let Some(Number(d, 1..=2)) = piece(at) else { return None };
            let is_marked = is_soft(at + 1) && piece(at + 1) != Some(Mark('.'));
            let at = if is_soft(at + 1) { at + 2 } else { at + 1 };
            let Some(Number(y, digits @ (2 | 4))) = piece(at) else { return None };
            if digits == 2 && (!is_marked || goes_on(pieces.get(length(at)..))) {
                return None;
            }
            Some((exact(y, digits, u32::from(m), d, Order::MonthFirst)?, length(at)))
        }
        _ => None,
    }
}

/// A receipt of another year is a misread one: 2078 is 2018.
const YEARS: std::ops::Range<u16> = 1980..2060;

/// Two marks are one, but before a year of four digits; a dash that was read as a point is forgiven in front.
fn same_marks(first: Option<Piece>, second: Option<Piece>, year: Option<Piece>) -> bool {
    let is_mark = |piece: Option<Piece>| matches!(piece, Some(Piece::Mark('/' | '-' | '.')));
    first == second
        || (first, second) == (Some(Piece::Mark('.')), Some(Piece::Mark('-')))
        || is_mark(first) && is_mark(second) && matches!(year, Some(Piece::Number(_, 4)))
}

/// Whether what may be a year of two digits is the start of a price or a time: `2 SET 15.00`, `Mar 12, 11:30`.
fn goes_on(rest: Option<&[Piece]>) -> bool {
    let rest = rest.unwrap_or_default();
    matches!(rest, [Piece::Mark('.' | ','), Piece::Number(..), ..] | [Piece::Other | Piece::Word, ..])
}

/// `20180312`, or `12032018`: eight digits together.
fn run_together(run: u32) -> Option<Found> {
    let by_year = exact(run / 10_000, 4, run / 100 % 100, run % 100, Order::MonthFirst);
    let found = by_year.or_else(|| exact(run % 10_000, 4, run / 1_000_000, run / 10_000 % 100, Order::Open))?;
    Some(Found { is_run: true, ..found })
}

fn exact(year: u32, digits: usize, first: u32, second: u32, order: Order) -> Option<Found> {
    let year = match (digits, year) {
        (2, 0..=79) => 2000 + year,
        (2, _) => 1900 + year,
        _ => year,
    };
    let found = Found {
        year: u16::try_from(year).ok().filter(|year| YEARS.contains(year))?,
        first: u8::try_from(first).ok()?,
        second: u8::try_from(second).ok()?,
        order,
        short_year: digits == 2,
        is_run: false,
    };
    found.date(false).map(|_| found)
}

fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c.is_ascii_digit() {
            let (mut value, mut digits) = (c.to_digit(10).unwrap_or(0), 1);
            while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
                value = value.saturating_mul(10).saturating_add(digit);
                digits += 1;
                chars.next();
            }
            pieces.push(Piece::Number(value, digits));
        } else if c.is_alphabetic() {
            let mut word = String::from(c);
            while let Some(c) = chars.next_if(|c| c.is_alphabetic()) {
                word.push(c);
            }
            word.make_ascii_uppercase();
            let ordinal = matches!(word.as_str(), "ST" | "ND" | "RD" | "TH" | "ER" | "º");
            let after_number = matches!(pieces.last(), Some(Piece::Number(..)));
            match word.as_str() {
                // `12 de marzo de 2018`
                "DE" => pieces.push(Piece::Space),
                _ if ordinal && after_number => {}
                word => pieces.push(month(word).map_or(Piece::Word, Piece::Month)),
            }
        } else if c.is_whitespace() {
            pieces.push(Piece::Space);
        } else if matches!(c, '/' | '-' | '.' | ',' | '\'') {
            pieces.push(Piece::Mark(c));
        } else if matches!(c, '´' | '’' | '‘' | '`') {
            pieces.push(Piece::Mark('\''));
        } else {
            pieces.push(Piece::Other);
        }
    }
    pieces
}

/// A month by its name or abbreviation, in the languages whose receipts are common; ASCII letters upper case.
fn month(word: &str) -> Option<u8> {
    const NAMES: [List; 12] = [
        list("JANUARY, JAN, JANUAR, JANVIER, JANV, ENERO, ENE, JANUARI, GENNAIO, GEN, JANEIRO, STYCZNIA"),
        list("FEBRUARY, FEB, FEBRUAR, FEVRIER, FEVR, FEV, FEBRERO, FEBRUARI, FEBBRAIO, FEVEREIRO, LUTEGO"),
        list("MARCH, MAR, MARZ, MARS, MARZO, MAC, MAART, MRT, MRZ, MARCO, MARTS, MARCA"),
        list("APRIL, APR, AVRIL, AVR, ABRIL, ABR, APRILE, KWIETNIA"),
        list("MAY, MAI, MAYO, MEI, MAGGIO, MAG, MAIO, MAJ, MAJA"),
        list("JUNE, JUN, JUNI, JUIN, JUNIO, GIUGNO, GIU, JUNHO, CZERWCA"),
        list("JULY, JUL, JULI, JUILLET, JUIL, JULIO, JULAI, LUGLIO, LUG, JULHO, LIPCA"),
        list("AUGUST, AUG, AOUT, AGOSTO, AGO, OGOS, AUGUSTUS, AUGUSTI, SIERPNIA"),
        list("SEPTEMBER, SEP, SEPT, SEPTEMBRE, SEPTIEMBRE, SETTEMBRE, SETEMBRO, SET, WRZESNIA"),
        list("OCTOBER, OCT, OKTOBER, OKT, OCTOBRE, OCTUBRE, OTTOBRE, OTT, OUTUBRO, OUT, PAZDZIERNIKA"),
        list("NOVEMBER, NOV, NOVEMBRE, NOVIEMBRE, NOVEMBRO, LISTOPADA"),
        list("DECEMBER, DEC, DEZEMBER, DEZ, DECEMBRE, DICIEMBRE, DIC, DISEMBER, DIS, DICEMBRE, DEZEMBRO, GRUDNIA"),
    ];
    if word.len() < 3 {
        return None;
    }
    let of = |word: &str| {
        let hash = hash(word);
        NAMES.iter().position(|names| names.may_begin(hash) && names.has(word))
    };
    let index = if word.is_ascii() { of(word) } else { Words::new(word).first().and_then(of) };
    u8::try_from(index? + 1).ok()
}

#[cfg(test)]
mod tests;
