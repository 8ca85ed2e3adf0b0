//! Which amount is the total by what the amounts of a page are called, and by rules over them.

use super::super::labels::Label;
use super::labelled_amounts::{LARGEST_ROUNDING, LabelledAmount, ReadAmount};

/// Whether the value is the other one, rounded to the smallest coin.
fn is_rounding_of(value: i128, other: i128) -> bool {
    value % COIN == 0 && other % COIN != 0 && (value - other).abs() < COIN
}

/// The amounts of a page by what they are called, in millionths.
pub(super) struct LabelRules {
    pub(super) printed: Vec<i128>,
    pub(super) tendered: Vec<i128>,
    pub(super) cards: Vec<i128>,
    pub(super) change: Option<i128>,
    pub(super) subtotals: Vec<i128>,
    pub(super) taxes: Vec<i128>,
    pub(super) services: Vec<i128>,
    pub(super) rounding: Option<i128>,
    pub(super) totals: Vec<i128>,
    /// What follows a subtotal and all that is added below it, and is their sum.
    running: Vec<i128>,
    /// What a subtotal, taxes and service make, to the cent.
    parts: Vec<i128>,
    /// Totals before and after what is taken off or added below them.
    adjusted: Vec<(i128, i128)>,
}

/// The largest of the smallest coins, 5 cents.
pub(super) const COIN: i128 = 50_000;

/// A whole unit: totals are rounded to it where coins are out of use.
const WHOLE: i128 = 1_000_000;
/// How many amounts may stand between a subtotal and its total.
const MOST_PARTS: usize = 7;

/// The values that follow a subtotal and at least one more amount, and are the sum of all that stands before them from there.
fn running(entries: &[LabelledAmount]) -> Vec<i128> {
    let mut found = Vec::new();
    let is_start = |entry: &LabelledAmount| entry.label == Some(Label::Subtotal) && entry.read.amount.has_cents();
    for (at, start) in entries.iter().enumerate().filter(|(_, entry)| is_start(entry) && !entry.in_tax_table) {
        let mut sum = start.read.micros();
        for (count, entry) in entries.iter().skip(at + 1).take(MOST_PARTS).enumerate() {
            let value = entry.read.micros();
            if count > 0 && value == sum && sum > start.read.micros() {
                found.push(value);
                // A tip may follow.
                continue;
            }
            if matches!(entry.label, Some(Label::Tendered | Label::Card | Label::Change)) {
                break;
            }
            sum += value;
        }
    }
    found
}

/// Two totals of which the one became the other, by what is taken off or added between them: a discount, a tip.
fn adjusted(entries: &[LabelledAmount], running: &[i128]) -> Vec<(i128, i128)> {
    let is_total = |entry: &LabelledAmount| {
        matches!(entry.label, Some(Label::Total(_))) && !entry.in_tax_table
            || entry.label.is_none() && running.contains(&entry.read.micros())
    };
    let mut found = Vec::new();
    for (at, first) in entries.iter().enumerate().filter(|(_, entry)| is_total(entry)) {
        let from = first.read.micros();
        let mut parts: Vec<i128> = Vec::new();
        for entry in entries.iter().skip(at + 1).take(MOST_PARTS) {
            let value = entry.read.micros();
            match entry.label {
                _ if is_total(entry) && value != from => {
                    let is_made = |part: &i128| value == from + part || value == from - part;
                    found.extend(parts.iter().any(is_made).then_some((from, value)));
                    break;
                }
                Some(Label::Other | Label::Service) => parts.push(value),
                Some(Label::Tendered | Label::Card | Label::Change) => break,
                _ => {}
            }
        }
    }
    found
}

/// Each subtotal with all of its taxes and service.
fn parts(subtotals: &[i128], taxes: &[i128], services: &[i128]) -> Vec<i128> {
    let added: i128 = taxes.iter().chain(services).take(MOST_PARTS).sum();
    subtotals.iter().filter(|_| added > 0).map(|subtotal| subtotal + added).collect()
}

impl LabelRules {
    pub(super) fn new(entries: &[LabelledAmount]) -> Self {
        let of = |wanted: Label| -> Vec<i128> {
            let named = entries.iter().filter(|e| e.label == Some(wanted) && !e.in_tax_table);
            named.map(|e| e.read.micros()).collect()
        };
        let roundings = of(Label::Rounding);
        let tendered: Vec<i128> = of(Label::Tendered).into_iter().map(i128::abs).collect();
        // More change than was handed over is a misreading.
        let most = tendered.iter().max().copied();
        let running = running(entries);
        let is_base = |e: &&LabelledAmount| matches!(e.label, Some(Label::Subtotal | Label::Total(_)));
        let bases = entries.iter().filter(is_base).filter(|e| !e.in_tax_table && e.read.amount.has_cents());
        let bases: Vec<i128> = bases.map(|e| e.read.micros()).collect();
        let change = of(Label::Change).last().copied().filter(|change| most.is_none_or(|most| change.abs() < most));
        Self {
            printed: entries.iter().map(|e| e.read.micros()).collect(),
            // Printed with a minus where the sale is a sum that comes out at nothing.
            tendered,
            cards: of(Label::Card),
            change,
            subtotals: of(Label::Subtotal),
            taxes: of(Label::Tax),
            services: of(Label::Service),
            adjusted: adjusted(entries, &running),
            running,
            parts: parts(&bases, &of(Label::Tax), &of(Label::Service)),
            rounding: roundings.into_iter().rev().find(|r| r.abs() <= LARGEST_ROUNDING),
            totals: entries
                .iter()
                .filter(|e| matches!(e.label, Some(Label::Total(_))) && !e.in_tax_table)
                .map(|e| e.read.micros())
                .collect(),
        }
    }

