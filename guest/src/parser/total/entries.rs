//! The named amounts of a page.

use std::collections::BTreeMap;

use super::super::amounts::{self, Amount, Repaired};
use super::super::currency::{self, Context};
use super::super::header;
use super::super::labels::{self, Label};
use super::super::lists::list;
use super::super::rows::Row;
use super::super::words::Words;
use crate::receipt::{Field, Money, Place, Why};
use crate::textract::Line;

/// What a page says in amounts.
pub(in crate::parser) struct Amounts {
    /// The named amounts, in reading order.
    pub(super) entries: Vec<Entry>,
    /// Base and tax of the rows where the one is a usual part of the other, in millionths.
    pub(super) taxed: Vec<(i128, i128)>,
    /// The percentages that are printed, in hundredths of one.
    pub(super) rates: Vec<i128>,
    /// The price of the only item, where it is printed as such.
    pub(super) only: Option<i128>,
    /// How often each price is printed, in millionths; also those that no words name.
    pub(super) prices: BTreeMap<i128, usize>,
    /// Whether it calls something a total that no legible amount stands at.
    pub(super) has_lost_total: bool,
}

/// An amount with the words that name it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) label: Option<Label>,
    pub(super) read: Read,
    /// Which row of the page it stands on, from 0.
    pub(super) row: usize,
    /// Whether it stands below the heading of a table of taxes, whose totals are not the receipt's.
    pub(super) in_tax_table: bool,
}

/// An amount and how well it was read.
#[derive(Clone, Debug)]
pub(super) struct Read {
    pub(super) amount: Amount,
    pub(super) confidence: f32,
    /// Whether OCR had damaged it, and it was mended.
    pub(super) mended: bool,
    place: Option<Place>,
    line: u32,
}

impl Read {
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
    confidence: f32,
    amounts: Vec<Read>,
}

fn segments(row: &Row) -> Vec<Segment> {
    let mut texts: Vec<Repaired> = row.cells.iter().map(|cell| Repaired::new(&cell.text)).collect();
    let scan = |repaired: &Repaired| amounts::scan(&repaired.text);
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
                segment.amounts.push(Read::new(*amount, repaired.is_mended(amount.start, amount.end), cell));
            }
            at = amount.end;
        }
        push_words(&mut segments, cell, between(at, repaired.text.len()));
    }
    segments
}

/// Whether an amount of this name has cents, in a country that has them.
fn is_sum(label: Label) -> bool {
    !matches!(label, Label::Other)
}

impl Segment {
    fn new() -> Self {
        Self { confidence: 100.0, ..Self::default() }
    }

    fn label(&self) -> Option<Label> {
        // `TOTA!`: an exclamation mark in a label is an L.
        labels::classify(Words::new(&self.words.replace('!', "l")))
    }

    /// The amount that the words name: the last one with cents, for quantities and rates come before it.
    fn amount(&self) -> Option<&Read> {
        let mut whole = self.amounts.iter().rev().filter(|read| !read.amount.each);
        let cents = whole.clone().find(|read| read.amount.has_cents());
        cents.or_else(|| whole.next())
    }
}

fn push_words(segments: &mut Vec<Segment>, cell: &Line, words: &str) {
    let letters = words.chars().filter(|c| c.is_alphanumeric()).count();
    if letters == 0 || currency::mark(&words.trim().to_uppercase()).is_some() {
        return;
    }
    match segments.last_mut() {
        Some(segment) if segment.amounts.is_empty() => {
            segment.words.push(' ');
            segment.words.push_str(words);
            segment.confidence = segment.confidence.min(cell.confidence);
        }
        // A tax code behind a price (S, SR, ZRL) names nothing.
        _ if letters <= 3 && Words::new(words).len() == 1 && labels::classify(Words::new(words)).is_none() => {}
        _ => segments.push(Segment { words: words.to_owned(), confidence: cell.confidence, amounts: Vec::new() }),
    }
}

/// Reads a page.
pub(in crate::parser) fn read(rows: &[Row]) -> Amounts {
    // The total stands at the end, and each amount is compared with each.
    let rows = rows.get(rows.len().saturating_sub(MOST)..).unwrap_or_default();
    let split: Vec<Vec<Segment>> = rows.iter().map(segments).collect();
    let mut entries = Vec::new();
    let mut taxed = Vec::new();
    let mut in_tax_table = false;
    let mut has_lost_total = false;
    for (index, segments) in split.iter().enumerate() {
        in_tax_table |= rows.get(index).is_some_and(heads_tax_table);
        taxed.extend(base_and_tax(segments));
        for segment in segments {
            let label = segment.label();
            let read = match segment.amount() {
                Some(read) => Some(read.clone()),
                None if label.is_some() && segments.len() == 1 => beside(rows, &split, index),
                None => None,
            };
            has_lost_total |= read.is_none() && names_total(label, segment);
            if let Some(mut read) = read {
                read.confidence = read.confidence.min(segment.confidence);
                // A sign makes an amount of a whole number only where it stands at it.
                let named = || currency::named(&segment.words).filter(|_| read.amount.has_cents());
                read.amount.mark = read.amount.mark.or_else(named);
                let label = if is_rounded_total(label, &read) { Some(Label::Total(ROUNDED)) } else { label };
                entries.push(Entry { label, read, row: index, in_tax_table });
            }
        }
    }
    entries.drain(..entries.len().saturating_sub(MOST));
    taxed.truncate(MOST);
    let mut prices = BTreeMap::new();
    let reads = split.iter().flatten().flat_map(|segment| &segment.amounts);
    for read in reads.filter(|read| read.amount.has_cents()) {
        *prices.entry(read.micros()).or_default() += 1;
    }
    Amounts { only: only_price(&split, &entries), entries, taxed, rates: rates(rows), prices, has_lost_total }
}

