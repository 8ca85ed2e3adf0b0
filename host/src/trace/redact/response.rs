//! Where numbers stand in an OCR response: whole in a line, in pieces in the words of that line, and behind a label of
//! their own in an expense.

use std::collections::HashMap;
use std::ops::Range;

use super::masks::{Masks, has_digits};
use super::numbers::{Number, announces_phone};
use super::strings::{Char, Level, characters, path, walk};

/// A string, and where it is.
struct Text {
    place: Range<usize>,
    path: String,
}

#[derive(Default)]
struct Block {
    id: String,
    is_line: bool,
    text: Option<Text>,
    children: Vec<String>,
}

/// A field of an expense, which has its label apart from its value.
#[derive(Default)]
struct Field {
    is_phone: bool,
    label: Option<Text>,
    value: Option<Text>,
}

#[derive(Default)]
struct Found {
    /// With the place where the block begins, in order.
    blocks: Vec<(usize, Block)>,
    fields: Vec<(usize, Field)>,
    others: Vec<Text>,
}

/// Finds everything that is to be masked. Twice: what was found behind its label is then masked where it has none.
pub(super) fn mask(json: &str, masks: &mut Masks) {
    let found = look(json);
    lines(json, &found, masks);
    expenses(json, &found, masks);
    lines(json, &found, masks);
    let words = found.blocks.iter().filter_map(|(_, block)| block.text.as_ref());
    let values = found.fields.iter().flat_map(|(_, field)| [&field.label, &field.value]).flatten();
    for text in words.chain(values).chain(&found.others).filter(|text| has_digits(json, &text.place)) {
        masks.string(text.place.clone(), || text.path.clone(), false);
    }
}

fn look(json: &str) -> Found {
    let mut found = Found::default();
    walk(json, |levels, place| {
        let value = || json.get(place.clone()).unwrap_or_default().to_owned();
        let text = || Text { place: place.clone(), path: path(levels) };
        let keys: Vec<Option<&str>> = levels.iter().map(|level| level.key).collect();
        match *keys {
            [.., Some("Blocks"), None, Some("Id")] => at(&mut found.blocks, levels, 1).id = value(),
            [.., Some("Blocks"), None, Some("BlockType")] => {
                at(&mut found.blocks, levels, 1).is_line = value() == "LINE";
            }
            [.., Some("Blocks"), None, Some("Text")] => at(&mut found.blocks, levels, 1).text = Some(text()),
            [.., Some("Blocks"), None, Some("Relationships"), None, Some("Ids"), None] => {
                at(&mut found.blocks, levels, 4).children.push(value());
            }
            [.., Some("SummaryFields" | "LineItemExpenseFields"), None, Some("Type"), Some("Text")] => {
                let is_phone = value().contains("PHONE") || value().contains("FAX");
                at(&mut found.fields, levels, 2).is_phone = is_phone;
            }
            [.., Some("SummaryFields" | "LineItemExpenseFields"), None, Some("LabelDetection"), Some("Text")] => {
                at(&mut found.fields, levels, 2).label = Some(text());
            }
            [.., Some("SummaryFields" | "LineItemExpenseFields"), None, Some("ValueDetection"), Some("Text")] => {
                at(&mut found.fields, levels, 2).value = Some(text());
            }
            [.., Some("Id" | "Ids" | "BlockType")] | [.., Some("Ids"), None] => {}
            _ if has_digits(json, &place) => found.others.push(text()),
            _ => {}
        }
    });
    found
}

/// What was found of the object that is so many levels out. Strings come in order: it is the last one, or a new one.
fn at<'a, T: Default>(all: &'a mut Vec<(usize, T)>, levels: &[Level], out: usize) -> &'a mut T {
    let start = levels.len().checked_sub(out).and_then(|place| levels.get(place)).map_or(0, |level| level.start);
    if all.last().is_none_or(|(last, _)| *last != start) {
        all.push((start, T::default()));
    }
    let last = all.len() - 1;
    #[expect(clippy::indexing_slicing, reason = "one was pushed if there was none")]
    &mut all[last].1
}

