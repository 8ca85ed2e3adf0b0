//! Totals without cents beside prices that have them: rounded to whole units where coins are out of use.

use super::super::labels::Label;
use super::labelled_amounts::LabelledAmount;

/// A total without cents is a price where the sum of its parts, rounded to a whole unit, is just that.
pub(super) fn set_firm(entries: &mut [LabelledAmount]) {
    const WHOLE: i128 = 1_000_000;
    let sum = |wanted: fn(Label) -> bool| -> i128 {
        let named =
            entries.iter().filter(|e| e.label.is_some_and(wanted) && !e.in_tax_table && e.read.amount.has_cents());
        named.map(|e| e.read.micros()).sum()
    };
    let is_base = |e: &&LabelledAmount| matches!(e.label, Some(Label::Subtotal | Label::Total(_)));
    let subtotals = entries.iter().filter(is_base).filter(|e| e.read.amount.has_cents());
    let added = sum(|label| matches!(label, Label::Tax | Label::Service));
    let sums: Vec<i128> = subtotals.map(|e| e.read.micros() + added).collect();
    for entry in
        entries.iter_mut().filter(|e| matches!(e.label, Some(Label::Total(_))) && e.read.amount.money.scale == 0)
    {
        let value = entry.read.micros();
        entry.read.amount.firm |= added > 0 && sums.iter().any(|sum| (sum - value).abs() < WHOLE);
    }
}
