//! The percentages that a page names.

use super::super::rows::Row;

/// The rates of tax that the page names, without repetition.
pub(super) fn of(rows: &[Row]) -> Vec<i128> {
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
        let number = before.rsplit(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | ',')).next()?;
        let (whole, part) = number.split_once(['.', ',']).unwrap_or((number, ""));
        let hundredths: i128 = format!("{part:0<2}").parse().ok().filter(|_| part.len() <= 2)?;
        let whole: i128 = whole.parse().ok().filter(|_| whole.len() <= 2)?;
        Some(whole * 100 + hundredths)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_read_whatever_stands_before_them() {
        for (text, rates) in
            [("GST @6%", vec![600]), ("\u{2013}19%", vec![1900]), ("\u{ff08}7,7 %", vec![770]), ("SR 6.00%", vec![600])]
        {
            assert_eq!(percentages(text).collect::<Vec<_>>(), rates, "{text}");
        }
        assert_eq!(percentages("% 123% 6.005%").count(), 0);
    }
}
