//! From Tesseract's table of words to Textract's PAGE, LINE and WORD blocks.

use serde::Serialize;
use sha2::{Digest, Sha256};

/// One block of an answer, with the fields that Textract gives it.
#[derive(Serialize, Debug)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Block {
    block_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    confidence: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text_type: Option<&'static str>,
    geometry: Geometry,
    id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    relationships: Vec<Relationship>,
    page: u32,
}

#[derive(Serialize, Debug)]
#[serde(rename_all = "PascalCase")]
struct Geometry {
    bounding_box: BoundingBox,
    polygon: [Point; 4],
}

#[derive(Serialize, Debug)]
#[serde(rename_all = "PascalCase")]
struct BoundingBox {
    width: f32,
    height: f32,
    left: f32,
    top: f32,
}

#[derive(Serialize, Debug)]
#[serde(rename_all = "PascalCase")]
struct Point {
    x: f32,
    y: f32,
}

#[derive(Serialize, Debug)]
#[serde(rename_all = "PascalCase")]
struct Relationship {
    r#type: &'static str,
    ids: Vec<String>,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Error {
    #[error("the document has more than one page")]
    ManyPages,
    #[error("Tesseract printed no page")]
    NoPage,
    #[error("Tesseract printed a line that is not understood: {0:?}")]
    Line(String),
}

/// The blocks of one page, in Textract's order: the page, its lines, their words. Ids follow from the image's digest
/// and the place in this list, so that the same image gives the same bytes.
pub(super) fn from_tsv(tsv: &str, image_digest: &str) -> Result<Vec<Block>, Error> {
    let (page, lines) = read_lines(tsv)?;
    let mut ids = (0u32..).map(|number| block_id(image_digest, number));
    let mut next_id = || ids.next().unwrap_or_default();

    let page_id = next_id();
    let line_ids: Vec<String> = lines.iter().map(|_| next_id()).collect();
    let mut line_blocks = Vec::with_capacity(lines.len());
    let mut word_blocks = Vec::new();
    for (line, line_id) in lines.iter().zip(&line_ids) {
        let word_ids: Vec<String> = line.iter().map(|_| next_id()).collect();
        let text = line.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ");
        // Textract's line is about as sure as its words are on average.
        let confidence = line.iter().map(|word| word.confidence).sum::<f32>() / line.len() as f32;
        line_blocks.push(Block {
            block_type: "LINE",
            confidence: Some(confidence),
            text: Some(text),
            text_type: None,
            geometry: geometry(line.iter().map(|word| word.place).reduce(Place::around).unwrap_or(page), page),
            id: line_id.clone(),
            relationships: children(word_ids.clone()),
            page: 1,
        });
        word_blocks.extend(line.iter().zip(word_ids).map(|(word, id)| Block {
            block_type: "WORD",
            confidence: Some(word.confidence),
            text: Some(word.text.clone()),
            text_type: Some("PRINTED"),
            geometry: geometry(word.place, page),
            id,
            relationships: Vec::new(),
            page: 1,
        }));
    }

    let mut blocks = vec![Block {
        block_type: "PAGE",
        confidence: None,
        text: None,
        text_type: None,
        geometry: geometry(page, page),
        id: page_id,
        relationships: children(line_ids),
        page: 1,
    }];
    blocks.append(&mut line_blocks);
    blocks.append(&mut word_blocks);
    Ok(blocks)
}

struct Word {
    text: String,
    confidence: f32,
    place: Place,
}

/// A box in pixels.
#[derive(Clone, Copy)]
struct Place {
    left: f32,
    top: f32,
    right: f32,
    bottom: f32,
}

impl Place {
    fn around(self, other: Self) -> Self {
        Self {
            left: self.left.min(other.left),
            top: self.top.min(other.top),
            right: self.right.max(other.right),
            bottom: self.bottom.max(other.bottom),
        }
    }
}

/// The page's box, and the words of each line. Lines without a word that can be read are left out, as by Textract.
fn read_lines(tsv: &str) -> Result<(Place, Vec<Vec<Word>>), Error> {
    let mut page = None;
    let mut lines: Vec<Vec<Word>> = Vec::new();
    for row in tsv.lines().skip(1) {
        let row = Row::parse(row).ok_or_else(|| Error::Line(row.to_owned()))?;
        if row.page > 1 {
            return Err(Error::ManyPages);
        }
        match row.level {
            1 => page = Some(row.place),
            4 => lines.push(Vec::new()),
            5 if !row.text.trim().is_empty() => {
                if let Some(line) = lines.last_mut() {
                    line.push(Word {
                        text: row.text.trim().to_owned(),
                        confidence: row.confidence.clamp(0.0, 100.0),
                        place: row.place,
                    });
                }
            }
            _ => {}
        }
    }
    lines.retain(|line| !line.is_empty());
    Ok((page.ok_or(Error::NoPage)?, lines))
}

/// `level page block paragraph line word left top width height confidence text`, separated by tabs. Levels: 1 page,
/// 2 block, 3 paragraph, 4 line, 5 word.
struct Row<'a> {
    level: u32,
    page: u32,
    place: Place,
    confidence: f32,
    text: &'a str,
}

impl<'a> Row<'a> {
    fn parse(row: &'a str) -> Option<Self> {
        let mut cells = row.splitn(12, '\t');
        let level = cells.next()?.parse().ok()?;
        let page = cells.next()?.parse().ok()?;
        let mut cells = cells.skip(4);
        let mut pixels = || cells.next()?.parse::<f32>().ok();
        let (left, top, width, height) = (pixels()?, pixels()?, pixels()?, pixels()?);
        let place = Place { left, top, right: left + width, bottom: top + height };
        Some(Self { level, page, place, confidence: pixels()?, text: cells.next().unwrap_or_default() })
    }
}