fn lines(json: &str, found: &Found, masks: &mut Masks) {
    let words: HashMap<&str, &Text> = found
        .blocks
        .iter()
        .filter(|(_, block)| !block.is_line)
        .filter_map(|(_, block)| Some((block.id.as_str(), block.text.as_ref()?)))
        .collect();
    // A line that ends in a label speaks of the next one.
    let mut labelled = false;
    for (_, block) in found.blocks.iter().filter(|(_, block)| block.is_line) {
        let Some(text) = &block.text else { continue };
        let line = characters(json, text.place.clone());
        let numbers = masks.characters(text.place.start, &line, || text.path.clone(), labelled);
        let letters: Vec<char> = line.iter().map(|found| found.c).collect();
        labelled = announces_phone(&letters);
        if !numbers.is_empty() {
            let words = block.children.iter().filter_map(|id| words.get(id.as_str()).copied());
            in_words(json, &letters, &numbers, words, masks);
        }
    }
}

/// Masks in the words what was found in their line.
fn in_words<'a>(
    json: &str,
    line: &[char],
    numbers: &[Number],
    words: impl Iterator<Item = &'a Text>,
    masks: &mut Masks,
) {
    let mut from = 0;
    for text in words {
        let word = characters(json, text.place.clone());
        let Some(start) = position(line, from, &word) else { continue };
        from = start + word.len();
        for number in numbers {
            let first = number.place.start.saturating_sub(start);
            let last = number.place.end.saturating_sub(start).min(word.len());
            if number.place.start < from && first < last {
                masks.number(
                    text.place.start,
                    word.get(first..last).unwrap_or_default(),
                    || text.path.clone(),
                    number.what,
                );
            }
        }
    }
}

fn position(line: &[char], from: usize, word: &[Char]) -> Option<usize> {
    let rest = line.get(from..)?;
    let here = rest.windows(word.len().max(1)).position(|part| part.iter().eq(word.iter().map(|found| &found.c)))?;
    Some(from + here)
}

