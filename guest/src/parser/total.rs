//! Which amount was paid: by its label, its place, and whether the sums agree.

use super::amounts::{self, Amount};
use super::currency::{self, Context};
use super::labels::{self, Label};
use super::rows::Row;
use super::words::Words;
use crate::receipt::{Field, Money, Place};
use crate::textract::Line;

/// Finds the total of one page.
pub(super) fn find(rows: &[Row], context: &Context) -> Option<Field<Money>> {
    let entries = entries(rows);
    let facts = Facts::new(&entries);
    let candidates: Vec<Candidate> = entries.iter().filter_map(|entry| facts.judge(entry)).collect();
    let best = candidates
        .iter()
        .enumerate()
        // The later of two equals: what comes after is more final.
        .max_by(|(i, a), (j, b)| a.score.total_cmp(&b.score).then(i.cmp(j)))
        .map(|(_, candidate)| candidate);
    let Some(best) = best else {
        return facts.unlabelled(&entries).map(|(read, sure)| read.field(sure, context));
    };
    let rival = candidates
        .iter()
        .filter(|c| !c.read.amount.money.same_amount(&best.read.amount.money))
        .map(|c| c.score)
        .fold(0.0, f32::max);
    let clear = if best.score - rival < 8.0 { 0.85 } else { 1.0 };
    Some(best.read.field((best.score / 110.0).clamp(0.05, 0.99) * clear, context))
}

/// An amount with the words that name it.
#[derive(Clone, Debug)]
struct Entry {
    label: Option<Label>,
    read: Read,
    /// Whether it stands below the heading of a table of taxes, whose totals are not the receipt's.
    in_tax_table: bool,
}

/// An amount and how well it was read.
#[derive(Clone, Debug)]
struct Read {
    amount: Amount,
    confidence: f32,
    place: Option<Place>,
}

struct Candidate<'a> {
    read: &'a Read,
    score: f32,
}

impl Read {
    fn new(amount: Amount, cell: &Line) -> Self {
        Self { amount, confidence: cell.confidence, place: cell.bounds.map(|bounds| Place { page: cell.page, bounds }) }
    }

    fn field(&self, sure: f32, context: &Context) -> Field<Money> {
        Field {
            value: Money { currency: context.currency(self.amount.mark), ..self.amount.money },
            confidence: (self.confidence * sure).clamp(0.0, 100.0),
            place: self.place,
        }
    }

    fn micros(&self) -> i128 {
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
    let scanned: Vec<(&Line, Vec<Amount>)> = row.cells.iter().map(|&cell| (cell, amounts::scan(&cell.text))).collect();
    let priced = |a: &Amount| a.has_cents() || a.mark.is_some();
    // Whole numbers beside prices are quantities, and stay among the words.
    let any_price = scanned.iter().flat_map(|(_, amounts)| amounts).any(priced);
    let mut segments = vec![Segment::new()];
    for (cell, amounts) in scanned {
        let mut at = 0;
        for amount in amounts.iter().filter(|a| !any_price || priced(a)) {
            push_words(&mut segments, cell, cell.text.get(at..amount.start).unwrap_or_default());
            if let Some(segment) = segments.last_mut() {
                segment.amounts.push(Read::new(*amount, cell));
            }
            at = amount.end;
        }
        push_words(&mut segments, cell, cell.text.get(at..).unwrap_or_default());
    }
    segments
}

impl Segment {
    fn new() -> Self {
        Self { confidence: 100.0, ..Self::default() }
    }

