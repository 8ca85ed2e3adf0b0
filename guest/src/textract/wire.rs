//! The parts of Textract's responses that we read, by their names there.

use super::loose::{List, Number, Object, Text};
use serde::Deserialize;

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Response {
    pub(super) document_metadata: Object<DocumentMetadata>,
    pub(super) blocks: List<Object<Block>>,
    pub(super) expense_documents: List<Object<ExpenseDocument>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct DocumentMetadata {
    pub(super) pages: Number,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Block {
    pub(super) block_type: Text,
    pub(super) text: Text,
    pub(super) confidence: Number,
    pub(super) page: Number,
    pub(super) geometry: Object<Geometry>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Geometry {
    pub(super) bounding_box: Object<BoundingBox>,
    pub(super) polygon: List<Object<Point>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Point {
    pub(super) x: Number,
    pub(super) y: Number,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct BoundingBox {
    pub(super) left: Number,
    pub(super) top: Number,
    pub(super) width: Number,
    pub(super) height: Number,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ExpenseDocument {
    pub(super) summary_fields: List<Object<SummaryField>>,
    pub(super) blocks: List<Object<Block>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct SummaryField {
    #[serde(rename = "Type")]
    pub(super) kind: Object<Detection>,
    pub(super) label_detection: Object<Detection>,
    pub(super) value_detection: Object<Detection>,
    pub(super) currency: Object<Currency>,
    pub(super) group_properties: List<Object<Group>>,
    pub(super) page_number: Number,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Detection {
    pub(super) text: Text,
    pub(super) confidence: Number,
    pub(super) geometry: Object<Geometry>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Currency {
    pub(super) code: Text,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Group {
    pub(super) types: List<Text>,
}

impl Geometry {
    /// The box, where all four numbers are there and make one.
    pub(super) fn bounds(&self) -> Option<crate::receipt::BoundingBox> {
        let b = &self.bounding_box.0;
        crate::receipt::BoundingBox::new(b.left.0?, b.top.0?, b.width.0?, b.height.0?)
    }

    /// The way the text runs: from the polygon's first corner, where the text begins, to its second.
    pub(super) fn direction(&self) -> Option<[f32; 2]> {
        let points = self.polygon.0.as_ref()?;
        let (first, second) = (&points.first()?.0, &points.get(1)?.0);
        let direction = [second.x.0? - first.x.0?, second.y.0? - first.y.0?];
        let runs = direction.iter().all(|way| way.is_finite()) && direction != [0.0, 0.0];
        runs.then_some(direction)
    }
}
