//! The document of a request: where it comes from, and whether Textract would take it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Bytes;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::refusal::Refusal;

/// The largest image that a request may carry.
pub const MAX_INLINE_BYTES: usize = 5 * 1024 * 1024;
/// The largest image that a request may name in S3.
pub const MAX_S3_BYTES: usize = 10 * 1024 * 1024;

/// As it stands in the request.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Document {
    bytes: Option<String>,
    s3_object: Option<S3Object>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct S3Object {
    bucket: Option<String>,
    name: Option<String>,
    version: Option<String>,
}

/// A document that can be read.
pub(super) struct Image {
    pub(super) bytes: Bytes,
    pub(super) format: Format,
    pub(super) digest: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Jpeg,
    Png,
    Tiff,
    Pdf,
}

impl Document {
    pub(super) async fn load(self, s3: Option<&aws_sdk_s3::Client>) -> Result<Image, Refusal> {
        let bytes = match (self.bytes, self.s3_object) {
            (Some(text), None) => inline(&text)?,
            (None, Some(object)) => object.fetch(s3).await?,
            _ => return Err(Refusal::invalid_parameter("Document needs one of Bytes and S3Object.")),
        };
        if bytes.is_empty() {
            return Err(Refusal::bad_document("The document is empty."));
        }
        let Some(format) = Format::of(&bytes) else {
            return Err(Refusal::unsupported("Request has unsupported document format: not JPEG, PNG, TIFF or PDF."));
        };
        let digest = sha256(&bytes);
        Ok(Image { bytes, format, digest })
    }
}

fn inline(text: &str) -> Result<Bytes, Refusal> {
    let bytes = STANDARD
        .decode(text)
        .map_err(|error| Refusal::serialization(&format!("Document.Bytes is no Base64: {error}")))?;
    if bytes.len() > MAX_INLINE_BYTES {
        return Err(Refusal::too_large(bytes.len(), MAX_INLINE_BYTES));
    }
    Ok(bytes.into())
}

impl S3Object {
    async fn fetch(self, s3: Option<&aws_sdk_s3::Client>) -> Result<Bytes, Refusal> {
        let (Some(bucket), Some(name)) = (self.bucket, self.name) else {
            return Err(Refusal::invalid_parameter("S3Object needs Bucket and Name."));
        };
        let unreadable = |reason: &str| {
            let message = format!(
                "Unable to get object metadata from S3. Check object key, region and/or access permissions. \
                 (local Textract, s3://{bucket}/{name}: {reason})"
            );
            Refusal::new("InvalidS3ObjectException", message)
        };
        let Some(s3) = s3 else {
            return Err(unreadable("it was started without an S3"));
        };
        let object = s3.get_object().bucket(&bucket).key(&name).set_version_id(self.version).send().await;
        let mut object = match object {
            Ok(object) => object,
            Err(error) => {
                let error = error.into_service_error();
                let code = aws_sdk_s3::error::ProvideErrorMetadata::code(&error);
                return Err(unreadable(code.unwrap_or("S3 does not answer")));
            }
        };
        let mut bytes = Vec::new();
        while let Some(chunk) = object.body.next().await {
            let chunk = chunk.map_err(|error| unreadable(&error.to_string()))?;
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MAX_S3_BYTES {
                let size = object.content_length.and_then(|size| size.try_into().ok()).unwrap_or(bytes.len());
                return Err(Refusal::too_large(size, MAX_S3_BYTES));
            }
        }
        Ok(bytes.into())
    }
}

impl Format {
    /// By the first bytes, whatever the name or content type says.
    ///
    /// Tesseract takes standard input that is no image for a list of files to open: nothing may reach it that does
    /// not pass here.
    fn of(bytes: &[u8]) -> Option<Self> {
        const MAGIC: [(&[u8], Format); 5] = [
            (b"\xff\xd8\xff", Format::Jpeg),
            (b"\x89PNG\r\n\x1a\n", Format::Png),
            (b"II*\0", Format::Tiff),
            (b"MM\0*", Format::Tiff),
            (b"%PDF-", Format::Pdf),
        ];
        MAGIC.into_iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, format)| format)
    }
}

/// The SHA-256 by which images are counted and recorded answers are found, in lower-case hex.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_their_first_bytes() {
        for (bytes, format) in [
            (&b"\xff\xd8\xff\xe0 JFIF"[..], Some(Format::Jpeg)),
            (b"\xff\xd8\xff\xe1 Exif", Some(Format::Jpeg)),
            (b"\x89PNG\r\n\x1a\n\0", Some(Format::Png)),
            (b"II*\0\x08", Some(Format::Tiff)),
            (b"MM\0*\0", Some(Format::Tiff)),
            (b"%PDF-1.7", Some(Format::Pdf)),
            (b"GIF89a", None),
            (b"RIFF\0\0\0\0WEBP", None),
            (b"/etc/passwd\n", None),
            (b"\xff\xd8", None),
            (b"", None),
        ] {
            assert_eq!(Format::of(bytes), format, "{bytes:?}");
        }
    }

    #[test]
    fn the_digest_is_lower_case_hex() {
        assert_eq!(sha256(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
