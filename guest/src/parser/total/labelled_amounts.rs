//! The named amounts of a page.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::super::amounts::{self, Amount, Notation, Repaired};
use super::super::currency::Context;
use super::super::header;
use super::super::labels::{self, Label};
use super::super::lists::list;
use super::super::marks;
use super::super::rows::Row;
use super::super::words::Words;
use super::rates;
use crate::receipt::{Field, Money, Place, Why};
use crate::textract::Line;

/// What a page says in amounts.
pub(in crate::parser) struct Amounts {
    /// The named amounts, in reading order.
    pub(super) entries: Vec<LabelledAmount>,
    /// The rows where the one amount is a usual part of the other.
    pub(super) taxed: Vec<TaxRow>,
    /// The percentages that are printed, in hundredths of one.
    pub(super) rates: Vec<i128>,
    /// The price of the only item, where it is printed as such.
    pub(super) only: Option<i128>,
    /// How often each price is printed, in millionths; also those that no words name.
    pub(super) prices: BTreeMap<i128, usize>,
    /// Whether it calls something a total that no legible amount stands at.
    pub(super) has_lost_total: bool,
}

/// A row of a table of taxes, in millionths.
#[derive(Clone, Copy, Debug)]
pub(super) struct TaxRow {
    pub(super) base: i128,
    pub(super) tax: i128,
    /// Whether the page says that it is about taxes.
    pub(super) is_named: bool,
}

/// An amount with the words that name it.
#[derive(Clone, Debug)]
pub(super) struct LabelledAmount {
    pub(super) label: Option<Label>,
    pub(super) read: ReadAmount,
    /// Which row of the page it stands on, from 0.
    pub(super) row: usize,
    /// Whether it stands below the heading of a table of taxes, whose totals are not the receipt's.
    pub(super) in_tax_table: bool,
}

/// An amount and how well it was read.
#[derive(Clone, Debug)]
pub(super) struct ReadAmount {
    pub(super) amount: Amount,
    pub(super) confidence: f32,
    /// Whether OCR had damaged it, and it was mended.
    pub(super) mended: bool,
    place: Option<Place>,
    line: u32,
}

impl ReadAmount {
    fn new(amount: Amount, mended: bool, cell: &Line) -> Self {
        let place = cell.bounds.map(|bounds| Place { page: cell.page, bounds });
        Self { amount, confidence: cell.confidence, mended, place, line: cell.number }
    }

    /// Another amount in its place.
    pub(super) fn with(&self, amount: Amount) -> Self {
        Self { amount, ..self.clone() }
    }

    pub(super) fn field(&self, sure: f32, rule: String, context: &Context) -> Field<Money> {
        Field {
            value: Money { currency: context.currency(self.amount.mark), ..self.amount.money },
            confidence: (self.confidence * sure).clamp(0.0, 100.0),
            place: self.place,
            why: Why { line: Some(self.line), rule, score: sure },
        }
    }

    /// The digits as they are printed.
    pub(super) fn units(&self) -> i128 {
        i128::from(self.amount.money.units)
    }

    pub(super) fn micros(&self) -> i128 {
        self.amount.money.micros()
    }
}

/// A stretch of a row: words, and the amounts that follow them.
#[derive(Default)]
struct Segment {
    words: String,
    /// Where the words of its last cell begin.
    last_cell: usize,
    confidence: f32,
    amounts: Vec<ReadAmount>,
}

fn segments(row: &Row, notation: Notation) -> Vec<Segment> {
    let mut texts: Vec<Repaired> = row.cells.iter().map(|cell| Repaired::new(&without_count(&cell.text))).collect();
    let scan = |repaired: &Repaired| amounts::scan_as(&repaired.text, notation);
    let mut scanned: Vec<Vec<Amount>> = texts.iter().map(scan).collect();
    let priced = |a: &Amount| a.has_cents() || a.mark.is_some();
    let has_price = |scanned: &[Vec<Amount>]| scanned.iter().flatten().any(priced);
    if !has_price(&scanned)
        && let Some(last) = texts.last_mut()
        && last.ends_without_mark()
        && labels::classify(Words::new(&row.text())).is_some_and(is_sum)
    {
        last.set_lost_mark();
        scanned = texts.iter().map(scan).collect();
    }
    // Whole numbers beside prices are quantities, and stay among the words.
    let any_price = has_price(&scanned);
    let mut segments = vec![Segment::new()];
    for ((cell, repaired), amounts) in row.cells.iter().zip(&texts).zip(&scanned) {
        let between = |from: usize, to: usize| repaired.text.get(from..to).unwrap_or_default();
        let mut at = 0;
        for amount in amounts.iter().filter(|a| !any_price || priced(a)) {
            push_words(&mut segments, cell, between(at, amount.start));
            if let Some(segment) = segments.last_mut() {
                segment.amounts.push(ReadAmount::new(*amount, repaired.is_mended(amount.start, amount.end), cell));
            }
            at = amount.end;
        }
        push_words(&mut segments, cell, between(at, repaired.text.len()));
    }
    segments
}

