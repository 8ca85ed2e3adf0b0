//! What the sums of a page prove, whatever it calls its amounts, and what they prove of a total that is not printed legibly.
//!
//! A value that is printed nowhere is only made up where two of these agree about it that do not rest on the same numbers; a
//! misread total or payment that is one digit away is one of them.

use super::super::labels::Label;
use super::label_rules::{COIN, LabelRules};
use super::labelled_amounts::{Amounts, LabelledAmount, TaxRow};

/// Tax tables and sums of lines are off by a cent or two.
const SLACK: i128 = 30_000;
const CENT: i128 = 10_000;
/// A rate of 100 %, in hundredths of a percent.
const HUNDRED: i128 = 10_000;
/// How many amounts further down the parts of one sum may stand.
const REACH: usize = 4;

/// Values that something proves, in millionths.
pub(super) struct Proofs {
    /// What was handed over less the change.
    paid: Vec<i128>,
    /// What was handed over, or paid by card, where there was no change to give back.
    exact: Vec<i128>,
    /// Subtotal or items, tax, service and rounding.
    sums: Vec<i128>,
    /// A total or subtotal with the printed rounding, which makes a coin of it.
    rounded: Vec<i128>,
    /// The prices above the first sum.
    items: Vec<i128>,
    /// Base and tax in a table of taxes.
    tables: Vec<i128>,
    /// The same of the rows that the page says are about taxes.
    named_tables: Vec<i128>,
    /// The amounts of the page in reading order.
    order: Vec<i128>,
    /// Whether sums may have been rounded to a coin: not where a rounding of nothing is printed.
    has_coins: bool,
    /// What is called a total, and its digits as they are printed.
    called: Vec<(i128, String)>,
    /// What may be a tax, and what may be the sum before it.
    taxes: Vec<i128>,
    bases: Vec<i128>,
    /// The percentages that are printed, in hundredths of one.
    rates: Vec<i128>,
}

impl Proofs {
    pub(super) fn new(page: &Amounts, rules: &LabelRules) -> Self {
        let entries = &page.entries;
        let change = rules.change.map_or(0, i128::abs);
        let items = items(entries);
        let named = entries.iter().filter(|entry| is_called(entry));
        // Where nothing is called a total, the subtotal is it.
        let subtotals = entries.iter().filter(|e| e.label == Some(Label::Subtotal) && rules.totals.is_empty());
        let total_or_sub: Vec<i128> = rules.totals.iter().chain(&rules.subtotals).copied().collect();
        let handed = rules.tendered.iter().chain(&rules.cards).copied();
        let mut proofs = Self {
            paid: rules.tendered.iter().filter(|_| change > 0).map(|tendered| tendered - change).collect(),
            exact: handed.filter(|_| change == 0).collect(),
            sums: sums(rules, &items),
            rounded: rounded(rules, &total_or_sub),
            items,
            tables: tables(page.taxed.iter()),
            named_tables: tables(page.taxed.iter().filter(|taxed| taxed.is_named)),
            order: entries.iter().filter(|entry| entry.read.amount.has_cents()).map(|e| e.read.micros()).collect(),
            has_coins: rules.rounding != Some(0),
            called: named.chain(subtotals).map(|entry| (entry.read.micros(), digits(entry.read.units()))).collect(),
            taxes: named_or_in_table(page, Label::Tax, |taxed| taxed.tax),
            bases: named_or_in_table(page, Label::Subtotal, |taxed| taxed.base),
            rates: rates(page),
        };
        for proven in [&mut proofs.paid, &mut proofs.exact, &mut proofs.sums, &mut proofs.rounded] {
            proven.retain(|value| *value > 0);
        }
        proofs
    }

    /// What is proven without being printed, and how: by two that agree.
    pub(super) fn unprinted(&self, is_printed: impl Fn(i128) -> bool) -> Vec<i128> {
        let exact = self.paid.iter().chain(&self.sums).chain(&self.rounded).copied();
        // A table or the items give the total but for the rounding.
        let rough = self.tables.iter().chain(&self.items).chain(&self.sums);
        let rough = rough.flat_map(|value| [*value, if self.has_coins { to_coin(*value) } else { *value }]);
        let mut values: Vec<i128> =
            exact.chain(rough).filter(|v| *v > 0 && !is_printed(*v) && !is_printed(-*v)).collect();
        values.sort_unstable();
        values.dedup();
        values.retain(|value| self.support(*value) >= 2);
        values
    }

