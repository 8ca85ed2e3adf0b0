//! What speaks for each amount of a page, in numbers that a trained scorer weighs.

use std::collections::BTreeMap;

use super::super::labels::Label;
use super::entries::{Entry, Read};
use super::facts::{COIN, Facts};

/// How many there are of each.
pub(super) const COUNT: usize = 32;

/// A value that is printed on the page, and what speaks for it.
pub(super) struct Candidate<'a> {
    /// The place of it that says most.
    pub(super) read: &'a Read,
    pub(super) features: [f32; COUNT],
}

/// One for each value.
pub(super) fn of<'a>(entries: &'a [Entry], facts: &Facts) -> Vec<Candidate<'a>> {
    let weighed: Vec<&Entry> = entries.iter().filter(|entry| is_amount(entry)).collect();
    let mut values: BTreeMap<i128, Vec<&Entry>> = BTreeMap::new();
    for entry in &weighed {
        values.entry(entry.read.micros()).or_default().push(entry);
    }
    let page = Page::new(&weighed, facts, &values);
    values.iter().filter_map(|(value, places)| page.candidate(*value, places)).collect()
}

/// A number without cents and sign is one where it is called a total. Beside other words it may be a card's, and a trace with the
/// number masked must be read the same.
fn is_amount(entry: &Entry) -> bool {
    let amount = &entry.read.amount;
    amount.has_cents() || amount.mark.is_some() || matches!(entry.label, Some(Label::Total(_)))
}

struct Page<'f> {
    facts: &'f Facts,
    rows: f32,
    largest: i128,
    /// What was handed over less the change.
    paid: Option<i128>,
    /// The sum of the prices above the first named amount.
    items: i128,
    /// How often each value is printed.
    printed: BTreeMap<i128, usize>,
}

impl<'f> Page<'f> {
    fn new(entries: &[&Entry], facts: &'f Facts, values: &BTreeMap<i128, Vec<&Entry>>) -> Self {
        let change = facts.change.map(i128::abs);
        let items =
            entries.iter().take_while(|entry| !is_sum(entry.label)).filter(|entry| entry.read.amount.has_cents());
        Self {
            facts,
            rows: entries.iter().map(|entry| entry.row).max().unwrap_or(0).max(1) as f32,
            largest: values.keys().next_back().copied().unwrap_or(0).max(1),
            paid: change.and_then(|change| Some(facts.tendered.last()? - change)).filter(|paid| *paid > 0),
            items: items.map(|entry| entry.read.micros()).sum(),
            printed: values.iter().map(|(value, places)| (*value, places.len())).collect(),
        }
    }

    fn candidate<'a>(&self, value: i128, places: &[&'a Entry]) -> Option<Candidate<'a>> {
        let facts = self.facts;
        let scored = places.iter().filter_map(|place| Some((*place, facts.judge(place)?)));
        // The later of two equals: what comes after is more final.
        let best = scored.reduce(|best, next| if next.1 >= best.1 { next } else { best });
        let (place, score) = best.map_or((*places.last()?, None), |(place, score)| (place, Some(score)));
        let strength =
            places.iter().filter(|place| !place.in_tax_table).filter_map(|place| strength(place.label)).max();
        let is = |label: Label| flag(places.iter().any(|place| place.label == Some(label)));
        let between = |low: u8, high: u8| flag(strength.is_some_and(|strength| (low..=high).contains(&strength)));
        let ratio = (value as f64 / self.largest as f64).clamp(-1.0, 1.0) as f32;
        let features = [
            score.unwrap_or(0.0) / 20.0,
            flag(score.is_none()),
            between(92, 100),
            between(80, 91),
            between(50, 79),
            is(Label::Subtotal),
            is(Label::Tax),
            is(Label::Rounding),
            is(Label::Tendered),
            is(Label::Card),
            is(Label::Change),
            is(Label::Other),
            flag(places.iter().any(|place| place.label.is_none())),
            (places.len().min(4) as f32 - 1.0) / 3.0,
            flag(self.paid == Some(value)),
            flag(facts.tendered.contains(&value)),
            flag(facts.is_sum(value)),
            flag(facts.is_rounded(value)),
            flag(facts.is_before_rounding(value)),
            flag(value == self.largest),
            ratio,
            flag(ratio < 0.15),
            flag(self.items > 0 && (self.items - value).abs() <= COIN),
            flag(!place.read.amount.has_cents()),
            flag(places.iter().all(|place| place.in_tax_table)),
            place.row as f32 / self.rows,
            flag(value % COIN == 0),
            flag(self.paid.is_some_and(|paid| is_misread(value, paid))),
            flag(self.is_misreading_of_repeated(value)),
            place.read.confidence / 100.0,
            flag(self.is_paid_in_part(value)),
            flag(self.has_tax_on_top(value)),
        ];
        Some(Candidate { read: &place.read, features })
    }

    /// One digit away from a value that is printed more often.
    fn is_misreading_of_repeated(&self, value: i128) -> bool {
        let own = self.printed.get(&value).copied().unwrap_or(0);
        self.printed.iter().any(|(other, times)| *times > own && is_misread(value, *other))
    }

    /// Two printed amounts whose difference it is, one of them handed over or given back.
    fn is_paid_in_part(&self, value: i128) -> bool {
        let by_tendered = self.facts.tendered.iter().any(|t| *t > value && self.printed.contains_key(&(t - value)));
        let change = self.facts.change.map(i128::abs).filter(|change| *change > 0);
        value > 0 && (by_tendered || change.is_some_and(|change| self.printed.contains_key(&(value + change))))
    }

    /// A printed tax, and what is left without it is printed, too.
    fn has_tax_on_top(&self, value: i128) -> bool {
        self.facts.taxes.iter().any(|tax| *tax > 0 && tax * 4 < value && self.printed.contains_key(&(value - tax)))
    }
}

fn flag(is: bool) -> f32 {
    f32::from(u8::from(is))
}

fn strength(label: Option<Label>) -> Option<u8> {
    match label {
        Some(Label::Total(strength)) => Some(strength),
        _ => None,
    }
}

/// Whether the items end where this label stands.
fn is_sum(label: Option<Label>) -> bool {
    matches!(label, Some(Label::Total(_) | Label::Subtotal | Label::Tax | Label::Rounding | Label::Tendered))
}

/// Whether the two are written with the same digits but for one.
fn is_misread(value: i128, other: i128) -> bool {
    let (a, b) = (value.to_string(), other.to_string());
    a.len() == b.len() && a.bytes().zip(b.bytes()).filter(|(a, b)| a != b).count() == 1
}
