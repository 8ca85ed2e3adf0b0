//! Textract's responses (DetectDocumentText, AnalyzeDocument, AnalyzeExpense, and the results of their Start… forms) as
//! lines of text and summary fields. Tolerant: what is missing, null, unknown or of another type is left out.

mod lenient;
mod wire;

use self::wire::{BlockType, Wanted};
use crate::receipt::{BoundingBox, Place};
use serde::de::IgnoredAny;
use std::collections::BTreeMap;
use std::fmt;

/// A response, reduced to what can be read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    /// Pages in the response.
    pub pages: u32,
    /// The lines of text, in the response's order.
    pub lines: Vec<Line>,
    /// The way each line's text runs, in page widths and heights, where the response says so.
    pub directions: Vec<Option<[f32; 2]>>,
    /// AnalyzeExpense's own reading; empty for the other calls.
    pub summary: Vec<SummaryField>,
}

/// A line of text on a page.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Which of the document's lines it is, from 0.
    pub number: u32,
    /// The text, trimmed, without control characters, never empty.
    pub text: String,
    /// How sure the OCR is of it, 0 to 100.
    pub confidence: f32,
    /// Page number, from 1.
    pub page: u32,
    /// Where it is, where that is known.
    pub bounds: Option<BoundingBox>,
}

/// One of AnalyzeExpense's summary fields.
#[derive(Clone, Debug, PartialEq)]
pub struct SummaryField {
    /// Textract's name of the field, e.g. `VENDOR_NAME`.
    pub kind: String,
    /// The text that labels it on the page, or nothing.
    pub label: String,
    /// The value's text, trimmed, never empty.
    pub text: String,
    /// How sure Textract is of both field and text, 0 to 100.
    pub confidence: f32,
    /// Textract's currency code, or nothing.
    pub currency: String,
    /// Whether Textract says that it is about the vendor (rather than the receiver).
    pub of_vendor: bool,
    /// Where it is, where that is known.
    pub place: Option<Place>,
    /// Its page, from 1.
    pub page: u32,
    /// Which of the receipts that Textract told apart it belongs to.
    pub expense: u32,
}

/// Why a response could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// Not JSON; where and what.
    NotJson(String),
    /// JSON, but no Textract response; what was there instead.
    NotTextract(String),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson(why) => write!(f, "not JSON: {why}"),
            Self::NotTextract(what) => write!(f, "no Textract response: {what}"),
        }
    }
}

impl std::error::Error for ReadError {}

/// Reads one response, or an array of them (a Get… call's pages as people save them).
pub fn read(json: &str) -> Result<Document, ReadError> {
    // Files saved on Windows start with a byte order mark.
    let json = json.trim_start_matches('\u{feff}');
    match document(responses::<wire::Lines>(json)?) {
        Ok(document) => Ok(document),
        Err(WordsNeeded) => Ok(document(responses::<wire::LinesAndWords>(json)?).unwrap_or_default()),
    }
}

/// There are words without lines, and words were not read.
struct WordsNeeded;

fn responses<W: Wanted>(json: &str) -> Result<Vec<wire::Response<W>>, ReadError> {
    let responses: Vec<lenient::Object<wire::Response<W>>> = if json.trim_start().starts_with('[') {
        serde_json::from_str(json)
    } else {
        serde_json::from_str(json).map(|one| vec![one])
    }
    .map_err(|error| ReadError::NotJson(error.to_string()))?;

    let is_textract = |r: &wire::Response<W>| r.blocks.0.is_some() || r.expense_documents.0.is_some();
    if !responses.iter().any(|response| is_textract(&response.0)) {
        return Err(ReadError::NotTextract(outline(json)));
    }
    Ok(responses.into_iter().map(|response| response.0).collect())
}

fn document<W: Wanted>(responses: Vec<wire::Response<W>>) -> Result<Document, WordsNeeded> {
    let mut document = Document::default();
    for response in responses {
        document.add(response)?;
    }
    Ok(document)
}

/// Says in a few words what a JSON text is.
fn outline(json: &str) -> String {
    let Ok(object) = serde_json::from_str::<BTreeMap<String, IgnoredAny>>(json) else {
        return "neither an object nor an array of objects".to_owned();
    };
    if object.is_empty() {
        return "an empty object".to_owned();
    }
    let names: Vec<String> = object.keys().take(8).map(|name| clean(name).chars().take(40).collect()).collect();
    let more = if object.len() > names.len() { ", …" } else { "" };
    format!("an object with {}{more}", names.join(", "))
}