    /// How many prove this value that do not rest on the same numbers.
    pub(super) fn support(&self, value: i128) -> usize {
        let proofs = [
            self.is_paid(value),
            self.is_sum(value) || self.is_rounded(value) || self.is_items(value),
            self.is_table(value),
            self.is_misprinted(value),
            self.is_nearly_handed(value),
        ];
        proofs.into_iter().filter(|holds| *holds).count()
    }

    /// What proves it, in words.
    pub(super) fn say(&self, value: i128) -> Vec<&'static str> {
        let proofs = [
            (self.is_paid(value), "tendered less change"),
            (self.is_sum(value), "the sum of its parts"),
            (self.is_rounded(value), "a total and its rounding"),
            (self.is_items(value), "the sum of the items"),
            (self.is_table(value), "base and tax of the table"),
            (self.is_misprinted(value), "a digit from what is called a total"),
            (self.is_nearly_handed(value), "a digit from what was paid"),
        ];
        proofs.into_iter().filter_map(|(holds, words)| holds.then_some(words)).collect()
    }

    pub(super) fn is_paid(&self, value: i128) -> bool {
        self.paid.contains(&value)
    }

    pub(super) fn is_exact(&self, value: i128) -> bool {
        self.exact.contains(&value)
    }

    pub(super) fn is_sum(&self, value: i128) -> bool {
        contains_nearly(&self.sums, value)
    }

    pub(super) fn is_rounded(&self, value: i128) -> bool {
        self.rounded.contains(&value)
    }

    pub(super) fn is_items(&self, value: i128) -> bool {
        contains_nearly(&self.items, value)
    }

    pub(super) fn is_table(&self, value: i128) -> bool {
        is_made_by(&self.tables, value)
    }

    /// Whether a tax that is printed is what it includes.
    pub(super) fn has_tax_within(&self, value: i128) -> bool {
        self.taxes.iter().any(|tax| self.is_tax_within(*tax, value))
    }

    /// Whether the one is the tax that the other includes, by a rate of the page or one that is usual: OCR may have misread the page's.
    pub(super) fn is_usual_tax_within(&self, tax: i128, value: i128) -> bool {
        self.is_tax_within(tax, value) || USUAL_RATES.iter().any(|rate| fits(tax, value, *rate))
    }

    fn is_tax_within(&self, tax: i128, value: i128) -> bool {
        self.rates.iter().any(|rate| fits(tax, value, *rate))
    }

    /// Whether it is a sum before tax that is printed, and the tax on it by a rate that is printed.
    pub(super) fn is_base_and_rate(&self, value: i128) -> bool {
        let makes = |base: i128, rate: i128| (base * (HUNDRED + rate) - value * HUNDRED).abs() <= CENT * HUNDRED;
        self.bases.iter().any(|base| self.rates.iter().any(|rate| makes(*base, *rate)))
    }

    /// Whether a row of taxes, or all of them, make it, and the page says that they are taxes.
    pub(super) fn is_named_table(&self, value: i128) -> bool {
        is_made_by(&self.named_tables, value)
    }

    /// Whether something that is called a total looks like it, but for a digit.
    pub(super) fn is_misprinted(&self, value: i128) -> bool {
        let own = digits(value / 10_000);
        self.called.iter().any(|(called, printed)| {
            let cut_off = printed.len() >= 3 && own.len() <= printed.len() + 2 && own.starts_with(printed);
            (is_near(printed, &own) || cut_off) && !is_rounding(*called, value)
        })
    }

    /// Whether what was paid without change looks like it, but for a digit.
    fn is_nearly_handed(&self, value: i128) -> bool {
        let own = digits(value / 10_000);
        self.exact.iter().any(|exact| *exact == value || is_near(&digits(exact / 10_000), &own))
    }

    /// Whether it is followed by two amounts whose difference it is, as what was handed over and the change are.
    pub(super) fn is_followed_by_payment(&self, value: i128) -> bool {
        self.windows(value, 0).any(|(_, behind)| {
            pairs(behind).any(|(handed, change)| change > 0 && handed > value && handed - change == value)
        })
    }

    /// Whether it follows two amounts that make it, the second one the smaller, as subtotal and tax are.
    pub(super) fn follows_its_parts(&self, value: i128) -> bool {
        self.windows(value, REACH)
            .any(|(before, _)| pairs(before).any(|(base, tax)| tax > 0 && tax < base && base + tax == value))
    }

    /// Whether it follows a run of amounts that make it.
    pub(super) fn sums_what_is_above(&self, value: i128) -> bool {
        self.order.iter().enumerate().filter(|(_, other)| **other == value).any(|(at, _)| {
            (0..=2).any(|skip: usize| {
                let above = self.order.get(..at.saturating_sub(skip)).unwrap_or_default();
                let mut sum = 0;
                above.iter().rev().take(40).enumerate().any(|(count, price)| {
                    sum += price;
                    count > 0 && sum == value
                })
            })
        })
    }

    /// What stands before and behind each place of the value, within reach.
    fn windows(&self, value: i128, before: usize) -> impl Iterator<Item = (&[i128], &[i128])> {
        let places = self.order.iter().enumerate().filter(move |(_, other)| **other == value);
        places.map(move |(at, _)| {
            let from = at.saturating_sub(before);
            let to = (at + 1 + REACH).min(self.order.len());
            (self.order.get(from..at).unwrap_or_default(), self.order.get(at + 1..to).unwrap_or_default())
        })
    }
}