/// Rows and amounts of a page that are looked at. No receipt has as many.
const MOST: usize = 600;

/// Above this, an amount named "rounding" is the rounded total itself.
pub(super) const LARGEST_ROUNDING: i128 = 500_000;
/// How sure a total is that is called by its rounding.
const ROUNDED: u8 = 96;

fn is_rounded_total(label: Option<Label>, read: &Read) -> bool {
    label == Some(Label::Rounding) && read.micros() > LARGEST_ROUNDING
}

/// Whether it calls something a total, and not a column.
fn names_total(label: Option<Label>, segment: &Segment) -> bool {
    let Some(Label::Total(strength)) = label else { return false };
    strength > 84 || !header::is_items_head(&Words::new(&segment.words))
}

/// The price of all there is: the only row that names an item has it twice, for one and in sum, and nothing is added or taken off.
fn only_price(split: &[Vec<Segment>], entries: &[Entry]) -> Option<i128> {
    let is_priced = |entry: &&Entry| entry.read.amount.has_cents() && entry.read.micros() > 0;
    let mut items = entries.iter().filter(|entry| entry.label.is_none() && !entry.in_tax_table).filter(is_priced);
    let (item, None) = (items.next()?, items.next()) else { return None };
    let changes_it = |entry: &Entry| matches!(entry.label, Some(Label::Tax | Label::Other | Label::Service));
    if entries.iter().filter(is_priced).any(changes_it) {
        return None;
    }
    let row = split.get(item.row)?.iter().flat_map(|segment| &segment.amounts);
    let times = row.filter(|read| read.micros() == item.read.micros() && read.amount.has_cents()).count();
    (times > 1).then(|| item.read.micros())
}

/// A row of a table of taxes: a base and, behind it, what is a whole percentage of it.
fn base_and_tax(segments: &[Segment]) -> Option<(i128, i128)> {
    let reads = segments.iter().flat_map(|segment| &segment.amounts).filter(|read| read.amount.has_cents());
    let values: Vec<i128> = reads.map(Read::micros).collect();
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
fn beside(rows: &[Row], split: &[Vec<Segment>], index: usize) -> Option<Read> {
    let own = rows.get(index)?;
    let near = |other: usize, reach: f32| {
        let other_row = rows.get(other)?;
        if other_row.page != own.page {
            return None;
        }
        let segment = split.get(other)?.first().filter(|s| s.words.is_empty())?;
        match (own.bounds(), other_row.bounds()) {
            (Some(a), Some(b)) if (a.middle() - b.middle()).abs() > reach * a.height.max(b.height) => None,
            _ => segment.amount().cloned(),
        }
    };
    near(index + 1, 2.5).or_else(|| near(index.checked_sub(1)?, 0.9))
}

/// The rates of tax that the page names, without repetition.
fn rates(rows: &[Row]) -> Vec<i128> {
    let texts = rows.iter().flat_map(|row| &row.cells).map(|cell| cell.text.as_str());
    let mut rates: Vec<i128> =
        texts.flat_map(percentages).filter(|rate| (LEAST_RATE..=LARGEST_RATE).contains(rate)).collect();
    rates.sort_unstable();
    rates.dedup();
    rates
}

/// Taxes on sales are between these, in hundredths of a percent.
const LEAST_RATE: i128 = 100;
const LARGEST_RATE: i128 = 2_700;

/// `6%`, `6.00 %`, `7,7%`: in hundredths of a percent.
fn percentages(text: &str) -> impl Iterator<Item = i128> + '_ {
    text.match_indices('%').filter_map(|(at, _)| {
        let before = text.get(..at)?.trim_end();
        let start = before.rfind(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | ',')).map_or(0, |last| last + 1);
        let number = before.get(start..).or_else(|| before.get(start + 1..))?;
        let (whole, part) = number.split_once(['.', ',']).unwrap_or((number, ""));
        let hundredths: i128 = format!("{part:0<2}").parse().ok().filter(|_| part.len() <= 2)?;
        let whole: i128 = whole.parse().ok().filter(|_| whole.len() <= 2)?;
        Some(whole * 100 + hundredths)
    })
}

fn heads_tax_table(row: &Row) -> bool {
    let words = Words::new(&row.text());
    let tax = words.has_any(&const { list("GST, TAX, VAT, SST, MWST, TVA") });
    tax && (words.has_any(&const { list("SUMMARY, ANALYSIS, SUMMRY, BREAKDOWN") })
        || words.has("TAX CODE")
        || words.has("GST CODE"))
}
