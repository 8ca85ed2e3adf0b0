//! OCR artifacts: the bytes that the OCR service sent, unchanged, under a key made from receipt and image version.

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;

use super::unstored::{Answer, Metadata, Unstored};
use super::{classify, classify_write, digest_of};
use crate::failure::{Failure, FailureKind};

/// An artifact is refused beyond this: no OCR response of one page is near it.
const LARGEST_ARTIFACT: usize = 64 * 1024 * 1024;

/// Where the host tries whether it may write; no receipt has this folder.
pub const PROBE: &str = "ocr/.doctor";

/// The metadata of a mark that an artifact was moved aside.
const MOVED_TO: &str = "moved-to";

fn is_moved(metadata: Option<&HashMap<String, String>>) -> bool {
    metadata.is_some_and(|metadata| metadata.contains_key(MOVED_TO))
}

/// The artifact bucket.
#[derive(Debug, Clone)]
pub struct Artifacts {
    client: Client,
    bucket: String,
    unstored: Arc<Unstored>,
}

/// An artifact that is in S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredArtifact {
    /// The object's key in the artifact bucket.
    pub key: String,
}

impl Artifacts {
    /// Artifacts in `bucket`.
    pub fn new(client: Client, bucket: String) -> Self {
        Self { client, bucket, unstored: Arc::default() }
    }

    /// The bucket's name.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Whether a key is one of this receipt's.
    pub fn belongs_to(key: &str, receipt_id: &str) -> bool {
        let folder = key.strip_prefix("ocr/").and_then(|rest| rest.split_once('/')).map(|(folder, _)| folder);
        // Earlier hosts wrote the plain form for every id.
        folder.is_some_and(|folder| folder == segment(receipt_id) || folder == plain(receipt_id))
    }

    /// The key for a receipt's image: the same for every attempt, another one when the image is replaced or another OCR
    /// call is chosen.
    pub fn key(receipt_id: &str, image_digest: &str, api: &str) -> String {
        format!("ocr/{}/{image_digest}.{api}.json", segment(receipt_id))
    }

    /// Stores the bytes, with what is worth knowing about them as metadata. Where that fails they are kept in memory, for they
    /// were paid for: see [`Self::unstored`].
    pub async fn store(&self, key: &str, body: Arc<[u8]>, metadata: Metadata) -> Result<StoredArtifact, Failure> {
        match self.put(key, &body, &metadata).await {
            Ok(()) => {
                self.unstored.stored(key);
                Ok(StoredArtifact { key: key.to_owned() })
            }
            Err(failure) => {
                self.unstored.keep(Answer { key: key.to_owned(), body, metadata });
                Err(failure)
            }
        }
    }

    /// An answer that was paid for and could not be stored.
    pub fn unstored(&self, key: &str) -> Option<Arc<[u8]>> {
        self.unstored.get(key)
    }

    /// Nobody will ask for this receipt's answers: it was given up.
    pub fn forget(&self, receipt_id: &str) {
        self.unstored.forget(&format!("ocr/{}/", segment(receipt_id)));
    }

    /// Fails where an answer that is paid for now could not be stored: after one that could not, something must have been.
    pub async fn check_before_paying(&self) -> Result<(), Failure> {
        if self.unstored.is_in_doubt() {
            self.probe().await?;
            self.unstored.trust();
        }
        Ok(())
    }

    /// Stores next to nothing, as an artifact is stored.
    pub async fn probe(&self) -> Result<(), Failure> {
        let metadata = [("receipt-id", "none".to_owned()), ("component", "none".to_owned())];
        self.put(PROBE, b"{}", &metadata).await
    }

    /// Whether what [`Self::probe`] stored at the start can be read, or is at least said not to be there.
    pub async fn reads_others(&self) -> bool {
        match self.client.get_object().bucket(&self.bucket).key(PROBE).send().await {
            Ok(_) => true,
            Err(error) => classify(&error, &self.what(PROBE)).kind == FailureKind::NotFound,
        }
    }

    /// Stores what waits in memory, each once, before the process ends. Returns how many answers are lost.
    pub async fn flush(&self) -> usize {
        for Answer { key, body, metadata } in self.unstored.all() {
            let _ = self.store(&key, body, metadata).await;
        }
        self.unstored.all().len()
    }