/// No page has more rates, taxes and sums before tax; each is tried with each.
const MOST_RATES: usize = 8;
const MOST_TAXES: usize = 16;

/// Whether the tax is what the value includes at this rate, to the cent.
fn fits(tax: i128, value: i128, rate: i128) -> bool {
    tax > 0 && (tax * (HUNDRED + rate) - value * rate).abs() * 2 <= CENT * (HUNDRED + rate)
}

/// Rates of taxes on sales, in hundredths of a percent.
const USUAL_RATES: [i128; 16] =
    [500, 600, 700, 800, 900, 1_000, 1_200, 1_500, 1_600, 1_800, 1_900, 2_000, 2_100, 2_200, 2_300, 2_500];

/// The rates that the page names, and those of its table of taxes; where it says nothing, the usual ones.
fn rates(page: &Amounts) -> Vec<i128> {
    let of_table = page.taxed.iter().map(|taxed| (taxed.tax * 100 + taxed.base / 2) / taxed.base.max(1) * 100);
    let mut rates: Vec<i128> = page.rates.iter().copied().chain(of_table).collect();
    rates.sort_unstable();
    rates.dedup();
    rates.truncate(MOST_RATES);
    if rates.is_empty() {
        rates.extend(USUAL_RATES);
    }
    rates
}

/// The amounts of this name, and those in the table of taxes that may be it.
fn named_or_in_table(page: &Amounts, label: Label, of_row: fn(&TaxRow) -> i128) -> Vec<i128> {
    let is_one = |entry: &&LabelledAmount| entry.label == Some(label) || entry.in_tax_table;
    let named = page.entries.iter().filter(is_one).filter(|entry| entry.read.amount.has_cents());
    let named = named.map(|entry| entry.read.micros());
    let in_rows = page.taxed.iter().map(of_row);
    let mut values: Vec<i128> = named.chain(in_rows).filter(|value| *value > 0).collect();
    values.sort_unstable();
    values.dedup();
    // The sums are the largest.
    values.drain(..values.len().saturating_sub(MOST_TAXES));
    values
}

fn is_called(entry: &LabelledAmount) -> bool {
    matches!(entry.label, Some(Label::Total(_))) && !entry.in_tax_table
}

/// The sum of the prices above the first amount that is named as a sum; also without their signs, which are often dashes.
fn items(entries: &[LabelledAmount]) -> Vec<i128> {
    // All that is named but counts and discounts stands below the items.
    let is_sum = |label: Option<Label>| label.is_some_and(|label| label != Label::Other);
    let prices = entries.iter().take_while(|entry| !is_sum(entry.label)).filter(|entry| entry.read.amount.has_cents());
    let values: Vec<i128> = prices.map(|entry| entry.read.micros()).collect();
    let mut sums = vec![values.iter().sum::<i128>(), values.iter().map(|value| value.abs()).sum()];
    sums.retain(|sum| *sum > 0);
    sums.dedup();
    sums
}

/// Subtotal or items with each tax, with and without service and rounding.
fn sums(rules: &LabelRules, items: &[i128]) -> Vec<i128> {
    let bases = rules.subtotals.iter().chain(items).copied().filter(|base| *base > 0);
    let small = |base: i128, part: &i128| *part > 0 && *part * 3 < base;
    let mut sums = Vec::new();
    for base in bases {
        let services: Vec<i128> =
            rules.services.iter().copied().filter(|service| small(base, service)).take(1).chain([0]).collect();
        let taxes = rules.taxes.iter().copied().filter(|tax| small(base, tax)).take(4);
        // Two taxes are printed one below the other where a state and a town, or a union and a state, take their part.
        let all: i128 = taxes.clone().sum();
        for tax in taxes.chain([0, all]) {
            for service in &services {
                if tax + service > 0 {
                    sums.push(with_rounding(base + tax + service, rules.rounding));
                }
            }
        }
    }
    sums
}

