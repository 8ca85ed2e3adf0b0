//! Which amount was paid: by its label, its place, and whether the sums agree.

mod arithmetic;
mod features;
mod label_rules;
mod labelled_amounts;
mod parts;
mod rates;
mod trees;
mod weights;
mod whole_totals;

pub(super) use self::labelled_amounts::Amounts;
pub(super) use self::trees::TREES;
pub(super) use self::weights::WEIGHTS;

use self::arithmetic::Proofs;
use self::features::Candidate;
use self::label_rules::LabelRules;
use self::labelled_amounts::ReadAmount;
use super::currency::Context;
use super::rows::Row;
use super::scorer::Scorer;
use crate::receipt::{Field, Money};

/// Finds the total of one page. `quality`: OCR's confidence on average.
pub(super) fn find(page: &Amounts, context: &Context, scorer: &Scorer, quality: f32) -> Option<Field<Money>> {
    let field = |read: &ReadAmount, share: f32, rule: String| Field {
        confidence: scorer.calibration.confidence(share, read.confidence, quality),
        ..read.field(share, rule, context)
    };
    let rules = LabelRules::new(&page.entries);
    // Without an amount that is named as one, there is a total where something is named that belongs to it.
    let is_named = page.entries.iter().any(|entry| rules.judge(entry).is_some());
    let unlabelled = if is_named { None } else { rules.unlabelled(&page.entries) };
    let proofs = Proofs::new(page, &rules);
    let candidates = features::of(page, &rules, &proofs);
    let scores: Vec<f32> = candidates.iter().map(|candidate| scorer.score(&candidate.features)).collect();
    let best =
        (0..scores.len()).reduce(|best, next| if at(&scores, next) > at(&scores, best) { next } else { best })?;
    let highest = at(&scores, best);
    let all: f32 = scores.iter().map(|score| (score - highest).exp()).sum();
    let found = candidates.get(best)?;
    let value = found.read.micros();
    // What is weighed may be a name that OCR could not read; what is known by its name alone is less sure.
    if let Some((read, share, rule)) = unlabelled
        && proofs.support(value) == 0
    {
        return Some(field(read, share, rule.to_owned()));
    }
    if !is_named && unlabelled.is_none() {
        let rule = without_name(page, &proofs, value)?;
        return (1.0 / all >= 0.5).then(|| field(&found.read, 0.5 / all, rule));
    }
    let rule = if found.is_printed {
        rules.say(&page.entries, value)
    } else {
        format!("not printed legibly; {}", proofs.say(value).join("; "))
    };
    let most = unlabelled.map_or(1.0, |(_, share, _)| share);
    Some(field(&found.read, most / all, rule))
}

/// Reads the amounts of a page.
pub(super) fn amounts(rows: &[Row]) -> Amounts {
    let mut page = labelled_amounts::read(rows);
    whole_totals::set_firm(&mut page.entries);
    page
}

/// Why this is the total where nothing legible is named a total or a payment; none where it would be a guess.
fn without_name(page: &Amounts, proofs: &Proofs, value: i128) -> Option<String> {
    let in_table = proofs.is_named_table(value);
    let is_proven = in_table && proofs.support(value) > 1 || page.has_lost_total && (in_table || proofs.is_sum(value));
    if is_proven {
        return Some(format!("no total is legible; {}", proofs.say(value).join("; ")));
    }
    let is_only = page.has_lost_total && page.only == Some(value);
    is_only.then(|| "the price of the only item, beside a total that is not legible".to_owned())
}

/// Subtotal and tax, from the page that shows this total: the last of them.
pub(super) fn parts<'a>(
    mut pages: impl Iterator<Item = &'a Amounts>,
    total: &Field<Money>,
    context: &Context,
) -> (Option<Field<Money>>, Option<Field<Money>>) {
    let value = total.value.micros();
    let named = pages.find(|page| page.entries.iter().any(|entry| entry.read.micros() == value));
    named.map_or((None, None), |page| parts::find(&page.entries, value, context))
}

/// What speaks for each amount of a page, for training: the amount, the numbers that are weighed, OCR's confidence.
pub(super) fn training_features(rows: &[Row]) -> Vec<(String, Vec<f32>, f32)> {
    let page = amounts(rows);
    let rules = LabelRules::new(&page.entries);
    let candidates = features::of(&page, &rules, &Proofs::new(&page, &rules));
    let evidence =
        |found: &Candidate| (found.read.amount.money.to_string(), found.features.to_vec(), found.read.confidence);
    candidates.iter().map(evidence).collect()
}