    async fn put(&self, key: &str, body: &[u8], metadata: &[(&'static str, String)]) -> Result<(), Failure> {
        let mut put = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .content_type("application/json")
            .body(ByteStream::from(body.to_vec()));
        for (name, value) in metadata {
            // Metadata travels in headers: ASCII only.
            put = put.metadata(*name, value.chars().filter(char::is_ascii_graphic).collect::<String>());
        }
        put.send().await.map_err(|error| classify_write(&error, &self.what(key)))?;
        Ok(())
    }

    /// Whether the artifact is there.
    pub async fn find(&self, key: &str) -> Result<Option<StoredArtifact>, Failure> {
        match self.client.head_object().bucket(&self.bucket).key(key).send().await {
            // What was moved aside is as if it had never been stored.
            Ok(object) if is_moved(object.metadata()) => Ok(None),
            Ok(_) => Ok(Some(StoredArtifact { key: key.to_owned() })),
            Err(error) => match classify(&error, &self.what(key)) {
                failure if failure.kind == FailureKind::NotFound => Ok(None),
                failure => Err(failure),
            },
        }
    }

    /// Reads an artifact.
    pub async fn read(&self, key: &str) -> Result<Vec<u8>, Failure> {
        let what = self.what(key);
        let object = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(key)
            .send()
            .await
            .map_err(|error| classify(&error, &what))?;
        if is_moved(object.metadata()) {
            return Err(Failure::new(FailureKind::NotFound, "artifact.MovedAside", format!("{what} was moved aside")));
        }
        let announced = object.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        let mut body = Vec::new();
        let mut parts = object.body;
        // What is announced need not be what comes, and not every server announces.
        while announced.max(body.len()) <= LARGEST_ARTIFACT {
            match parts.next().await {
                Some(Ok(part)) => body.extend_from_slice(&part),
                Some(Err(error)) => {
                    return Err(Failure::new(FailureKind::Unavailable, "s3.BrokenBody", format!("{what}: {error}")));
                }
                None => return Ok(body),
            }
        }
        Err(Failure::new(FailureKind::BadResponse, "artifact.TooLarge", format!("{what} is too large")))
    }

    /// Moves an artifact aside, so that OCR is asked again: its bytes are kept under another key, and a mark takes its place
    /// until there is another answer. (To remove it would take a right that a worker has no other use for.) Returns the new
    /// key; none where there is no such artifact.
    pub async fn move_aside(&self, key: &str) -> Result<Option<String>, Failure> {
        if self.find(key).await?.is_none() {
            return Ok(None);
        }
        let bytes = self.read(key).await?;
        let name = key.strip_suffix(".json").unwrap_or(key);
        let aside = format!("{name}.aside-{}.json", digest_of(&bytes).get(..16).unwrap_or_default());
        self.put(&aside, &bytes, &[("moved-from", key.to_owned())]).await?;
        let mark = serde_json::json!({ "MovedTo": aside }).to_string();
        self.put(key, mark.as_bytes(), &[(MOVED_TO, aside.clone())]).await?;
        Ok(Some(aside))
    }

    fn what(&self, key: &str) -> String {
        format!("artifact s3://{}/{key}", self.bucket)
    }
}

/// An app's ids are uuids or numbers; whatever else they are, they are one path segment here, and no two of them the same: the
/// dot is in no plain id.
fn segment(receipt_id: &str) -> String {
    let plain = plain(receipt_id);
    if plain == receipt_id {
        return plain;
    }
    let digest = digest_of(receipt_id.as_bytes());
    format!("{plain}.{}", digest.get(..32).unwrap_or(&digest))
}

fn plain(receipt_id: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
    receipt_id.chars().take(200).map(plain).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn a_key_is_one_segment_a_receipt() {
        let key = Artifacts::key("../x/y z", "abc", "detect");
        assert!(key.starts_with("ocr/___x_y_z.") && key.ends_with("/abc.detect.json"), "{key}");
        assert_eq!(key.split('/').count(), 3, "{key}");
        assert!(Artifacts::belongs_to(&key, "../x/y z"));
        assert!(!Artifacts::belongs_to(&key, "../x/y"));
        assert!(Artifacts::belongs_to("ocr/___x_y_z/abc.detect.json", "../x/y z"));
    }

    #[test]
    fn no_two_receipts_share_a_folder() {
        let long = "x".repeat(300);
        let ids = ["a/b", "a_b", "a b", "a\\b", "a.b", "", "_", "\n", "é", &long, &long[..200], &long[..201]];
        for (at, one) in ids.iter().enumerate() {
            for other in &ids[at + 1..] {
                assert_ne!(segment(one), segment(other), "{one:?} {other:?}");
            }
        }
    }
}