/// The sum as it was paid: with the printed rounding, where that makes a coin of it.
fn with_rounding(sum: i128, rounding: Option<i128>) -> i128 {
    let rounded = rounding.filter(|rounding| *rounding != 0).map(|rounding| [sum + rounding, sum - rounding]);
    // Parts that were rounded themselves are off by a cent.
    let is_coin = |value: &i128| (value - to_coin(*value)).abs() <= CENT;
    let find = |wanted: &dyn Fn(&i128) -> bool| rounded.and_then(|both| both.into_iter().find(|value| wanted(value)));
    find(&|value| value % COIN == 0).or_else(|| find(&is_coin)).map_or(sum, to_coin)
}

/// The printed rounding must do what it is for.
fn rounded(rules: &LabelRules, totals: &[i128]) -> Vec<i128> {
    let Some(rounding) = rules.rounding.filter(|rounding| *rounding != 0) else { return Vec::new() };
    let both = totals.iter().filter(|total| *total % COIN != 0).flat_map(|t| [t + rounding, t - rounding]);
    both.filter(|value| value % COIN == 0).collect()
}

/// What the rows of a table of taxes make, each alone and all together.
fn tables<'t>(taxed: impl Iterator<Item = &'t TaxRow>) -> Vec<i128> {
    let mut rows: Vec<i128> = taxed.map(|taxed| taxed.base + taxed.tax).collect();
    rows.dedup();
    if rows.len() > 1 {
        rows.push(rows.iter().sum());
    }
    rows
}

/// But for the cents that a table is off by.
fn is_made_by(tables: &[i128], value: i128) -> bool {
    tables.iter().any(|table| (table - value).abs() <= SLACK)
}

/// Whether the other one is this one, rounded to a coin.
pub(super) fn is_rounding(value: i128, coin: i128) -> bool {
    value % COIN != 0 && coin % COIN == 0 && (value - coin).abs() <= COIN / 2
}

fn to_coin(value: i128) -> i128 {
    (value + COIN / 2) / COIN * COIN
}

/// Exactly, or rounded to a coin.
fn contains_nearly(values: &[i128], value: i128) -> bool {
    values.iter().any(|proven| *proven == value || value % COIN == 0 && (proven - value).abs() < COIN)
}

/// Two of a few amounts, in order.
fn pairs(amounts: &[i128]) -> impl Iterator<Item = (i128, i128)> + '_ {
    amounts
        .iter()
        .enumerate()
        .flat_map(|(at, first)| amounts.get(at + 1..).unwrap_or_default().iter().map(move |second| (*first, *second)))
}

/// As it is printed with cents, without its mark.
pub(super) fn digits(cents: i128) -> String {
    format!("{:03}", cents.abs())
}

/// Whether the two are written with the same digits, but for one that is another, missing or too much; or the same
/// without the mark. Three digits are too few to tell: 4.00 and 8.00 are two prices.
pub(super) fn is_near(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len().abs_diff(b.len()) > 1 || a.len().max(b.len()) < 4 {
        return false;
    }
    let same_start = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let same_end = a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count();
    same_start + same_end + 1 >= a.len().max(b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digit_may_be_another_missing_or_too_much() {
        for (a, b) in [("1250", "1258"), ("250", "1250"), ("1250", "125"), ("10120", "1012")] {
            assert!(is_near(a, b), "{a} {b}");
        }
        for (a, b) in [("1250", "1358"), ("400", "800"), ("1250", "12")] {
            assert!(!is_near(a, b), "{a} {b}");
        }
    }

    #[test]
    fn rounding_goes_to_the_next_coin() {
        assert!(is_rounding(33_920_000, 33_900_000) && is_rounding(12_980_000, 13_000_000));
        assert!(!is_rounding(13_000_000, 13_050_000) && !is_rounding(12_900_000 + 40_000, 12_900_000));
        assert_eq!(with_rounding(33_920_000, Some(20_000)), 33_900_000);
        assert_eq!(with_rounding(33_920_000, Some(70_000)), 33_850_000);
        assert_eq!(with_rounding(33_920_000, None), 33_920_000);
    }
}
