//! What speaks for each amount of a page, in numbers that a trained scorer weighs.

use std::collections::BTreeMap;

use super::super::amounts::Amount;
use super::super::labels::Label;
use super::super::marks::Mark;
use super::arithmetic::{Proofs, digits, is_near, is_rounding};
use super::label_rules::{COIN, LabelRules};
use super::labelled_amounts::{Amounts, LabelledAmount, ReadAmount};
use crate::receipt::Money;

/// How many there are of each.
pub(super) const COUNT: usize = 54;

/// A value that is printed on the page, or that its sums prove, and what speaks for it.
pub(super) struct Candidate {
    /// The place of it that says most.
    pub(super) read: ReadAmount,
    /// Whether it is printed, legibly.
    pub(super) is_printed: bool,
    pub(super) features: [f32; COUNT],
}

/// One for each value.
pub(super) fn of(page: &Amounts, rules: &LabelRules, proofs: &Proofs) -> Vec<Candidate> {
    let weighed: Vec<&LabelledAmount> = page.entries.iter().filter(|entry| is_amount(entry)).collect();
    let mut values: BTreeMap<i128, Vec<&LabelledAmount>> = BTreeMap::new();
    for entry in &weighed {
        values.entry(entry.read.micros()).or_default().push(entry);
    }
    let anchor = anchor(&page.entries);
    let unprinted = proofs.unprinted(|value| values.contains_key(&value));
    for value in unprinted.iter().filter(|_| anchor.is_some()) {
        values.insert(*value, Vec::new());
    }
    let survey = Survey::new(&weighed, rules, proofs, &values, &page.prices);
    values.iter().filter_map(|(value, places)| survey.candidate(*value, places, anchor)).collect()
}

/// A number without cents and sign is one where it is called a total. Beside other words it may be a card's, and a trace with the
/// number masked must be read the same.
fn is_amount(entry: &LabelledAmount) -> bool {
    let amount = &entry.read.amount;
    amount.has_cents() || amount.mark.is_some() || matches!(entry.label, Some(Label::Total(_)))
}

/// Where a total that is not printed legibly would stand.
fn anchor(entries: &[LabelledAmount]) -> Option<&LabelledAmount> {
    let mut below = entries.iter().rev().filter(|entry| !entry.in_tax_table);
    let total = below.clone().filter(|e| matches!(e.label, Some(Label::Total(_)))).max_by_key(|e| strength(e.label));
    total.or_else(|| below.find(|e| matches!(e.label, Some(Label::Tendered | Label::Card | Label::Subtotal))))
}

struct Survey<'f> {
    rules: &'f LabelRules,
    proofs: &'f Proofs,
    rows: f32,
    largest: i128,
    /// What was handed over less the change.
    paid: Option<i128>,
    /// The sum of the prices above the first named amount.
    items: i128,
    /// How often each value is printed, and how many sums prove it.
    printed: BTreeMap<i128, (usize, usize)>,
    /// Whether the smallest coin may be 5 cents: not where another currency is shown, or smaller change was given. OCR sees a
    /// dollar here and there.
    has_coins: bool,
    /// How often each price is printed, with words at it or without.
    prices: &'f BTreeMap<i128, usize>,
    /// Whether one of the values includes a tax that is printed.
    has_taxed: bool,
}