fn is_total(label: Label) -> bool {
    matches!(label, Label::Total(_))
}

/// Whether an amount of this name has cents, in a country that has them.
fn is_sum(label: Label) -> bool {
    !matches!(label, Label::Other)
}

impl Segment {
    /// Whether nothing but numbers stands there.
    fn has_no_words(&self) -> bool {
        !self.words.contains(char::is_alphabetic)
    }

    fn new() -> Self {
        Self { confidence: 100.0, ..Self::default() }
    }

    fn label(&self) -> Option<Label> {
        let label = self.label_of_all();
        if matches!(label, Some(Label::Total(_))) || self.last_cell == 0 {
            return label;
        }
        // What stands in the cell beside the amount names it; what stands before is a count, a number, a remark.
        let (before, last) = self.words.split_at_checked(self.last_cell).unwrap_or_default();
        let last = labels::classify(Words::new(last)).filter(|label| matches!(label, Label::Total(70..)));
        let words = Words::new(before);
        let is_remark =
            before.contains(|c: char| c.is_ascii_digit() || c == ':') || words.len() > 1 || words.starts_with("NO");
        last.filter(|_| is_remark).or(label)
    }

    fn label_of_all(&self) -> Option<Label> {
        labels::classify(Words::new(&self.words)).or_else(|| labels::classify(Words::new(&letters(&self.words)?)))
    }

    /// Whether it is, or may be, a tax, a service or a reduction: with an amount or without.
    fn changes_the_price(&self) -> bool {
        let words = Words::new(&self.words);
        // The head of a table of taxes.
        if self.amounts.is_empty() && words.has_any(&const { list("AMOUNT, AMT") }) {
            return false;
        }
        let label = self.label();
        let changes = match label {
            Some(Label::Tax | Label::Service) => true,
            Some(Label::Other) => !labels::is_count(&words),
            _ => labels::is_reduction(&words),
        };
        changes || label != Some(Label::Rounding) && self.amounts.iter().any(|read| read.micros() < 0)
    }

    /// The amount that the words name: the last one with cents, for quantities and rates come before it.
    fn amount(&self) -> Option<&ReadAmount> {
        let mut whole = self.amounts.iter().rev().filter(|read| !read.amount.each);
        let cents = whole.clone().find(|read| read.amount.has_cents());
        cents.or_else(|| whole.next())
    }
}

/// The words with L in place of what it is read for: `JOTA!`, `Tota l`; none where there is nothing of that kind.
fn letters(words: &str) -> Option<String> {
    let mut mended = String::with_capacity(words.len());
    for word in words.split(' ') {
        let is_torn_off = word == "l" && mended.ends_with(char::is_lowercase);
        if !is_torn_off && !mended.is_empty() {
            mended.push(' ');
        }
        match word.strip_suffix('!') {
            Some(head) if head.ends_with(char::is_alphabetic) => mended.extend([head, "l"]),
            _ => mended.push_str(word),
        }
    }
    (mended != words.trim_start()).then_some(mended)
}

/// `TOTAL (Qty 3.00)`: without the count in brackets.
fn without_count(text: &str) -> Cow<'_, str> {
    let Some((head, rest)) = text.split_once('(') else { return Cow::Borrowed(text) };
    let Some((inner, tail)) = rest.split_once(')') else { return Cow::Borrowed(text) };
    let is_count = inner.contains(|c: char| c.is_ascii_digit()) && labels::is_count(&Words::new(inner));
    let is_label = || labels::classify(Words::new(head)).is_some();
    if is_count && is_label() { Cow::Owned(format!("{head}{tail}")) } else { Cow::Borrowed(text) }
}

