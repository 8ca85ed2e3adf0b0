//! The parts of Textract's responses that we read, by their names there.

use super::lenient::{self, Lenient, List, Number, Object, Text};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// Which blocks are read. Those of single words are three quarters of a response, and for nothing where there are lines.
pub(super) trait Wanted: Default {
    /// Whether words are read, too.
    const WORDS: bool;
}

#[derive(Default)]
pub(super) struct Lines;

#[derive(Default)]
pub(super) struct LinesAndWords;

impl Wanted for Lines {
    const WORDS: bool = false;
}

impl Wanted for LinesAndWords {
    const WORDS: bool = true;
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default, bound = "")]
pub(super) struct Response<W: Wanted> {
    pub(super) document_metadata: Object<DocumentMetadata>,
    pub(super) blocks: List<Object<Block<W>>>,
    pub(super) expense_documents: List<Object<ExpenseDocument<W>>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct DocumentMetadata {
    pub(super) pages: Number,
}

/// What a block is, where it says so before anything else, decides whether the rest of it is read.
#[derive(Default)]
pub(super) struct Block<W: Wanted> {
    pub(super) block_type: BlockType,
    pub(super) text: Text,
    pub(super) confidence: Number,
    pub(super) page: Number,
    pub(super) geometry: Object<Geometry>,
    wanted: PhantomData<W>,
}

/// The kinds of blocks that matter here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum BlockType {
    Page,
    Line,
    Word,
    #[default]
    Other,
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
#[serde(rename_all = "PascalCase", default, bound = "")]
pub(super) struct ExpenseDocument<W: Wanted> {
    pub(super) expense_index: Number,
    pub(super) summary_fields: List<Object<SummaryField>>,
    pub(super) blocks: List<Object<Block<W>>>,
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

impl Lenient<'_> for BlockType {
    fn from_text(text: &str) -> Self {
        match text {
            "PAGE" => Self::Page,
            "LINE" => Self::Line,
            "WORD" => Self::Word,
            _ => Self::Other,
        }
    }
}

impl<'de> Deserialize<'de> for BlockType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        lenient::deserialize(deserializer)
    }
}

impl<'de, W: Wanted> Deserialize<'de> for Block<W> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const MEMBERS: &[&str] = &["BlockType", "Text", "Confidence", "Page", "Geometry"];
        deserializer.deserialize_struct("Block", MEMBERS, Members(PhantomData))
    }
}

#[derive(Deserialize)]
#[serde(field_identifier)]
enum Member {
    BlockType,
    Text,
    Confidence,
    Page,
    Geometry,
    #[serde(other)]
    Other,
}

struct Members<W>(PhantomData<W>);

impl<'de, W: Wanted> Visitor<'de> for Members<W> {
    type Value = Block<W>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a block")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Block<W>, A::Error> {
        let mut block = Block::default();
        while let Some(member) = members.next_key()? {
            match member {
                Member::BlockType => {
                    block.block_type = members.next_value()?;
                    if block.block_type == BlockType::Other || block.block_type == BlockType::Word && !W::WORDS {
                        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                        break;
                    }
                }
                Member::Text => block.text = members.next_value()?,
                Member::Confidence => block.confidence = members.next_value()?,
                Member::Page => block.page = members.next_value()?,
                Member::Geometry => block.geometry = members.next_value()?,
                Member::Other => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(block)
    }
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
