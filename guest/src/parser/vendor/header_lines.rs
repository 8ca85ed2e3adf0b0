//! The lines at the top of a receipt, down to the items, among which the vendor's name is looked for.

use super::super::amounts;
use super::super::asides;
use super::super::header::{self, LineKind};
use super::super::rows::Row;
use super::super::words::Words;
use super::ocr_correction;
use crate::textract::Line;

/// How many lines from the top a name may stand.
const REACH: usize = 14;

/// A line at the top, and what it is.
pub(super) struct HeaderLine<'a> {
    pub(super) line: &'a Line,
    /// As it was probably printed.
    pub(super) text: String,
    pub(super) words: Words,
    pub(super) kind: LineKind,
    /// Whether it is a slogan, a mall, the number of a branch, or what is sold.
    pub(super) is_aside: bool,
}

impl<'a> HeaderLine<'a> {
    fn new(line: &'a Line) -> Self {
        let text = ocr_correction::correct(&line.text, line.confidence);
        let text = without_appendix(without_welcome(&text)).to_owned();
        let words = Words::new(&text);
        let kind = header::classify(&text, &words);
        let is_aside = kind == LineKind::Name && asides::is_aside(&text, &words);
        Self { line, text, words, kind, is_aside }
    }
}

/// `Welcome to Shopwell`: what follows the greeting is the name.
fn without_welcome(text: &str) -> &str {
    const GREETINGS: [&str; 18] = [
        "welcome to ",
        "you are at ",
        "thank you for ",
        "thanks for ",
        "willkommen bei ",
        "willkommen im ",
        "vielen dank für ihren einkauf bei ",
        "bienvenue chez ",
        "bienvenue à ",
        "bienvenue au ",
        "bienvenido a ",
        "bienvenidos a ",
        "benvenuti da ",
        "benvenuto da ",
        "benvenuti al ",
        "bem-vindo ao ",
        "bem-vindo à ",
        "welkom bij ",
    ];
    /// What somebody is thanked for, before the name.
    const FOR: [&str; 9] = [
        "visiting ",
        "shopping at ",
        "shopping with ",
        "dining at ",
        "dining with ",
        "eating at ",
        "stopping at ",
        "choosing ",
        "coming to ",
    ];
    let without = |text: &'_ str, start: &str| -> Option<usize> {
        let head = text.get(..start.len())?;
        head.eq_ignore_ascii_case(start).then_some(start.len())
    };
    let Some(at) = GREETINGS.iter().find_map(|greeting| without(text, greeting)) else { return text };
    let is_thanks = text.get(..5).is_some_and(|head| head.eq_ignore_ascii_case("thank"));
    let rest = text.get(at..).unwrap_or_default();
    let from = if is_thanks { FOR.iter().find_map(|what| without(rest, what)) } else { Some(0) };
    let name = from.and_then(|from| rest.get(from..)).map(|name| name.trim_end_matches(['!', '.']));
    let is_name = |name: &&str| {
        let first = Words::new(name);
        let is_ours = ["OUR", "YOUR", "MY", "US"].iter().any(|word| first.starts_with(word));
        !is_ours && header::own_words(&first) > usize::from(first.starts_with("THE"))
    };
    name.filter(is_name).unwrap_or(text)
}

/// `Shopwell #15 Phone 608 555 0134`, `Shopwell No: 11`, `Shopwell 03:22PM`: the name without what stands behind it on its line.
fn without_appendix(text: &str) -> &str {
    const APPENDICES: [&str; 6] = ["PHONE", "TEL", "PH", "NO:", "FAX", "TELEPHONE"];
    let mut at = 0;
    for word in text.split(' ') {
        let upper = word.to_uppercase();
        let is_appendix = APPENDICES.contains(&upper.as_str())
            || APPENDICES.contains(&upper.trim_end_matches([':', '.']))
            || is_time(word);
        let head = text.get(..at).unwrap_or_default().trim_end();
        let has_number = || text.get(at..).is_some_and(|tail| tail.contains(|c: char| c.is_ascii_digit()));
        if is_appendix && has_number() && !head.ends_with(':') && header::own_words(&Words::new(head)) > 0 {
            return head;
        }
        at += word.len() + 1;
    }
    text
}

/// `03:22PM`, `14:10`.
fn is_time(word: &str) -> bool {
    word.split_once(':').is_some_and(|(hours, rest)| {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        hours.len() <= 2 && is_number(hours) && rest.get(..2).is_some_and(is_number)
    })
}

/// The lines above the items.
pub(super) fn read<'a>(rows: &'a [Row<'a>]) -> Vec<HeaderLine<'a>> {
    let mut top: Vec<HeaderLine> = Vec::new();
    for row in rows {
        let text = row.text();
        let priced = amounts::scan(&text).iter().any(|a| a.has_cents() || a.mark.is_some());
        let letters = |text: &str| text.chars().filter(|c| c.is_alphabetic()).count();
        let item = row.cells.first().map_or("", |cell| cell.text.as_str());
        let is_item = row.cells.len() > 1 && letters(item) > 2 && !item.contains(|c: char| c.is_ascii_digit());
        let named = letters(&text) > 3 || is_item;
        // An item may have its price on the row below.
        if priced && letters(&text) == 0 && top.len() > 1 && top.last().is_some_and(|last| last.kind == LineKind::Name)
        {
            top.pop();
            break;
        }
        if header::is_items_head(&Words::new(&text)) || (priced && named) || top.len() >= REACH {
            break;
        }
        // A row may have any number of cells.
        top.extend(row.cells.iter().take(REACH).map(|&line| HeaderLine::new(line)));
    }
    top
}
