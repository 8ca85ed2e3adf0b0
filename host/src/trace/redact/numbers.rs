//! Card and phone numbers in a text. What is found too much costs a digit that nobody reads; what is missed is somebody's
//! number. Dates and amounts are left alone whatever they look like: they are what a receipt is read for.

use std::collections::HashSet;
use std::ops::Range;

/// What a number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Card,
    Phone,
}

impl What {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Card => "card number",
            Self::Phone => "phone number",
        }
    }
}

/// A number that is to be masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Number {
    /// First to last digit, as places of characters.
    pub(super) place: Range<usize>,
    pub(super) what: What,
}

/// Digits that a card has.
const CARD: std::ops::RangeInclusive<usize> = 13..=19;

/// Digits that a phone number has.
const PHONE: std::ops::RangeInclusive<usize> = 8..=15;

/// How far behind its label a phone number may begin, in characters.
const LABEL_REACH: usize = 16;

/// Words that announce a phone number.
const LABELS: [&str; 28] = [
    "TEL",
    "TELP",
    "TLP",
    "TELEPHONE",
    "TELEFON",
    "TELEFONO",
    "TELÉFONO",
    "TÉL",
    "TÉLÉPHONE",
    "PHONE",
    "PHONES",
    "PH",
    "FAX",
    "FX",
    "HP",
    "H/P",
    "HANDPHONE",
    "MOBILE",
    "MOB",
    "CELL",
    "CELLULAR",
    "CALL",
    "WHATSAPP",
    "WA",
    "CONTACT",
    "HOTLINE",
    "CARELINE",
    "SMS",
];

/// Letters that do so where a colon or a full stop follows.
const SHORT_LABELS: [&str; 5] = ["T", "F", "M", "P", "H"];

/// Words that may stand between label and number.
const FILLERS: [&str; 16] = [
    "NO", "NOS", "NUM", "NUMBER", "NUMBERS", "NR", "US", "HQ", "OFFICE", "LINE", "OR", "AND", "AT", "ON", "NOW",
    "CUSTOMER",
];

/// The numbers in a text. `labelled`: what stands before the text announces a phone number. `known`: numbers that were
/// found elsewhere, as digits; they are found without a label too.
pub(super) fn find(text: &[char], labelled: bool, known: &HashSet<String>) -> Vec<Number> {
    let groups = groups(text);
    let mut found = cards(text, &groups);
    found.extend(phones(text, &groups, labelled));
    found.extend(seen_before(text, &groups, known));
    found
}

/// Whether a phone number may follow this text.
pub(super) fn announces_phone(text: &[char]) -> bool {
    let mut armed = None;
    let mut at = 0;
    while let Some(&c) = text.get(at) {
        at = step(text, at, c, &mut armed);
    }
    armed.is_some()
}

/// The digits of a number.
pub(super) fn digits(text: &[char], place: &Range<usize>) -> String {
    text.get(place.clone()).unwrap_or_default().iter().filter(|c| c.is_ascii_digit()).collect()
}

/// Whether these digits are a day, or a day and a time, without separators.
pub(super) fn is_compact_date(digits: &str) -> bool {
    let number = |range: Range<usize>| digits.get(range).and_then(|part| part.parse::<u32>().ok());
    let day = matches!(number(0..4), Some(1900..=2099))
        && matches!(number(4..6), Some(1..=12))
        && matches!(number(6..8), Some(1..=31));
    let time = || matches!(number(8..10), Some(0..=23)) && matches!(number(10..12), Some(0..=59));
    day && (digits.len() == 8 || matches!(digits.len(), 12 | 14) && time())
}

/// Digits without anything between them.
#[derive(Debug)]
struct Group {
    place: Range<usize>,
    /// Part of a date, a time, an amount or a UUID.
    protected: bool,
}

impl Group {
    fn len(&self) -> usize {
        self.place.len()
    }
}

fn groups(text: &[char]) -> Vec<Group> {
    let mut protected = Vec::new();
    protect(text, |c| c.is_ascii_digit() || matches!(c, '.' | ','), is_amount, &mut protected);
    protect(text, |c| c.is_ascii_digit() || matches!(c, '.' | '-' | '/'), is_date, &mut protected);
    protect(text, |c| c.is_ascii_digit() || c == ':', is_time, &mut protected);
    protect(text, |c| c.is_ascii_hexdigit() || c == '-', is_uuid, &mut protected);
    runs(text, |c| c.is_ascii_digit())
        .map(|place| {
            let protected = protected.iter().any(|range| range.start <= place.start && place.end <= range.end);
            Group { place, protected }
        })
        .collect()
}