fn expenses(json: &str, found: &Found, masks: &mut Masks) {
    for (_, field) in &found.fields {
        let label = field.label.as_ref().map(|label| characters(json, label.place.clone())).unwrap_or_default();
        let label: Vec<char> = label.iter().map(|found| found.c).collect();
        if let Some(value) = &field.value {
            let labelled = field.is_phone || announces_phone(&label);
            masks.string(value.place.clone(), || value.path.clone(), labelled);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::super::{Known, Redacted, response, text, value};

    fn word(id: usize, text: &str) -> Value {
        json!({"BlockType": "WORD", "Id": format!("11111111-1111-4111-8111-{id:012}"), "Text": text, "Confidence": 99.5})
    }

    /// A receipt with these lines, as the OCR service shows it.
    fn receipt(lines: &[&str]) -> String {
        let mut blocks = vec![json!({"BlockType": "PAGE", "Id": "p"})];
        let mut words = Vec::new();
        for line in lines {
            let first = words.len();
            words.extend(line.split(' ').enumerate().map(|(n, text)| word(first + n, text)));
            let ids: Vec<&Value> = words[first..].iter().map(|word| &word["Id"]).collect();
            blocks.push(json!({
                "Relationships": [{"Type": "CHILD", "Ids": ids}],
                "Text": line, "BlockType": "LINE", "Id": format!("line {first}"),
            }));
        }
        blocks.append(&mut words);
        serde_json::to_string_pretty(&json!({"Blocks": blocks})).unwrap()
    }

    fn masked(json: &str) -> Redacted {
        response(json, &mut Known::new()).unwrap()
    }

    #[test]
    fn lines_and_their_words_are_masked_and_nothing_else() {
        let before = receipt(&["MY SHOP", "TEL: 03-7805 7889", "4111 1111 1111 1111", "TOTAL 12.50", "7889 x"]);
        let after = receipt(&["MY SHOP", "TEL: 00-0000 0000", "0000 0000 0000 0000", "TOTAL 12.50", "7889 x"]);
        let redacted = masked(&before);
        assert_eq!(redacted.text, after);
        let fields: Vec<(&str, &str)> = redacted.fields.iter().map(|field| (field.path.as_str(), field.what)).collect();
        let (card, phone) = ("card number", "phone number");
        assert_eq!(
            fields,
            [
                ("Blocks[2].Text", phone),
                ("Blocks[3].Text", card),
                ("Blocks[9].Text", phone),
                ("Blocks[10].Text", phone),
                ("Blocks[11].Text", card),
                ("Blocks[12].Text", card),
                ("Blocks[13].Text", card),
                ("Blocks[14].Text", card),
            ]
        );
        assert_eq!(response(&after, &mut Known::new()), None);
    }

    #[test]
    fn a_label_on_the_line_before_and_the_same_number_without_one() {
        let before = receipt(&["+ 03 1234 5678 +", "TEL:", "03-1234 5678", "12345678"]);
        let after = receipt(&["+ 00 0000 0000 +", "TEL:", "00-0000 0000", "12345678"]);
        assert_eq!(masked(&before).text, after);
    }

    #[test]
    fn escapes_and_spaces_stay() {
        let before = "{ \"Text\" :\"\\u0054EL\\u003a \\u0030\\u0033-7805\\t7889 \\u00e9\\n\",\"N\":4111111111111111 }";
        let after = "{ \"Text\" :\"\\u0054EL\\u003a \\u0030\\u0030-0000\\t0000 \\u00e9\\n\",\"N\":4111111111111111 }";
        assert_eq!(masked(before).text, after);
        assert_eq!(masked("no JSON: TEL 03 7805 7889").text, "no JSON: TEL 00 0000 0000");
    }

    #[test]
    fn a_field_of_an_expense_has_its_label_apart() {
        let field = |kind: &str, label: &str, value: &str| json!({"Type": {"Text": kind}, "LabelDetection": {"Text": label}, "ValueDetection": {"Text": value}});
        let document = |one: &str, two: &str, three: &str| {
            let fields =
                [field("VENDOR_PHONE", "", one), field("OTHER", "Phone#", two), field("OTHER", "Invoice", three)];
            let line = json!({"BlockType": "LINE", "Id": "a", "Text": format!("( {one} )")});
            json!({"ExpenseDocuments": [{"SummaryFields": fields, "Blocks": [line]}]}).to_string()
        };
        let redacted = masked(&document("03 1234 5678", "555-123-1234", "87654321"));
        assert_eq!(redacted.text, document("00 0000 0000", "000-000-0000", "87654321"));
        assert_eq!(redacted.fields[0].path, "ExpenseDocuments[0].Blocks[0].Text");
    }

    #[test]
    fn events_are_masked_but_for_names() {
        let known: Known = ["0312345678".to_owned()].into();
        let event = json!({"receipt_id": "4111111111111111", "receipt": {"vendor": {"value": "SHOP 0312345678"}}});
        let redacted = value(&event.to_string(), &known).unwrap();
        assert_eq!(redacted.text, event.to_string().replace("0312345678", "0000000000"));
        assert_eq!(redacted.fields[0].path, "receipt.vendor.value");
        assert_eq!(text("call 4111 1111 1111 1111", &known).unwrap().text, "call 0000 0000 0000 0000");
        assert_eq!(text("attempt 3 of 5", &known), None);
    }

    /// Receipts with random lines: what must go is gone everywhere, what must stay stands, and the text stays JSON of
    /// the same length.
    #[test]
    fn generated_receipts() {
        let mut state = 7_u64;
        let mut below = move |n: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % n
        };
        for _ in 0..300 {
            let phone = format!("0{}-{} {}", below(9) + 1, 1000 + below(9000), 1000 + below(9000));
            let card = with_check_digit(&format!("4{:014}", below(100_000_000_000_000)));
            let card = [&card[..4], &card[4..8], &card[8..12], &card[12..]].join([" ", "-"][below(2) as usize]);
            let date = format!("{:02}/{:02}/20{:02}", below(28) + 1, below(12) + 1, below(30));
            let amount = format!("{}.{:02}", below(10_000), below(100));
            let mut lines = [
                format!("TEL: {phone}"),
                format!("CARD {card}"),
                format!("DATE {date} 12:3{}", below(10)),
                format!("TOTAL RM {amount}"),
            ];
            let shift = below(4) as usize;
            lines.rotate_left(shift);
            let before = receipt(&lines.iter().map(String::as_str).collect::<Vec<_>>());
            let after = masked(&before).text;
            assert_eq!(after.len(), before.len());
            let zeros = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "0");
            let lines = lines.iter().map(|line| line.replace(&phone, &zeros(&phone)).replace(&card, &zeros(&card)));
            let lines: Vec<String> = lines.collect();
            assert_eq!(after, receipt(&lines.iter().map(String::as_str).collect::<Vec<_>>()));
        }
    }

    fn with_check_digit(digits: &str) -> String {
        let sum: u32 = digits
            .bytes()
            .rev()
            .zip([2, 1].into_iter().cycle())
            .map(|(digit, times)| u32::from(digit - b'0') * times)
            .map(|digit| if digit > 9 { digit - 9 } else { digit })
            .sum();
        format!("{digits}{}", (10 - sum % 10) % 10)
    }
}