fn geometry(place: Place, page: Place) -> Geometry {
    let across = |x: f32| (x / page.right.max(1.0)).clamp(0.0, 1.0);
    let down = |y: f32| (y / page.bottom.max(1.0)).clamp(0.0, 1.0);
    let (left, right) = (across(place.left), across(place.right));
    let (top, bottom) = (down(place.top), down(place.bottom));
    Geometry {
        bounding_box: BoundingBox { width: right - left, height: bottom - top, left, top },
        polygon: [
            Point { x: left, y: top },
            Point { x: right, y: top },
            Point { x: right, y: bottom },
            Point { x: left, y: bottom },
        ],
    }
}

fn children(ids: Vec<String>) -> Vec<Relationship> {
    if ids.is_empty() { Vec::new() } else { vec![Relationship { r#type: "CHILD", ids }] }
}

/// In the form of a UUID, like Textract's.
fn block_id(image_digest: &str, number: u32) -> String {
    let digest = Sha256::new().chain_update(image_digest).chain_update(number.to_be_bytes()).finalize();
    let digits: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let mut id = String::with_capacity(36);
    for (place, digit) in digits.chars().enumerate() {
        if matches!(place, 8 | 12 | 16 | 20) {
            id.push('-');
        }
        id.push(digit);
    }
    id
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    const HEADER: &str =
        "level\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext\n";

    fn blocks(rows: &str) -> Result<serde_json::Value, Error> {
        Ok(serde_json::to_value(from_tsv(&format!("{HEADER}{rows}"), "digest")?).unwrap())
    }

    #[test]
    fn words_become_lines_of_a_page() {
        let blocks = blocks(
            "1\t1\t0\t0\t0\t0\t0\t0\t200\t400\t-1\t\n\
             2\t1\t1\t0\t0\t0\t20\t40\t100\t20\t-1\t\n\
             4\t1\t1\t1\t1\t0\t20\t40\t100\t20\t-1\t\n\
             5\t1\t1\t1\t1\t1\t20\t40\t50\t20\t90\tTOTAL\n\
             5\t1\t1\t1\t1\t2\t80\t44\t40\t16\t80\t9.00\n",
        )
        .unwrap();
        let kinds: Vec<_> =
            blocks.as_array().unwrap().iter().map(|block| block["BlockType"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["PAGE", "LINE", "WORD", "WORD"]);

        let (page, line, total) = (&blocks[0], &blocks[1], &blocks[2]);
        assert_eq!(page["Relationships"][0]["Ids"][0], line["Id"]);
        assert_eq!(line["Relationships"][0]["Type"], "CHILD");
        assert_eq!(line["Relationships"][0]["Ids"][0], total["Id"]);
        assert_eq!(line["Text"], "TOTAL 9.00");
        assert_eq!(line["Confidence"], 85.0);
        assert_eq!(total["TextType"], "PRINTED");
        assert_eq!(page["Geometry"]["BoundingBox"]["Width"], 1.0);
        let bounding = &total["Geometry"]["BoundingBox"];
        let near = |value: &serde_json::Value, wanted: f64| (value.as_f64().unwrap() - wanted).abs() < 1e-6;
        assert!(near(&bounding["Left"], 0.1) && near(&bounding["Top"], 0.1));
        assert!(near(&bounding["Width"], 0.25) && near(&bounding["Height"], 0.05));
        assert!(near(&total["Geometry"]["Polygon"][2]["X"], 0.35));
        assert_eq!(line["Id"].as_str().unwrap().len(), 36);
    }

    #[test]
    fn an_empty_page_is_a_page() {
        let blocks = blocks("1\t1\t0\t0\t0\t0\t0\t0\t200\t400\t-1\t\n").unwrap();
        assert_eq!(blocks.as_array().unwrap().len(), 1);
        assert_eq!(blocks[0].get("Relationships"), None);
    }

    #[test]
    fn words_of_blanks_are_left_out_with_their_line() {
        let blocks = blocks(
            "1\t1\t0\t0\t0\t0\t0\t0\t200\t400\t-1\t\n\
             4\t1\t1\t1\t1\t0\t0\t0\t200\t400\t-1\t\n\
             5\t1\t1\t1\t1\t1\t0\t0\t200\t400\t95\t \n",
        )
        .unwrap();
        assert_eq!(blocks.as_array().unwrap().len(), 1);
    }

    #[test]
    fn a_tab_in_a_word_stays_in_it() {
        let rows = "1\t1\t0\t0\t0\t0\t0\t0\t9\t9\t-1\t\n4\t1\t1\t1\t1\t0\t0\t0\t9\t9\t-1\t\n5\t1\t1\t1\t1\t1\t0\t0\t9\t9\t9\ta\tb\n";
        assert_eq!(blocks(rows).unwrap()[2]["Text"], "a\tb");
    }

    #[test]
    fn what_is_no_page_is_refused() {
        assert_eq!(from_tsv("", "").unwrap_err(), Error::NoPage);
        assert_eq!(blocks("5\tone\t\n").unwrap_err(), Error::Line("5\tone\t".to_owned()));
        let two = "1\t1\t0\t0\t0\t0\t0\t0\t9\t9\t-1\t\n1\t2\t0\t0\t0\t0\t0\t0\t9\t9\t-1\t\n";
        assert_eq!(blocks(two).unwrap_err(), Error::ManyPages);
    }

    #[test]
    fn ids_are_the_same_each_time() {
        assert_eq!(block_id("a", 1), block_id("a", 1));
        assert_ne!(block_id("a", 1), block_id("b", 1));
        assert_ne!(block_id("a", 1), block_id("a", 2));
    }
}
