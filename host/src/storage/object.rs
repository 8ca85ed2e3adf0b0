//! One object of the source bucket, opened and read to an end that something vouches for.

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_object::GetObjectOutput;

use super::framing::Framing;
use super::{Location, classify};
use crate::failure::{Failure, FailureKind, chain};

/// Textract's limit for synchronous calls, 10 MB (docs.aws.amazon.com/textract/latest/dg/limits-document.html).
pub const LARGEST_IMAGE: u64 = 10 * 1024 * 1024;

/// An object whose body has not been read yet.
pub(super) struct Object {
    pub(super) key: String,
    /// Its name in messages.
    pub(super) what: String,
    version: Option<String>,
    output: GetObjectOutput,
    framing: Framing,
}

impl Object {
    /// Opens it, by its other key where there is none by the first.
    pub(super) async fn open(client: &Client, bucket: &str, located: &Location) -> Result<Self, Failure> {
        match (Self::open_by(client, bucket, located, &located.key).await, &located.other_key) {
            (Err(failure), Some(other)) if failure.kind == FailureKind::NotFound => {
                Self::open_by(client, bucket, located, other).await.map_err(|_| failure)
            }
            (opened, _) => opened,
        }
    }

    async fn open_by(client: &Client, bucket: &str, located: &Location, key: &str) -> Result<Self, Failure> {
        let (framing, what) = (Framing::default(), format!("image s3://{bucket}/{key}"));
        let version = located.version.clone();
        let get = client.get_object().bucket(bucket).key(key).set_version_id(version.clone());
        let failure = match get.customize().interceptor(framing.clone()).send().await {
            Ok(output) => return Ok(Self { key: key.to_owned(), what, version, output, framing }),
            Err(error) => classify(&error, &what),
        };
        Err(match located.decoded_key().filter(|_| failure.kind == FailureKind::NotFound) {
            Some(meant) => {
                let why = format!("{}; the key looks percent-encoded: did you mean {meant:?}?", failure.message);
                Failure::new(failure.kind, failure.code, why)
            }
            None => failure,
        })
    }

    /// Its size, where the answer says it; not all do (proxies, decryption on the fly).
    pub(super) fn announced(&self) -> Option<u64> {
        self.output.content_length().and_then(|size| u64::try_from(size).ok())
    }

    pub(super) fn version_id(&self) -> Option<String> {
        self.output.version_id().map(str::to_owned)
    }

    /// Reads it. A body of announced length that ends earlier was cut off; so was a chunked one that ends without its last
    /// chunk, which is an error of the connection's. One whose end nothing tells must have the size that HEAD tells.
    pub(super) async fn read(self, client: &Client, bucket: &str) -> Result<Vec<u8>, Failure> {
        let announced = self.announced();
        let Self { key, what, version, output, framing } = self;
        let broken = |why: &str| Failure::new(FailureKind::Unavailable, "s3.BrokenBody", format!("{what}: {why}"));
        let mut body = output.body;
        let mut bytes = Vec::with_capacity(announced.and_then(|size| usize::try_from(size).ok()).unwrap_or_default());
        loop {
            match body.try_next().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => return Err(broken(&chain(&error))),
            }
            if bytes.len() as u64 > LARGEST_IMAGE {
                return Err(too_large(&what, bytes.len() as u64));
            }
        }
        let came = bytes.len() as u64;
        let size = match announced {
            None if !framing.has_an_end() => {
                let head = client.head_object().bucket(bucket).key(&key).set_version_id(version).send().await;
                let head = head.map_err(|error| classify(&error, &what))?;
                let size = head.content_length().and_then(|size| u64::try_from(size).ok());
                size.ok_or_else(|| {
                    broken(&format!("{came} bytes came, and nothing tells whether that is all of them"))
                })?
            }
            announced => announced.unwrap_or(came),
        };
        match () {
            () if came != size => Err(broken(&format!("{came} of {size} bytes came"))),
            () if bytes.is_empty() => Err(empty(&what)),
            () => Ok(bytes),
        }
    }
}

pub(super) fn empty(what: &str) -> Failure {
    Failure::new(FailureKind::BadDocument, "image.Empty", format!("{what} is empty (0 bytes)"))
}

pub(super) fn too_large(what: &str, size: u64) -> Failure {
    Failure::new(
        FailureKind::DocumentTooLarge,
        "image.TooLarge",
        format!("{what} has {size} bytes; Textract takes at most {LARGEST_IMAGE}"),
    )
}
