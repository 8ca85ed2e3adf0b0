//! `sets/kinds.txt`: hand-made receipts of kinds that were once misread, a line each. The file's head says how it is written.

use std::path::Path;

use anyhow::{Context, bail};

use crate::sets::{Line, Receipt};

/// Where the first row stands, how far it is to the next one, and how high print is.
const TOP: f32 = 0.03;
const STEP: f32 = 0.028;
const HEIGHT: f32 = 0.018;
const LEFT: f32 = 0.05;
const WIDTH: f32 = 0.9;
const LETTER: f32 = 0.011;
/// Rows of the top are set in the middle.
const CENTRED: usize = 4;
const CONFIDENCE: f32 = 98.0;

/// All cases of the file.
pub fn load(file: &Path) -> anyhow::Result<Vec<Receipt>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let (mut section, mut top, mut cases) = (String::new(), "", Vec::new());
    for (number, line) in text.lines().enumerate() {
        let said = || format!("{}, line {}", file.display(), number + 1);
        if line.is_empty() || line.starts_with("# ") || line == "#" {
            continue;
        }
        if let Some(title) = line.strip_prefix("## ") {
            (section, top) = (title.to_lowercase().replace(' ', "-"), "");
        } else if let Some(rows) = line.strip_prefix("top = ") {
            top = rows;
        } else if let Some((expected, page)) = line.split_once(" => ") {
            let name = format!("{section}-{}", number + 1);
            let page = if top.is_empty() { page.to_owned() } else { format!("{top} / {page}") };
            cases.push(case(name, expected, &page).with_context(said)?);
        } else {
            bail!("{}: neither a case nor a remark", said());
        }
    }
    Ok(cases)
}

fn case(name: String, expected: &str, page: &str) -> anyhow::Result<Receipt> {
    let mut case = Receipt { name, lines: Some(lines(page)), judged: Some(Vec::new()), ..Receipt::default() };
    for part in expected.split(", ") {
        let (field, value) = part.trim().split_once(' ').with_context(|| format!("{part:?} says no value"))?;
        let or_none = value.strip_suffix(" or none");
        let value = or_none.unwrap_or(value);
        let forms: Vec<String> = value.split(" or ").map(str::to_owned).collect();
        let label = forms.first().filter(|form| *form != "-").cloned();
        match field {
            "vendor" => (case.vendor, case.vendor_accept) = (label.clone(), label.map_or_else(Vec::new, |_| forms)),
            "total" => case.total = label,
            "date" => case.date = label,
            "currency" => case.currency = label,
            "sure" => case.most = Some(value.parse().with_context(|| format!("{value:?} is no number"))?),
            other => bail!("{other:?} is no field"),
        }
        case.judged.get_or_insert_default().push(field.to_owned());
        case.or_null.extend(or_none.map(|_| field.to_owned()));
    }
    Ok(case)
}

/// Rows one below the other; of a row's cells the first stands left and the last right.
fn lines(page: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    for (row, text) in page.split(" / ").enumerate() {
        let cells: Vec<&str> = text.split('|').collect();
        for (column, cell) in cells.iter().enumerate().filter(|(_, cell)| !cell.is_empty()) {
            let wide = (LETTER * cell.chars().count() as f32).min(WIDTH);
            let left = match cells.len() {
                1 if row < CENTRED => LEFT + (WIDTH - wide) / 2.0,
                1 => LEFT,
                count if column + 1 == count => LEFT + WIDTH - wide,
                count => LEFT + column as f32 * WIDTH / count as f32,
            };
            lines.push(Line((*cell).to_owned(), CONFIDENCE, left, TOP + STEP * row as f32, wide, HEIGHT, None));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn a_line_is_a_page() {
        let case = case("a".to_owned(), "total 4.00, vendor -, date 2019-07-12 or none", "Tea / TOTAL|4.00").unwrap();
        assert_eq!((case.total.as_deref(), case.vendor.as_deref()), (Some("4.00"), None));
        assert_eq!(case.or_null, ["date"]);
        let lines = case.lines.unwrap();
        let texts: Vec<&str> = lines.iter().map(|line| line.0.as_str()).collect();
        assert_eq!(texts, ["Tea", "TOTAL", "4.00"]);
        assert!(lines[1].2 < lines[2].2 && lines[1].3 == lines[2].3 && lines[0].3 < lines[1].3);
    }

    #[test]
    fn what_says_nothing_is_refused() {
        for expected in ["total", "price 4.00", "sure much"] {
            assert!(super::case(String::new(), expected, "Tea").is_err(), "{expected}");
        }
    }
}
