//! What a component holds of the world: handles, and what it, and a trace, can know of each.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ocr::OcrApi;
use crate::queue::Job;
use crate::storage::Image;

/// What a component can know of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobInfo {
    /// The handle's number.
    pub job: u32,
    /// The queue row's id.
    pub id: u64,
    /// The receipt's id.
    pub receipt_id: String,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// How many it may have.
    pub max_attempts: u32,
    /// Random bits for this claim.
    pub seed: u64,
    /// Whether an earlier attempt may have stored an artifact.
    pub has_artifact: bool,
}

/// What a component can know of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageInfo {
    /// The handle's number.
    pub image: u32,
    /// Bytes.
    pub size: u64,
    /// Media type.
    pub content_type: String,
    /// SHA-256.
    pub digest: String,
}

/// What a component can know of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactInfo {
    /// The handle's number.
    pub artifact: u32,
    /// Its key in the artifact bucket.
    pub key: String,
}

/// An OCR response as a trace has it: the text is beside the trace, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextInfo {
    /// SHA-256 of the text.
    pub response: String,
    /// Bytes.
    pub bytes: u64,
}

/// A job in the component's hands.
#[derive(Debug)]
pub struct JobHandle {
    pub(super) info: JobInfo,
    /// None where an oracle answers.
    pub(super) job: Option<Job>,
}

/// An image in the component's hands.
#[derive(Debug, Clone)]
pub struct ImageHandle {
    pub(super) info: ImageInfo,
    /// None where an oracle answers.
    pub(super) held: Option<Arc<Image>>,
}

/// An OCR answer in the component's hands.
#[derive(Debug)]
pub struct ResponseHandle {
    pub(super) number: u32,
    /// None where an oracle answers.
    pub(super) held: Option<HeldResponse>,
}

/// An OCR answer that the host holds.
#[derive(Debug, Clone)]
pub(super) struct HeldResponse {
    pub(super) body: Arc<[u8]>,
    pub(super) image: Arc<Image>,
    pub(super) api: OcrApi,
}
