//! Lines of text → vendor, total, date, currency and confidence.
//!
//! One stage a file: `rows` finds what stands side by side, `amounts` and `dates` read notations, `labels` reads what
//! amounts are called, `header` tells what the lines at the top are, `total` and `vendor` weigh candidates, `currency`
//! looks at the whole document, and `summary` reads what AnalyzeExpense found by itself. A field without a convincing
//! candidate stays empty.

mod american;
mod amounts;
mod asides;
#[doc(hidden)]
pub mod calibration;
mod currency;
mod date_notation;
mod dates;
mod deskew;
mod header;
mod labels;
mod lists;
mod marks;
#[doc(hidden)]
pub mod model;
mod page;
mod page_kind;
mod places;
mod rows;
#[doc(hidden)]
pub mod scorer;
mod side_by_side;
mod summary;
mod total;
mod vendor;
mod words;

use self::deskew::Deskewed;
use self::model::Model;
use self::page::Page;
use self::page_kind::PageKind;
use crate::receipt::{Money, Receipt};
use crate::textract::{self, Document, ReadError};

/// Reads a DetectDocumentText, AnalyzeDocument or AnalyzeExpense response.
pub fn parse(json: &str) -> Result<Receipt, ReadError> {
    textract::read(json).map(|document| read(&document))
}

/// Reads a document that has been taken out of its JSON.
pub fn read(document: &Document) -> Receipt {
    read_with(document, &Model::built_in())
}

/// The same with other weights. No part of the contract.
#[doc(hidden)]
pub fn read_with(document: &Document, model: &Model) -> Receipt {
    let deskewed = Deskewed::new(document);
    let rows = rows::group(&deskewed.lines);
    let texts = document.lines.iter().map(|line| line.text.as_str());
    let summary_texts = document.summary.iter().map(|field| field.text.as_str());
    let context = currency::Context::new(texts.chain(summary_texts));
    let pages: Vec<Page> = rows.chunk_by(|a, b| a.page == b.page).map(Page::new).collect();

    let quality = quality(document);

    // AnalyzeExpense's own reading first; what it left out is read from its text.
    let mut receipt = summary::read(&document.summary, &context);
    receipt.pages = document.pages;
    if summary::are_two_receipts(&document.summary, &context) {
        return Receipt { pages: document.pages, ..Receipt::default() };
    }
    if document.summary.is_empty() && side_by_side::are_two_receipts(&deskewed.lines, &context, model, quality) {
        return receipt;
    }
    // The last page that has a total has the final one; who sold it stands on the first.
    let mut bills = pages.iter().rev().filter(|page| !matches!(page.kind(), PageKind::Statement | PageKind::Form));
    let total = || bills.find_map(|page| total::find(page.amounts(), &context, &model.total, quality));
    receipt.total = receipt.total.or_else(total);
    let has_total = receipt.total.is_some();
    let is_bill = |page: &&Page| page.kind() == PageKind::Bill || has_total && page.kind() == PageKind::Other;
    let first = pages.first().filter(is_bill);
    let vendor = || first.and_then(|page| vendor::find(page.rows, &model.vendor, quality));
    receipt.vendor = receipt.vendor.or_else(vendor);
    // A letter and a form are dated too, but not as receipts.
    let is_bill = receipt.total.is_some() || pages.iter().any(|page| page.kind() == PageKind::Bill);
    let date = || pages.iter().filter(|_| is_bill).find_map(|page| dates::find(page.rows, context.us));
    receipt.date = receipt.date.or_else(date);
    if let Some(total) = &receipt.total {
        let (subtotal, tax) = total::parts(pages.iter().rev().map(Page::amounts), total, &context);
        receipt.subtotal = receipt.subtotal.or(subtotal);
        receipt.tax = receipt.tax.or(tax);
    }
    if let Some(total) = &mut receipt.total {
        if pages.iter().any(|page| page_kind::is_unpaid(page.rows)) {
            total.confidence = total.confidence.min(MOST_UNPAID);
        }
        if is_bare(&total.value) {
            total.confidence = total.confidence.min(MOST_BARE);
        }
    }
    receipt.confidence = confidence(&receipt);
    receipt.replaced(|line, place| deskewed.place(line, place))
}

/// How sure a total may be where the page says that nothing was paid.
const MOST_UNPAID: f32 = 45.0;
/// How sure a whole number may be that nothing says to be money.
const MOST_BARE: f32 = 30.0;

/// A whole number without a currency may be anything.
fn is_bare(money: &Money) -> bool {
    money.scale == 0 && money.currency.is_none()
}

/// What speaks for each amount and each name, for `guest/training`. No part of the contract.
#[doc(hidden)]
pub fn training_features(document: &Document) -> TrainingFeatures {
    let deskewed = Deskewed::new(document);
    let rows = rows::group(&deskewed.lines);
    let pages: Vec<&[rows::Row]> = rows.chunk_by(|a, b| a.page == b.page).collect();
    let amounts = pages.last().map(|page| total::training_features(page)).unwrap_or_default();
    let names = pages.first().map(|page| vendor::training_features(page)).unwrap_or_default();
    TrainingFeatures { amounts, names, quality: quality(document) }
}

/// Candidates, each with the numbers that are weighed and OCR's confidence in it.
#[doc(hidden)]
pub struct TrainingFeatures {
    pub amounts: Vec<(String, Vec<f32>, f32)>,
    pub names: Vec<(String, Vec<f32>, f32)>,
    /// OCR's confidence on average.
    pub quality: f32,
}

/// OCR's confidence in a line, on average.
fn quality(document: &Document) -> f32 {
    let all: f32 = document.lines.iter().map(|line| line.confidence).sum();
    all / document.lines.len().max(1) as f32
}

/// How sure the whole reading is: how often vendor and total are both right. One alone says little, and a date adds nothing.
fn confidence(receipt: &Receipt) -> f32 {
    let sure = match (&receipt.vendor, &receipt.total) {
        (Some(vendor), Some(total)) => vendor.confidence * total.confidence / 100.0,
        (None, Some(total)) => 0.2 * total.confidence,
        (Some(vendor), None) => 0.1 * vendor.confidence,
        (None, None) => 0.0,
    };
    sure.clamp(0.0, 100.0)
}