fn at(scores: &[f32], index: usize) -> f32 {
    scores.get(index).copied().unwrap_or(f32::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser::model::Model;
    use crate::parser::rows;
    use crate::textract::Line;

    /// One line a text; the part behind `|` stands to the right on the same row.
    fn total(texts: &[&str]) -> Option<String> {
        field(texts).map(|field| field.value.to_string())
    }

    fn field(texts: &[&str]) -> Option<Field<Money>> {
        let mut lines = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            for (column, cell) in text.split('|').enumerate() {
                lines.push(Line {
                    number: lines.len() as u32,
                    text: cell.trim().to_owned(),
                    confidence: 99.0,
                    page: 1,
                    bounds: crate::receipt::BoundingBox::new(0.1 + 0.5 * column as f32, 0.04 * index as f32, 0.3, 0.02),
                });
            }
        }
        find(
            &amounts(&rows::group(&lines)),
            &Context::new(lines.iter().map(|line| line.text.as_str())),
            &Model::built_in().total,
            99.0,
        )
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
    fn totals_of_other_countries() {
        is(&["Pho|62 500", "Tra|18 000", "TOTAL|80 500"], "80500");
        is(&["Nasi|31.000", "Total Item: 3", "Total|148.320"], "148320");
        is(&["Dal|2,53,365.00", "Round Off|0.40", "Grand Total Rs.|2,53,365.40"], "253365.40");
        is(&["Soup|R143.60", "TOTAL|R143.60"], "143.60");
        is(&["Items: 2|TOTAL|5.75"], "5.75");
        is(&["VAT No 881 2204|TOTAL|5.75"], "5.75");
        is(&["Tea|9,000", "Rice|9,000", "TOTAL (Qty 3.00)|18,000"], "18000");
        is(&["VALOR TOTAL R$|28,00", "DESCONTO R$|2,00", "VALOR A PAGAR R$|26,00"], "26.00");
        is(&["TAX CODE 4401 88", "Tea|5.75", "TOTAL|5.75"], "5.75");
        is(&["Pie|4.50", "Tea|2.00", "YOU PAY|6.50"], "6.50");
        is(&["Pivo|45,00", "CELKEM|45,00"], "45.00");
        is(&["TOTAL|14,630", "AJUSTE|-30", "VALOR PAGADO|14,600"], "14600");
        is(&["GALLONS|FUEL TOTAL", "8.114|$27.26"], "27.26");
    }

    #[test]
    fn the_sum_below_a_subtotal_is_the_total() {
        is(&["Pie|41.20", "Subtotal|41.20", "Tax|3.09", "|44.29"], "44.29");
    }

    #[test]
    fn a_european_total() {
        is(&["Zwischensumme|10,00", "MwSt 19%|1,90", "SUMME EUR|11,90", "Bar|20,00", "Rückgeld|8,10"], "11.90");
    }

    /// A redacted trace has to replay.
    #[test]
    fn the_number_of_a_card_weighs_nothing() {
        let with = |card: &str| field(&["Tea|4.00", "TOTAL|4.00", card]).unwrap();
        assert_eq!(with("VISA 4111 1111 1111 1111"), with("VISA ####"));
    }

    #[test]
    fn the_tax_in_a_total_is_not_the_total() {
        is(&["Tea|18.10", "QTY 8|18.10", "DUE|18.10", "PAY|18.10", "(TOTAL INCLUDED GST @ 6% :|1.02)"], "18.10");
        is(&["Rice|60.30", "TAKEOUT TOTAL (INCL GST)|60.30", "CHANGE|0.00", "TOTAL INCLUDES 6% GST|3.41"], "60.30");
    }

    #[test]
    fn a_misread_total_is_known_by_what_repeats() {
        is(&["Tea|16.40", "SUBTOTAL|16.40", "TOTAL|16.48", "CASH|20.00", "CHANGE|3.60"], "16.40");
    }

    #[test]
    fn a_damaged_amount_is_mended() {
        is(&["NOODLE|8.00", "TEA|2.50", "T0TAL|1O.5O", "CASH|20.00", "CHANGE|9.50"], "10.50");
        is(&["Tea|RM 2.50", "Rice|RM 9.80", "TOTAL|RM l2.30"], "12.30");
        is(&["Tea|98.35", "TOTAL|98 35", "CASH|100.00", "CHANGE|1.65"], "98.35");
    }

    #[test]
    fn two_sums_that_agree_tell_an_illegible_total() {
        let texts =
            ["Tea|25.00", "Rice|27.00", "SUBTOTAL|52.00", "GST|3.12", "TOTAL|38.12", "CASH|60.00", "CHANGE|4.88"];
        is(&texts, "55.12");
        let field = field(&texts).unwrap();
        assert!(field.why.rule.starts_with("not printed legibly; tendered less change"), "{}", field.why.rule);
        is(&["NOODLE|5.00", "DUCK|7.50", "TOTAL|1250", "CASH|20.00", "CHANGE|7.50"], "12.50");
    }

    #[test]
    fn nothing_is_made_up_of_one_sum_or_beside_a_total_that_agrees() {
        is(&["Tea|4.00", "Rice|9.00", "TOTAL|27.50"], "27.50");
        is(&["Tea|12.37", "TOTAL|12.37", "CASH|12.37"], "12.37");
        is(&["Socks|6.35-", "TOTAL|6.35-", "CASH|6.35-"], "-6.35");
    }

    #[test]
    fn the_tax_tells_which_of_two_totals_was_misread() {
        is(&["Rice|7.10", "Total Amount|7.40", "GST @6%|0.40", "Nett Total|7.10"], "7.10");
        let texts = ["Rice|16.98", "SUB-TOTAL|16.98", "TOTAL|48.00", "CASH|18.00", "CHANGE|0.00"];
        is(&[texts.as_slice(), &["GST SUMMARY|AMOUNT|TAX", "SR 6%|16.98|1.02"]].concat(), "18.00");
    }

    #[test]
    fn beside_a_lost_total_only_what_tells_it_is_taken() {
        is(&["2 x Shirts 7,395.09", "Total RM|??", "GST SUMMARY", "SR 6|7,395.09|443.71|7,838.80"], "7838.80");
        is(&["Tea|1|12.00|12.00", "Total Inclusive GST|??", "Cash|??"], "12.00");
        is(&["Tea|1|12.00|12.00", "Items: 1", "TOTAL|??"], "12.00");
        let one = "Tea|1|12.00|12.00";
        for texts in [
            ["Rice|1|9.00|9.00", "Total Payable|??"],
            ["GST 6%|0.72", "Total Payable|??"],
            ["GST 6%|??", "Total Payable|??"],
            ["Discount 10%", "Total Payable|??"],
            ["Promo|-2.00", "Total Payable|??"],
            ["Service Charge 10%|?", "Total Payable|??"],
            ["Thank you", "Come again"],
            ["Total satisfaction guaranteed or your money back", "Come again"],
            ["Please pay at the counter", "Come again"],
        ] {
            let texts = [&[one], texts.as_slice()].concat();
            assert_eq!(total(&texts), None, "{texts:?}");
        }
        assert_eq!(total(&["Tea|12.00", "Thank you", "Total Payable|??"]), None);
    }

    #[test]
    fn a_page_that_names_no_total_has_none() {
        assert_eq!(total(&["Tea|10.00|2.00|12.00"]), None);
        assert_eq!(total(&["Net Tax Gross", "Tea|10.00|0.60|10.60", "Rice|200.00|12.00|212.00"]), None);
        assert_eq!(total(&["Tea|10.00|0.60", "Rice|4.00", "Bun|10.60"]), None);
    }

    #[test]
    fn an_exclamation_mark_may_be_a_letter_or_a_rule() {
        is(&["Tea|4.00", "JOTA!|4.00"], "4.00");
        is(&["Tea|4.00", "CASH!|4.00"], "4.00");
        is(&["Tea|7.00", "! CASH !|10.00", "! CHANGE !|3.00"], "7.00");
    }

    /// Many rates, taxes and amounts: each is not tried with each.
    #[test]
    fn a_page_full_of_rates_is_no_work() {
        let mut texts = vec!["GST SUMMARY".to_owned()];
        texts.extend((0..20).map(|row| (1..80).map(|n| format!("{}.{:02}% ", 1 + row, n)).collect()));
        texts.extend((0..570).map(|row| format!("SR|{}.{:02}|{}.06", 100 + row, row % 100, row)));
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        assert_eq!(total(&texts), None);
    }

    #[test]
    fn without_a_label_the_sums_tell() {
        is(&["Tea|4.00", "CASH|10.00", "CHANGE|6.00"], "4.00");
        is(&["Tea|4.00", "VISA|4.00"], "4.00");
        is(&["Tea|26.00", "Cake|13.00", "Grd Ttal|??", "CASH|50.00", "CHANGE|11.00"], "39.00");
        assert_eq!(total(&["Tea|4.00", "Rice|9.00"]), None);
        assert_eq!(total(&["Page 2"]), None);
        assert_eq!(total(&["Beginning balance|1,200.00", "Card payment|-35.20", "Ending balance|1,164.80"]), None);
    }
}