impl<'f> Survey<'f> {
    fn new(
        entries: &[&LabelledAmount],
        rules: &'f LabelRules,
        proofs: &'f Proofs,
        values: &BTreeMap<i128, Vec<&LabelledAmount>>,
        prices: &'f BTreeMap<i128, usize>,
    ) -> Self {
        let change = rules.change.map(i128::abs);
        let items =
            entries.iter().take_while(|entry| !is_sum(entry.label)).filter(|entry| entry.read.amount.has_cents());
        let (ringgit, foreign): (Vec<Mark>, Vec<Mark>) = entries
            .iter()
            .filter_map(|entry| entry.read.amount.mark)
            .filter(|mark| !matches!(mark, Mark::Several(_) | Mark::Letter(_)))
            .partition(|mark| *mark == Mark::Code("MYR"));
        // A number of something else is no measure for the others.
        let priced = entries.iter().filter(|entry| entry.read.amount.has_cents()).map(|entry| entry.read.micros());
        let largest = priced.max().or_else(|| values.keys().next_back().copied());
        let weight = |(value, places): (&i128, &Vec<&LabelledAmount>)| (*value, (places.len(), proofs.support(*value)));
        Self {
            rules,
            proofs,
            rows: entries.iter().map(|entry| entry.row).max().unwrap_or(0).max(1) as f32,
            largest: largest.unwrap_or(0).max(1),
            paid: change.and_then(|change| Some(rules.tendered.last()? - change)).filter(|paid| *paid > 0),
            items: items.map(|entry| entry.read.micros()).sum(),
            printed: values.iter().map(weight).collect(),
            has_coins: ringgit.len() >= foreign.len() && rules.change.is_none_or(|change| change % COIN == 0),
            prices,
            has_taxed: values.keys().any(|value| proofs.has_tax_within(*value)),
        }
    }