    /// How good a total it is by its words and by the sums that come out, 0 to some 130; none where nothing speaks for it.
    pub(super) fn judge(&self, entry: &LabelledAmount) -> Option<f32> {
        let value = entry.read.micros();
        let is_running = self.running.contains(&value);
        let mut score = match entry.label {
            Some(Label::Total(strength)) => f32::from(strength),
            // Only the sum says what it is.
            None if is_running && !self.totals.contains(&value) => 82.0,
            // The rounded total often has no words of its own.
            None | Some(Label::Service)
                if self.rounding.is_some_and(|r| r != 0 && self.totals.contains(&(value - r))) =>
            {
                84.0
            }
            // Or is only printed as what the card, or the exact coins, paid.
            Some(Label::Card | Label::Tendered) if self.change.unwrap_or(0) == 0 && self.is_near_total(value) => 84.0,
            _ => return None,
        };
        if !entry.read.amount.has_cents() && self.parts.iter().any(|sum| (sum - value).abs() < WHOLE) {
            score += 12.0;
        } else if !entry.read.amount.has_cents() {
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
        if self.is_sum(value) || is_running {
            score += 8.0;
        }
        score += 3.0 * self.totals.iter().filter(|&&t| t == value).count().min(3) as f32;
        Some(score)
    }

    /// Whether it is another total, rounded: by the rounding that is printed, or by less than a coin to a round number.
    pub(super) fn is_rounded(&self, value: i128) -> bool {
        if self.adjusted.iter().any(|(_, after)| *after == value) {
            return true;
        }
        let mut before = self.totals.iter().chain(&self.subtotals);
        match self.rounding.filter(|&r| r != 0) {
            // Its sign is often lost; what is a coin already was not rounded.
            Some(rounding) => before
                .any(|&t| (t + rounding == value || t - rounding == value) && (t % COIN != 0 || value % COIN == 0)),
            None => self.is_near_total(value) || before.any(|&t| is_rounding_of(value, t)),
        }
    }

    fn is_near_total(&self, value: i128) -> bool {
        self.totals.iter().any(|&total| is_rounding_of(value, total))
    }

    /// Whether the printed rounding makes another printed amount of it.
    pub(super) fn is_before_rounding(&self, value: i128) -> bool {
        self.rounding.is_some_and(|r| r != 0 && self.printed.contains(&(value + r)))
            || self.adjusted.iter().any(|(before, _)| *before == value)
    }

    /// Whether what was handed over, less the change, is this.
    pub(super) fn is_paid(&self, value: i128) -> bool {
        let change = self.change.unwrap_or(0).abs();
        self.cards.contains(&value) || self.tendered.iter().any(|tendered| tendered - change == value)
    }

    pub(super) fn is_sum(&self, value: i128) -> bool {
        self.subtotals.iter().any(|sub| self.taxes.iter().any(|tax| *tax != 0 && sub + tax == value))
            || value % WHOLE == 0
                && self.totals.contains(&value)
                && self.parts.iter().any(|sum| (sum - value).abs() < WHOLE)
    }

    /// What speaks for this value, in words.
    pub(super) fn say(&self, entries: &[LabelledAmount], value: i128) -> String {
        let called = |is: fn(Label) -> bool| {
            entries.iter().any(|entry| entry.read.micros() == value && entry.label.is_some_and(is))
        };
        let times = self.totals.iter().filter(|&&total| total == value).count();
        let mut said = Vec::new();
        match times {
            0 if called(|label| label == Label::Rounding) => said.push("called the rounded total".to_owned()),
            0 if called(|label| label == Label::Card) => said.push("what a card paid".to_owned()),
            0 if called(|label| label == Label::Tendered) => said.push("what was handed over".to_owned()),
            0 if called(|label| label == Label::Subtotal) => said.push("called a subtotal".to_owned()),
            0 => said.push("known by the sums".to_owned()),
            1 => said.push("called a total".to_owned()),
            times => said.push(format!("called a total {times} times")),
        }
        for (holds, words) in [
            (self.is_paid(value), "was paid"),
            (self.is_sum(value), "is subtotal and tax"),
            (self.is_rounded(value), "is a total, rounded"),
        ] {
            said.extend(holds.then(|| words.to_owned()));
        }
        said.join("; ")
    }

    /// The total where nothing is named so: what was paid less the change, what the card paid, the subtotal.
    pub(super) fn unlabelled<'a>(&self, entries: &'a [LabelledAmount]) -> Option<(&'a ReadAmount, f32, &'static str)> {
        let last = |wanted: Label| {
            let mut named = entries.iter().rev().filter(move |e| !e.in_tax_table && e.read.amount.has_cents());
            // What an account was charged with is no sale: without a total, only what comes in counts.
            named.find(|e| e.label == Some(wanted) && e.read.micros() > 0).map(|e| &e.read)
        };
        if let (Some(tendered), Some(change)) = (last(Label::Tendered), self.change) {
            let paid = tendered.micros().abs() - change.abs();
            if let Some(entry) = entries.iter().find(|e| e.read.micros() == paid && paid > 0) {
                return Some((&entry.read, 0.7, "tendered less change"));
            }
        }
        let candidates = [
            (Label::Card, 0.55, "what a card paid"),
            (Label::Subtotal, 0.5, "called a subtotal"),
            (Label::Tendered, 0.4, "what was handed over"),
        ];
        candidates.into_iter().find_map(|(label, sure, rule)| Some((last(label)?, sure, rule)))
    }
}