/// The longest pieces of a text that have only such characters.
fn runs(text: &[char], is: impl Fn(char) -> bool) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + text.get(at..)?.iter().position(|&c| is(c))?;
        let rest = text.get(start..)?;
        at = start + rest.iter().position(|&c| !is(c)).unwrap_or(rest.len());
        Some(start..at)
    })
}

fn protect(text: &[char], is: impl Fn(char) -> bool, whole: impl Fn(&str) -> bool, protected: &mut Vec<Range<usize>>) {
    protected.extend(runs(text, is).filter(|place| {
        let run: String = text.get(place.clone()).unwrap_or_default().iter().collect();
        whole(run.trim_matches(['.', ',', '-', '/', ':']))
    }));
}

/// `1,234.50`, `12,30`.
fn is_amount(text: &str) -> bool {
    let Some((whole, cents)) = text.rsplit_once(['.', ',']) else { return false };
    let mut parts = whole.split(['.', ',']);
    let first = parts.next().unwrap_or_default();
    cents.len() == 2 && !first.is_empty() && parts.all(|part| part.len() == 3)
}

/// `2018-03-11`, `11/3/18`.
fn is_date(text: &str) -> bool {
    let Some(separator) = text.chars().find(|c| !c.is_ascii_digit()) else { return false };
    let parts: Vec<&str> = text.split(separator).collect();
    let [Ok(one), Ok(two), Ok(three)] = *parts.iter().map(|part| part.parse::<u32>()).collect::<Vec<_>>() else {
        return false;
    };
    let day_and_month = |one: u32, two: u32| (1..=31).contains(&one) && (1..=31).contains(&two) && one.min(two) <= 12;
    match *parts.iter().map(|part| part.len()).collect::<Vec<_>>() {
        [4, 1 | 2, 1 | 2] => (1900..2100).contains(&one) && day_and_month(two, three),
        [1 | 2, 1 | 2, 4] => (1900..2100).contains(&three) && day_and_month(one, two),
        [1 | 2, 1 | 2, 2] => day_and_month(one, two),
        _ => false,
    }
}

/// `12:30`, `12:30:45`.
fn is_time(text: &str) -> bool {
    text.contains(':') && text.split(':').all(|part| matches!(part.len(), 1 | 2))
}

fn is_uuid(text: &str) -> bool {
    text.split('-').map(str::len).eq([8, 4, 4, 4, 12])
}

/// Groups with nothing but such characters between neighbours, at most `reach` of them.
fn chains<'g>(
    text: &[char],
    groups: &'g [Group],
    reach: usize,
    separator: impl Fn(char) -> bool,
) -> impl Iterator<Item = &'g [Group]> {
    groups.chunk_by(move |one, next| {
        let between = text.get(one.place.end..next.place.start).unwrap_or_default();
        !one.protected && !next.protected && between.len() <= reach && between.iter().all(|&c| separator(c))
    })
}

/// Every number that consecutive groups of a chain make and that is wanted, the longest first, none within another.
fn windows(text: &[char], chain: &[Group], wanted: impl Fn(&[Group], &str) -> bool) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut rest = chain;
    while let Some((first, after)) = rest.split_first() {
        let longest = (1..=rest.len().min(*CARD.end())).rev().find_map(|count| {
            let window = rest.get(..count)?;
            let place = first.place.start..window.last()?.place.end;
            wanted(window, &digits(text, &place)).then_some((place, count))
        });
        rest = match longest {
            Some((place, count)) => {
                found.push(place);
                rest.get(count..).unwrap_or_default()
            }
            None => after,
        };
    }
    found
}

fn cards(text: &[char], groups: &[Group]) -> Vec<Number> {
    let beside_letter = |place: &Range<usize>| {
        let letter = |at: Option<usize>| at.and_then(|at| text.get(at)).is_some_and(|c| c.is_alphanumeric());
        letter(place.start.checked_sub(1)) || letter(Some(place.end))
    };
    chains(text, groups, 2, |c| matches!(c, ' ' | '-'))
        .flat_map(|chain| {
            windows(text, chain, |window, digits| {
                // No card begins with 0; many barcodes do.
                CARD.contains(&digits.len())
                    && !digits.starts_with('0')
                    && luhn(digits)
                    && window.iter().all(|group| {
                        !group.protected
                            && !beside_letter(&group.place)
                            && !is_compact_date(&self::digits(text, &group.place))
                    })
            })
        })
        .map(|place| Number { place, what: What::Card })
        .collect()
}