impl Document {
    fn add<W: Wanted>(&mut self, response: wire::Response<W>) -> Result<(), WordsNeeded> {
        // As a float: a page count of 1e30 saturates rather than wraps.
        let declared = response.document_metadata.0.pages.0.unwrap_or(0.0) as u32;
        let expenses = response.expense_documents.0.unwrap_or_default();
        let expense_blocks = expenses.iter().any(|e| e.0.blocks.0.as_ref().is_some_and(|b| !b.is_empty()));
        for (at, expense) in expenses.into_iter().enumerate() {
            let number = expense.0.expense_index.0.map_or(at as u32 + 1, |number| number as u32);
            self.add_blocks(expense.0.blocks.0.unwrap_or_default())?;
            let fields = expense.0.summary_fields.0.unwrap_or_default();
            self.summary.extend(fields.into_iter().filter_map(|f| summary_field(f.0, number)));
        }
        // Saved AnalyzeExpense results carry the same blocks again at the top.
        if !expense_blocks {
            self.add_blocks(response.blocks.0.unwrap_or_default())?;
        }
        self.pages = self.pages.max(declared.min(MAX_PAGES));
        Ok(())
    }

    fn add_blocks<W: Wanted>(&mut self, blocks: Vec<lenient::Object<wire::Block<W>>>) -> Result<(), WordsNeeded> {
        let has = |wanted: BlockType| blocks.iter().any(|block| block.0.block_type == wanted);
        // A response without lines may still have words; they make lines by where they stand.
        let wanted = if has(BlockType::Line) { BlockType::Line } else { BlockType::Word };
        if wanted == BlockType::Word && !W::WORDS && has(BlockType::Word) {
            return Err(WordsNeeded);
        }
        let mut page_blocks = 0;
        for block in blocks {
            let block = block.0;
            if block.block_type == BlockType::Page {
                page_blocks += 1;
            }
            // Synchronous calls leave the number out; their blocks follow their page.
            let page = block.page.0.map_or(page_blocks, |page| page as u32).clamp(1, MAX_PAGES);
            if block.block_type == BlockType::Page || block.block_type == wanted {
                self.pages = self.pages.max(page);
            }
            if block.block_type != wanted {
                continue;
            }
            let mut text = clean(block.text.0.as_deref().unwrap_or_default());
            text.truncate(text.floor_char_boundary(LONGEST_LINE));
            if !text.is_empty() {
                self.directions.push(block.geometry.0.direction());
                self.lines.push(Line {
                    number: self.lines.len() as u32,
                    text,
                    confidence: percent(block.confidence.0),
                    page,
                    bounds: block.geometry.0.bounds(),
                });
            }
        }
        Ok(())
    }
}

/// Bytes of a line. None on paper is as long; what is, is cut.
const LONGEST_LINE: usize = 1_000;
/// Textract takes 3,000 pages; a number above is a mistake.
const MAX_PAGES: u32 = 3_000;

fn summary_field(field: wire::SummaryField, expense: u32) -> Option<SummaryField> {
    let value = field.value_detection.0;
    let text = clean(value.text.0.as_deref().unwrap_or_default());
    if text.is_empty() {
        return None;
    }
    let page = field.page_number.0.map_or(1, |page| page as u32).clamp(1, MAX_PAGES);
    let groups = field.group_properties.0.unwrap_or_default();
    let about = |group: &wire::Group| {
        let types = group.types.0.iter().flatten();
        types.filter_map(|t| t.0.as_deref()).any(|t| t.starts_with("VENDOR"))
    };
    Some(SummaryField {
        label: clean(field.label_detection.0.text.0.as_deref().unwrap_or_default()),
        confidence: percent(value.confidence.0).min(field.kind.0.confidence.0.map_or(100.0, |c| percent(Some(c)))),
        kind: field.kind.0.text.0?,
        text,
        currency: field.currency.0.code.0.unwrap_or_default(),
        of_vendor: groups.iter().any(|group| about(&group.0)),
        place: value.geometry.0.bounds().map(|bounds| Place { page, bounds }),
        page,
        expense,
    })
}

/// A confidence as a percentage; one that is not there is 0, for nothing vouches for the text.
fn percent(confidence: Option<f32>) -> f32 {
    confidence.unwrap_or(0.0).clamp(0.0, 100.0)
}

/// The text on one line: control characters (a database refuses NUL) and white space become single spaces.
fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split(|c: char| c.is_control() || c.is_whitespace() || is_invisible(c)) {
        if word.is_empty() {
            continue;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

/// Marks that have no width: they would make two equal texts differ.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests;