fn push_words(segments: &mut Vec<Segment>, cell: &Line, words: &str) {
    let letters = words.chars().filter(|c| c.is_alphanumeric()).count();
    // A rate with many decimals names nothing: `4,000.00  0.150000  600.00`.
    let is_rate = || words.contains('.') && !words.contains(|c: char| c.is_alphabetic() || c == ':' || c == '%');
    if letters == 0 || is_rate() || marks::mark(&words.trim().to_uppercase()).is_some() {
        return;
    }
    match segments.last_mut() {
        Some(segment) if segment.amounts.is_empty() => {
            segment.last_cell = segment.words.len();
            segment.words.push(' ');
            segment.words.push_str(words);
            segment.confidence = segment.confidence.min(cell.confidence);
        }
        // A tax code behind a price (S, SR, ZRL) names nothing.
        _ if letters <= 3 && Words::new(words).len() == 1 && labels::classify(Words::new(words)).is_none() => {}
        _ => segments.push(Segment { words: words.to_owned(), confidence: cell.confidence, ..Segment::default() }),
    }
}

/// Reads a page.
pub(in crate::parser) fn read(rows: &[Row]) -> Amounts {
    // The total stands at the end, and each amount is compared with each.
    let rows = rows.get(rows.len().saturating_sub(MOST)..).unwrap_or_default();
    let notation = Notation::of(rows.iter().flat_map(|row| &row.cells).map(|cell| cell.text.as_str()));
    let split: Vec<Vec<Segment>> = rows.iter().map(|row| segments(row, notation)).collect();
    let mut entries = Vec::new();
    let mut taxed = Vec::new();
    let mut in_tax_table = false;
    let mut tax_table = None;
    let mut has_lost_total = false;
    for (index, segments) in split.iter().enumerate() {
        in_tax_table |= rows.get(index).is_some_and(heads_tax_table);
        tax_table = tax_table.or(in_tax_table.then_some(index));
        let is_named = || in_tax_table || rows.get(index).is_some_and(names_tax);
        taxed.extend(base_and_tax(segments).map(|(base, tax)| TaxRow { base, tax, is_named: is_named() }));
        for (at, segment) in segments.iter().enumerate() {
            let label = segment.label();
            let before = || segments.get(at.checked_sub(1)?).filter(|before| before.has_no_words())?.amount().cloned();
            let read = match segment.amount() {
                Some(read) => Some(read.clone()),
                // `12.50 TOTAL`: some print the amount first.
                None if label.is_some_and(is_total) && segments.len() == 2 && at == 1 => before(),
                None if label.is_some() && segments.len() == 1 => beside(rows, &split, index),
                None => None,
            };
            has_lost_total |= read.is_none() && names_total(label, segment, !entries.is_empty());
            if let Some(mut read) = read {
                read.confidence = read.confidence.min(segment.confidence);
                // A sign makes an amount of a whole number only where it stands at it.
                let named = || marks::named(&segment.words).filter(|_| read.amount.has_cents());
                read.amount.mark = read.amount.mark.or_else(named);
                let label = if is_rounded_total(label, &read) { Some(Label::Total(ROUNDED)) } else { label };
                entries.push(LabelledAmount { label, read, row: index, in_tax_table });
            }
        }
    }
    entries.drain(..entries.len().saturating_sub(MOST));
    let mut prices = BTreeMap::new();
    let reads = split.iter().flatten().flat_map(|segment| &segment.amounts);
    for read in reads.filter(|read| read.amount.has_cents()) {
        *prices.entry(read.micros()).or_default() += 1;
    }
    Amounts {
        only: only_price(&split, &entries, tax_table),
        entries,
        taxed,
        rates: rates::of(rows),
        prices,
        has_lost_total,
    }
}

/// Rows and amounts of a page that are looked at. No receipt has as many.
const MOST: usize = 600;

/// Above this, an amount named "rounding" is the rounded total itself.
pub(super) const LARGEST_ROUNDING: i128 = 500_000;
/// How sure a total is that is called by its rounding.
const ROUNDED: u8 = 96;

fn is_rounded_total(label: Option<Label>, read: &ReadAmount) -> bool {
    label == Some(Label::Rounding) && read.micros() > LARGEST_ROUNDING
}