    fn label(&self) -> Option<Label> {
        labels::classify(Words::new(&self.words))
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

/// The named amounts of a page, in reading order.
fn entries(rows: &[Row]) -> Vec<Entry> {
    let split: Vec<Vec<Segment>> = rows.iter().map(segments).collect();
    let mut entries = Vec::new();
    let mut in_tax_table = false;
    for (index, segments) in split.iter().enumerate() {
        in_tax_table |= rows.get(index).is_some_and(heads_tax_table);
        for segment in segments {
            let label = segment.label();
            let read = match segment.amount() {
                Some(read) => Some(read.clone()),
                None if label.is_some() && segments.len() == 1 => beside(rows, &split, index),
                None => None,
            };
            if let Some(mut read) = read {
                read.confidence = read.confidence.min(segment.confidence);
                entries.push(Entry { label, read, in_tax_table });
            }
        }
    }
    entries
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

fn heads_tax_table(row: &Row) -> bool {
    let words = Words::new(&row.text());
    let tax = words.has_any("GST, TAX, VAT, SST, MWST, TVA");
    tax && (words.has_any("SUMMARY, ANALYSIS, SUMMRY, BREAKDOWN") || words.has("TAX CODE") || words.has("GST CODE"))
}

/// Whether the value is the other one, rounded to the smallest coin.
fn is_rounding_of(value: i128, other: i128) -> bool {
    value % COIN == 0 && other % COIN != 0 && (value - other).abs() < COIN
}

/// What the named amounts say together, in millionths.
struct Facts {
    printed: Vec<i128>,
    tendered: Vec<i128>,
    cards: Vec<i128>,
    change: Option<i128>,
    subtotals: Vec<i128>,
    taxes: Vec<i128>,
    rounding: Option<i128>,
    totals: Vec<i128>,
}

/// The largest of the smallest coins, 5 cents.
const COIN: i128 = 50_000;
/// Above this, an amount named "rounding" is the rounded total itself.
const LARGEST_ROUNDING: i128 = 500_000;

impl Facts {
    fn new(entries: &[Entry]) -> Self {
        let of = |wanted: Label| -> Vec<i128> {
            let named = entries.iter().filter(|e| e.label == Some(wanted) && !e.in_tax_table);
            named.map(|e| e.read.micros()).collect()
        };
        let roundings = of(Label::Rounding);
        Self {
            printed: entries.iter().map(|e| e.read.micros()).collect(),
            // Printed with a minus where the sale is a sum that comes out at nothing.
            tendered: of(Label::Tendered).into_iter().map(i128::abs).collect(),
            cards: of(Label::Card),
            change: of(Label::Change).last().copied(),
            subtotals: of(Label::Subtotal),
            taxes: of(Label::Tax),
            rounding: roundings.into_iter().rev().find(|r| r.abs() <= LARGEST_ROUNDING),
            totals: entries
                .iter()
                .filter(|e| matches!(e.label, Some(Label::Total(_))) && !e.in_tax_table)
                .map(|e| e.read.micros())
                .collect(),
        }
    }

    fn judge<'a>(&self, entry: &'a Entry) -> Option<Candidate<'a>> {
        let value = entry.read.micros();
        let mut score = match entry.label {
            Some(Label::Total(strength)) => f32::from(strength),
            Some(Label::Rounding) if value > LARGEST_ROUNDING => 96.0,
            // The rounded total often has no words of its own.
            None if self.rounding.is_some_and(|r| r != 0 && self.totals.contains(&(value - r))) => 84.0,
            // Or is only printed as what the card, or the exact coins, paid.
            Some(Label::Card | Label::Tendered) if self.change.unwrap_or(0) == 0 && self.is_near_total(value) => 84.0,
            _ => return None,
        };
        if !entry.read.amount.has_cents() {
            score -= if entry.read.amount.mark.is_some() { 8.0 } else { 30.0 };
        }
        if self.is_before_rounding(value) {
            score -= 12.0;
        }
        if value == 0 {
            score -= 40.0;
        }
        if value < 0 {
            score -= 60.0;
        }
        if entry.in_tax_table {
            score -= 45.0;
        }
        if self.is_rounded(value) {
            score += 14.0;
        }
        if self.is_paid(value) {
            score += 16.0;
        }
        if self.is_sum(value) {
            score += 8.0;
        }
        score += 3.0 * self.totals.iter().filter(|&&t| t == value).count().min(3) as f32;
        Some(Candidate { read: &entry.read, score })
    }

    /// Whether it is another total, rounded: by the rounding that is printed, or by less than a coin to a round number.
    fn is_rounded(&self, value: i128) -> bool {
        let mut before = self.totals.iter().chain(&self.subtotals);
        match self.rounding.filter(|&r| r != 0) {
            Some(rounding) => before.any(|&t| t + rounding == value || t - rounding == value),
            None => self.is_near_total(value) || before.any(|&t| is_rounding_of(value, t)),
        }
    }

    fn is_near_total(&self, value: i128) -> bool {
        self.totals.iter().any(|&total| is_rounding_of(value, total))
    }

    /// Whether the printed rounding makes another printed amount of it.
    fn is_before_rounding(&self, value: i128) -> bool {
        self.rounding.is_some_and(|r| r != 0 && self.printed.contains(&(value + r)))
    }

    /// Whether what was handed over, less the change, is this.
    fn is_paid(&self, value: i128) -> bool {
        let change = self.change.unwrap_or(0).abs();
        self.cards.contains(&value) || self.tendered.iter().any(|tendered| tendered - change == value)
    }

    fn is_sum(&self, value: i128) -> bool {
        self.subtotals.iter().any(|sub| self.taxes.iter().any(|tax| *tax != 0 && sub + tax == value))
    }

    /// The total where nothing is named so: what was paid less the change, what the card paid, the subtotal.
    fn unlabelled<'a>(&self, entries: &'a [Entry]) -> Option<(&'a Read, f32)> {
        let last = |wanted: Label| {
            let mut named = entries.iter().rev().filter(move |e| !e.in_tax_table && e.read.amount.has_cents());
            named.find(|e| e.label == Some(wanted) && e.read.micros() != 0).map(|e| &e.read)
        };
        if let (Some(tendered), Some(change)) = (last(Label::Tendered), self.change) {
            let paid = tendered.micros().abs() - change.abs();
            if let Some(entry) = entries.iter().find(|e| e.read.micros() == paid && paid > 0) {
                return Some((&entry.read, 0.7));
            }
        }
        let candidates = [(Label::Card, 0.55), (Label::Subtotal, 0.5), (Label::Tendered, 0.4)];
        candidates.into_iter().find_map(|(label, sure)| Some((last(label)?, sure)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser::rows;

    /// One line a text; the part behind `|` stands to the right on the same row.
    fn total(texts: &[&str]) -> Option<String> {
        let mut lines = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            for (column, cell) in text.split('|').enumerate() {
                lines.push(Line {
                    text: cell.trim().to_owned(),
                    confidence: 99.0,
                    page: 1,
                    bounds: crate::receipt::BoundingBox::new(0.1 + 0.5 * column as f32, 0.04 * index as f32, 0.3, 0.02),
                });
            }
        }
        find(&rows::group(&lines), &Context::new(lines.iter().map(|line| line.text.as_str())))
            .map(|field| field.value.to_string())
    }

    fn is(texts: &[&str], expected: &str) {
        assert_eq!(total(texts).as_deref(), Some(expected), "{texts:?}");
    }

    #[test]
    fn the_amount_stands_right_of_its_label_or_below() {
        is(&["Tea|4.00", "TOTAL|4.00"], "4.00");
        is(&["TOTAL 4.00"], "4.00");
        is(&["TOTAL", "4.00"], "4.00");
        is(&["TOTAL|RM|4.00"], "4.00");
    }

    #[test]
    fn the_rounded_total_is_paid() {
        is(
            &[
                "TOTAL|RM 33.92",
                "ROUNDING ADJUSTMENT|-RM 0.02",
                "TOTAL ROUNDED|RM 33.90",
                "CASH|RM 50.00",
                "CHANGE|RM 16.10",
            ],
            "33.90",
        );
        is(&["Total: 102.39", "0.01", "Total|102.40"], "102.40");
    }

    #[test]
    fn neighbours_of_the_total_are_not_taken() {
        is(&["SUBTOTAL|12.19", "GST|0.69", "TOTAL|12.88", "CASH|50.00", "CHANGE|37.12"], "12.88");
        is(&["TOTAL QTY|3", "TOTAL|8.00", "TOTAL SAVINGS|1.00"], "8.00");
        is(&["TOTAL|37.10", "GST SUMMARY|AMT(RM)", "TOTAL|35.00|2.10"], "37.10");
    }

    #[test]
    fn a_european_total() {
        is(&["Zwischensumme|10,00", "MwSt 19%|1,90", "SUMME EUR|11,90", "Bar|20,00", "Rückgeld|8,10"], "11.90");
    }

    #[test]
    fn without_a_label_the_sums_tell() {
        is(&["Tea|4.00", "CASH|10.00", "CHANGE|6.00"], "4.00");
        is(&["Tea|4.00", "VISA|4.00"], "4.00");
        assert_eq!(total(&["Tea|4.00", "Rice|9.00"]), None);
        assert_eq!(total(&["Page 2"]), None);
    }
}