fn luhn(digits: &str) -> bool {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (u32::from(digit - b'0'), place % 2) {
            (digit, 0) => digit,
            (digit, _) if digit > 4 => digit * 2 - 9,
            (digit, _) => digit * 2,
        })
        .sum();
    sum.is_multiple_of(10)
}

fn phones(text: &[char], groups: &[Group], labelled: bool) -> Vec<Number> {
    let mut found = Vec::new();
    let mut armed = labelled.then_some(0);
    let mut at = 0;
    while let Some(&c) = text.get(at) {
        let Some(first) = groups.iter().position(|group| group.place.start == at) else {
            at = step(text, at, c, &mut armed);
            continue;
        };
        let plus = at > 0 && text.get(at - 1) == Some(&'+');
        let (place, count) = phone_at(text, groups.get(first..).unwrap_or_default());
        at = place.end;
        if (plus || armed.is_some()) && PHONE.contains(&count) {
            // `03-9201 6281/6920`: the other number's last digits.
            let slash = text.get(at) == Some(&'/');
            let more =
                groups.iter().find(|group| slash && group.place.start == at + 1 && !group.protected && group.len() < 8);
            found.push(Number { place, what: What::Phone });
            if let Some(more) = more {
                found.push(Number { place: more.place.clone(), what: What::Phone });
                at = more.place.end;
            }
            armed = another_follows(text, at).then_some(0);
        } else if count > 2 {
            armed = None;
        }
    }
    found
}

/// The number that begins with these groups, as long as a phone number can be.
fn phone_at(text: &[char], groups: &[Group]) -> (Range<usize>, usize) {
    let chain = chains(text, groups, 3, |c| matches!(c, ' ' | '-' | '.' | '(' | ')')).next().unwrap_or_default();
    let Some(first) = chain.first() else { return (0..0, 0) };
    let (mut end, mut count) = (first.place.end, if first.protected { 0 } else { first.len() });
    for group in chain.iter().skip(1) {
        if count + group.len() > *PHONE.end() {
            break;
        }
        (end, count) = (group.place.end, count + group.len());
    }
    (first.place.start..end, count)
}

fn another_follows(text: &[char], at: usize) -> bool {
    let rest: String = text.get(at..).unwrap_or_default().iter().take(5).collect();
    let rest = rest.trim_start().to_ascii_uppercase();
    rest.starts_with([',', '/', ';', '&']) || rest.starts_with("OR ") || rest.starts_with("AND")
}

/// Reads what is no digit: a word arms for a phone number, or ends that; anything else only reaches so far.
fn step(text: &[char], at: usize, c: char, armed: &mut Option<usize>) -> usize {
    if !c.is_alphabetic() {
        *armed = armed.map(|gap| gap + 1).filter(|gap| *gap <= LABEL_REACH);
        return at + 1;
    }
    let rest = text.get(at..).unwrap_or_default();
    let slashed = matches!(rest, ['H' | 'h', '/', 'P' | 'p', ..]);
    let length = if slashed { 3 } else { rest.iter().position(|c| !c.is_alphabetic()).unwrap_or(rest.len()) };
    let word = rest.get(..length).unwrap_or_default().iter().collect::<String>().to_uppercase();
    let marked = || matches!(rest.get(length), Some(':' | '.'));
    if LABELS.contains(&word.as_str()) || SHORT_LABELS.contains(&word.as_str()) && marked() {
        *armed = Some(0);
    } else if !FILLERS.contains(&word.as_str()) {
        *armed = None;
    }
    at + length
}

fn seen_before(text: &[char], groups: &[Group], known: &HashSet<String>) -> Vec<Number> {
    if known.is_empty() {
        return Vec::new();
    }
    chains(text, groups, 3, |c| matches!(c, ' ' | '-' | '.' | '(' | ')'))
        .flat_map(|chain| windows(text, chain, |_, digits| known.contains(digits)))
        .map(|place| Number { place, what: What::Phone })
        .collect()
}

#[cfg(test)]
mod tests;