/// Whether it calls something a total: not a column, and not in a sentence.
fn names_total(label: Option<Label>, segment: &Segment, is_below_prices: bool) -> bool {
    let Some(Label::Total(strength)) = label else { return false };
    let words = Words::new(&segment.words);
    if strength < LEAST_NAMED || words.len() > LONGEST_NAME || words.has("PLEASE") {
        return false;
    }
    strength > BARE_TOTAL || !header::is_items_head(&words) || words.len() == 1 && is_below_prices
}

/// How sure the words must be that a total has been lost, and how many they may be.
const LEAST_NAMED: u8 = 74;
/// How sure TOTAL alone is, which also heads a column.
const BARE_TOTAL: u8 = 84;
const LONGEST_NAME: usize = 7;

/// The price of all there is: the only row that names an item has it twice, for one and in sum, and nothing is added or taken off.
fn only_price(split: &[Vec<Segment>], entries: &[LabelledAmount], tax_table: Option<usize>) -> Option<i128> {
    let is_item =
        |entry: &&LabelledAmount| entry.label.is_none() && !entry.in_tax_table && entry.read.amount.has_cents();
    let mut items = entries.iter().filter(is_item).filter(|entry| entry.read.micros() != 0);
    let (item, None) = (items.next()?, items.next()) else { return None };
    let price = item.read.micros();
    let mut below = split.get(item.row..tax_table.unwrap_or(split.len())).unwrap_or_default().iter().flatten();
    if price < 0 || below.any(Segment::changes_the_price) {
        return None;
    }
    let row = split.get(item.row)?.iter().flat_map(|segment| &segment.amounts);
    let times = row.filter(|read| read.micros() == price && read.amount.has_cents()).count();
    (times > 1).then_some(price)
}

/// A row of a table of taxes: a base and, behind it, what is a whole percentage of it.
fn base_and_tax(segments: &[Segment]) -> Option<(i128, i128)> {
    let reads = segments.iter().flat_map(|segment| &segment.amounts).filter(|read| read.amount.has_cents());
    let values: Vec<i128> = reads.map(ReadAmount::micros).collect();
    let is_part = |base: i128, tax: i128| {
        base > 0 && tax > 0 && (2..=27).any(|rate| (tax * 100 - base * rate).abs() <= 100 * 10_000)
    };
    match *values.as_slice() {
        // The sum of the two follows.
        [.., base, tax, sum] if base + tax == sum && is_part(base, tax) => Some((base, tax)),
        [.., base, tax] if is_part(base, tax) => Some((base, tax)),
        _ => None,
    }
}

/// The amount of a label that stands alone on its row: on the row below, or on the one above where a skewed photo put it.
fn beside(rows: &[Row], split: &[Vec<Segment>], index: usize) -> Option<ReadAmount> {
    let own = rows.get(index)?;
    let near = |other: usize, reach: f32| {
        let other_row = rows.get(other)?;
        if other_row.page != own.page {
            return None;
        }
        let segment = split.get(other)?.first().filter(|s| s.has_no_words())?;
        match (own.bounds(), other_row.bounds()) {
            (Some(a), Some(b)) if (a.middle() - b.middle()).abs() > reach * a.height.max(b.height) => None,
            _ => segment.amount().cloned(),
        }
    };
    near(index + 1, 2.5).or_else(|| near(index.checked_sub(1)?, 0.9))
}

/// Whether a row is about taxes by its words: `SR 6%`, `GST`.
fn names_tax(row: &Row) -> bool {
    let text = row.text();
    text.contains('%')
        || Words::new(&text).has_any(&const { list("GST, TAX, VAT, SST, MWST, TVA, IVA, BTW, SR, SUMMARY") })
}

fn heads_tax_table(row: &Row) -> bool {
    let words = Words::new(&row.text());
    let tax = words.has_any(&const { list("GST, TAX, VAT, SST, MWST, TVA") });
    // `TAX CODE: 4401 883` is a number of the company's.
    let has_number = || row.cells.iter().any(|cell| cell.text.contains(|c: char| c.is_ascii_digit()));
    tax && (words.has_any(&const { list("SUMMARY, ANALYSIS, SUMMRY, BREAKDOWN") })
        || words.has_any(&const { list("TAX CODE, GST CODE") }) && !has_number())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_put_back() {
        for (text, mended) in
            [("Tote l", Some("Totel")), (" JOTA! RM", Some("JOTAl RM")), ("TOTE L", None), ("5 l !", None)]
        {
            assert_eq!(letters(text).as_deref(), mended, "{text}");
        }
    }
}