    fn candidate(&self, value: i128, places: &[&LabelledAmount], anchor: Option<&LabelledAmount>) -> Option<Candidate> {
        let (rules, proofs) = (self.rules, self.proofs);
        let scored = places.iter().filter_map(|place| Some((*place, rules.judge(place)?)));
        // The later of two equals: what comes after is more final.
        let best = scored.reduce(|best, next| if next.1 >= best.1 { next } else { best });
        let is_printed = !places.is_empty();
        let support = proofs.support(value);
        let (place, score) = match best {
            Some((place, score)) => (place, Some(score)),
            None if is_printed => (*places.last()?, None),
            None => (anchor?, Some(40.0 + 12.0 * support as f32)),
        };
        let read = if is_printed { place.read.clone() } else { place.read.with(amount(value, &place.read)?) };
        let strength =
            places.iter().filter(|place| !place.in_tax_table).filter_map(|place| strength(place.label)).max();
        let is = |label: Label| flag(places.iter().any(|place| place.label == Some(label)));
        let between = |low: u8, high: u8| flag(strength.is_some_and(|strength| (low..=high).contains(&strength)));
        let ratio = (value as f64 / self.largest as f64).clamp(-1.0, 1.0) as f32;
        let family = self.family(value);
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
            flag(places.iter().any(|place| matches!(place.label, None | Some(Label::Service)))),
            (places.len().clamp(1, 4) as f32 - 1.0) / 3.0,
            flag(self.paid == Some(value)),
            flag(rules.tendered.contains(&value)),
            flag(rules.is_sum(value)),
            flag(rules.is_rounded(value)),
            flag(rules.is_before_rounding(value)),
            flag(value == self.largest),
            ratio,
            flag(ratio < 0.15),
            flag(self.items > 0 && (self.items - value).abs() <= COIN),
            flag(!read.amount.has_cents()),
            flag(is_printed && places.iter().all(|place| place.in_tax_table)),
            place.row as f32 / self.rows,
            flag(self.has_coins && value % COIN == 0),
            flag(self.paid.is_some_and(|paid| is_misread(value, paid))),
            flag(self.is_misreading_of_repeated(value)),
            read.confidence / 100.0,
            flag(self.is_paid_in_part(value)),
            flag(self.has_tax_on_top(value)),
            flag(!is_printed),
            support.min(3) as f32 / 3.0,
            flag(proofs.is_paid(value)),
            flag(proofs.is_exact(value)),
            flag(proofs.is_sum(value)),
            flag(proofs.is_rounded(value)),
            flag(proofs.is_items(value)),
            flag(proofs.is_table(value)),
            flag(proofs.is_followed_by_payment(value)),
            flag(family.iter().any(|value| proofs.follows_its_parts(*value))),
            flag(family.iter().any(|value| proofs.sums_what_is_above(*value))),
            flag(is_printed && places.iter().all(|place| place.read.mended)),
            flag(self.has_better_twin(value, &read)),
            flag(!is_printed && proofs.is_misprinted(value)),
            flag(self.is_rounded_elsewhere(value)),
            flag(!is_printed && rules.totals.iter().any(|total| self.is_consistent(*total))),
            flag(family.iter().any(|value| proofs.has_tax_within(*value))),
            flag(family.iter().any(|value| proofs.is_base_and_rate(*value))),
            (self.prices(value).clamp(1, 4) as f32 - 1.0) / 3.0,
            flag(self.prices(value) > places.len().max(1)),
            flag(proofs.is_usual_tax_within(value, self.largest)),
            flag(!family.iter().any(|value| proofs.has_tax_within(*value)) && self.has_taxed),
        ];
        Some(Candidate { read, is_printed, features })
    }

    /// The value and, if it is a coin, what is printed that may have been rounded to it: what proves that proves this.
    fn family(&self, value: i128) -> Vec<i128> {
        let near = self.printed.range(value - COIN + 1..value + COIN).map(|(other, _)| *other);
        let is_kin = |other: &i128| *other == value || self.has_coins && value % COIN == 0 && other % COIN != 0;
        near.filter(is_kin).collect()
    }

    /// Whether what it rounds to is among the values, too.
    fn is_rounded_elsewhere(&self, value: i128) -> bool {
        let mut near = self.printed.range(value - COIN + 1..value + COIN);
        self.has_coins && near.any(|(other, _)| is_rounding(value, *other) && self.rules.totals.contains(other))
    }

    /// Whether more than its name speaks for what is called a total.
    fn is_consistent(&self, total: i128) -> bool {
        self.printed.get(&total).is_some_and(|(times, _)| *times > 1)
            || self.proofs.is_sum(total)
            || self.proofs.is_items(total)
            || self.proofs.is_paid(total)
    }

    /// One digit or mark away from a value that more sums prove, and that is printed as often.
    fn has_better_twin(&self, value: i128, read: &ReadAmount) -> bool {
        let Some(&(times, support)) = self.printed.get(&value) else { return false };
        let own = digits(read.units());
        self.printed.iter().any(|(other, (t, s))| {
            *s > support
                && (*t >= times || *s > support + 1)
                && *other != value
                && !is_rounding(value, *other)
                && is_near(&own, &digits(other / 10_000))
        })
    }

    /// One digit away from a value that is printed more often.
    fn is_misreading_of_repeated(&self, value: i128) -> bool {
        let own = self.printed.get(&value).map_or(0, |(times, _)| *times);
        self.printed.iter().any(|(other, (times, _))| *times > own && is_misread(value, *other))
    }

    /// Two printed amounts whose difference it is, one of them handed over or given back.
    fn is_paid_in_part(&self, value: i128) -> bool {
        let by_tendered = self.rules.tendered.iter().any(|t| *t > value && self.is_printed(t - value));
        let change = self.rules.change.map(i128::abs).filter(|change| *change > 0);
        value > 0 && (by_tendered || change.is_some_and(|change| self.is_printed(value + change)))
    }

    /// How often it is printed, with words at it or without.
    fn prices(&self, value: i128) -> usize {
        self.prices.get(&value).copied().unwrap_or(0)
    }

    fn is_printed(&self, value: i128) -> bool {
        self.printed.get(&value).is_some_and(|(times, _)| *times > 0)
    }

    /// A printed tax, and what is left without it is printed, too.
    fn has_tax_on_top(&self, value: i128) -> bool {
        self.rules.taxes.iter().any(|tax| *tax > 0 && tax * 4 < value && self.is_printed(value - tax))
    }
}

/// The value as the page would print it.
fn amount(value: i128, like: &ReadAmount) -> Option<Amount> {
    let units = i64::try_from(value / 10_000).ok().filter(|_| value % 10_000 == 0)?;
    Some(Amount { money: Money { units, scale: 2, currency: None }, ..like.amount })
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

/// Whether the two are written with the same digits but for one, and rounding does not explain it.
fn is_misread(value: i128, other: i128) -> bool {
    if is_rounding(value, other) || is_rounding(other, value) {
        return false;
    }
    let (a, b) = (value.to_string(), other.to_string());
    a.len() == b.len() && a.bytes().zip(b.bytes()).filter(|(a, b)| a != b).count() == 1
}
