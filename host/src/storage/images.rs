//! Receipts' images: fetched once, bounded in size and in how much of them is held at a time, known by their digest.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_s3::Client;
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::object::{LARGEST_IMAGE, Object, empty, too_large};
use super::{Source, classify, locate_in};
use crate::failure::{Failure, FailureKind};

/// What an image in a request needs of its size: the bytes, a copy for the SDK, Base64, and the request around it.
const COPIES: u64 = 4;

/// What one image may need.
const HEAVIEST: u64 = LARGEST_IMAGE / 2 * COPIES;

/// How long to wait for others to let go of their images.
const ROOM_TIMEOUT: Duration = Duration::from_secs(120);

/// How often a photo is opened: once more when there was no room for it, and again where it has grown meanwhile.
const MOST_OPENINGS: u32 = 4;

/// A key of no photo, which is asked for to learn whether the bucket answers.
pub const NOBODYS: &str = "receipts/.doctor";

/// What a bucket does with other photos than the one that it refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// It gives them.
    Read,
    /// It refuses them as well.
    Refused,
    /// It refuses one that does not exist, which some rights make it do.
    Unknown,
}

/// The source bucket.
#[derive(Debug, Clone)]
pub struct Images {
    client: Client,
    bucket: String,
    /// KiB of images that may be held at a time, over all instances.
    room: Arc<Semaphore>,
    /// All of it, in bytes.
    budget: u64,
    /// What one run may hold, in bytes.
    share: u64,
    /// Images up to this size travel in requests.
    copied: u64,
    /// What the last one needed, in bytes.
    expected: Arc<AtomicU64>,
    /// The key that was read last, to be asked for again where another one is refused.
    read: Arc<Mutex<Option<String>>>,
    /// The endpoint of an S3 that is not where AWS has it.
    endpoint: Option<Arc<str>>,
}

/// An image in the host's memory.
#[derive(Debug)]
pub struct Image {
    /// What S3 holds.
    pub bytes: Vec<u8>,
    /// SHA-256 of the bytes, hexadecimal: the image's version.
    pub digest: String,
    /// By the bytes' signature.
    pub content_type: &'static str,
    /// The source bucket.
    pub bucket: String,
    /// The object's key.
    pub key: String,
    /// The object's version, where the bucket keeps versions.
    pub version_id: Option<String>,
    /// In an S3 that is not AWS's: Textract cannot read it there.
    pub elsewhere: bool,
    room: OwnedSemaphorePermit,
}

impl Image {
    /// Memory that is set aside for it, in bytes.
    pub fn weight(&self) -> u64 {
        u64::try_from(self.room.num_permits()).unwrap_or(u64::MAX).saturating_mul(1024)
    }
}

impl Images {
    /// Images of `bucket`, holding at most `held_bytes` of them at a time.
    pub fn new(client: Client, bucket: String, held_bytes: u64) -> Self {
        let budget = held_bytes.max(HEAVIEST);
        let kib = usize::try_from(budget / 1024).unwrap_or(usize::MAX);
        let room = Arc::new(Semaphore::new(kib.min(Semaphore::MAX_PERMITS)));
        Self {
            client,
            bucket,
            room,
            budget,
            share: budget,
            copied: 0,
            expected: Arc::default(),
            read: Arc::default(),
            endpoint: None,
        }
    }

    /// At another endpoint than AWS's: its URLs name images, too.
    pub fn reached_at(self, endpoint: Option<&str>) -> Self {
        Self { endpoint: endpoint.map(Arc::from), ..self }
    }

    /// Where images up to this size (at most half of the largest) travel in requests: while they do, there are copies.
    pub fn copied_up_to(self, copied: u64) -> Self {
        Self { copied, ..self }
    }

    /// For so many runs at a time: none of them may hold more than its share, but for one image, which may be as large as
    /// an image can be.
    pub fn shared_by(self, runs: usize) -> Self {
        let runs = u64::try_from(runs.max(1)).unwrap_or(u64::MAX);
        Self { share: (self.budget / runs).max(HEAVIEST), ..self }
    }

    /// The bucket's name.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Fetches the image that the app named.
    pub async fn fetch(&self, location: Option<&str>) -> Result<Image, Failure> {
        self.fetch_beside(location, 0).await
    }

    /// The same for a run that holds so many bytes of images already. It does not wait for room, as it would while others
    /// wait for what it holds.
    pub async fn fetch_beside(&self, location: Option<&str>, held: u64) -> Result<Image, Failure> {
        let located = locate_in(location, self.source())?;
        // Memory first, as much as the last photo needed: a server cuts a body that nobody reads, sooner or later.
        let mut room = match held {
            0 => Some(self.room_for(self.expected.load(Ordering::Relaxed)).await?),
            _ => None,
        };
        for _ in 0..MOST_OPENINGS {
            let object = Object::open(&self.client, &self.bucket, &located).await?;
            let size = object.announced().unwrap_or(LARGEST_IMAGE);
            if size > LARGEST_IMAGE {
                return Err(too_large(&object.what, size));
            }
            if size == 0 {
                return Err(empty(&object.what));
            }
            let weight = self.weight(size);
            self.expected.store(weight, Ordering::Relaxed);
            let free = match room.take().and_then(|room| enough(room, weight)) {
                Some(room) => Some(room),
                None => self.room_now(held, weight, &object.what)?,
            };
            let Some(permit) = free else {
                // It needs more. So the connection goes, and there is another one when there is room.
                drop(object);
                room = Some(self.room_for(weight).await?);
                continue;
            };
            let (key, version_id) = (object.key.clone(), object.version_id());
            let bytes = object.read(&self.client, &self.bucket).await?;
            *self.read.lock().unwrap_or_else(PoisonError::into_inner) = Some(key.clone());
            let digest = digest_of(&bytes);
            let content_type = sniff(&bytes);
            let elsewhere = self.endpoint.as_deref().is_some_and(|endpoint| !is_of_aws(endpoint));
            let bucket = self.bucket.clone();
            return Ok(Image { bytes, digest, content_type, bucket, key, version_id, elsewhere, room: permit });
        }
        Err(no_room())
    }

    /// Whether other photos than this one can be read: then what is refused to this one is not refused to all. Asked for are the
    /// one that was read last and, where that does not tell, one that does not exist: a bucket that may be read says so.
    pub async fn reads_others(&self, this: Option<&str>) -> Others {
        let last = self.read.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_this = |key: &String| {
            locate_in(this, self.source()).is_ok_and(|this| this.key == *key || this.other_key.as_ref() == Some(key))
        };
        if let Some(last) = last.filter(|last| !is_this(last)) {
            match self.refusal(&last).await {
                None => return Others::Read,
                Some(FailureKind::NotFound) => {}
                Some(_) => return Others::Refused,
            }
        }
        match self.refusal(NOBODYS).await {
            None | Some(FailureKind::NotFound) => Others::Read,
            // Without the right to list, too, S3 does not tell what is not there.
            Some(FailureKind::AccessDenied) => Others::Unknown,
            Some(_) => Others::Refused,
        }
    }

    async fn refusal(&self, key: &str) -> Option<FailureKind> {
        let first = self.client.get_object().bucket(&self.bucket).key(key).range("bytes=0-0");
        first.send().await.err().map(|error| classify(&error, key).kind)
    }

    fn source(&self) -> Source<'_> {
        Source { bucket: &self.bucket, endpoint: self.endpoint.as_deref() }
    }

    /// Memory for an image of this size, copies included.
    fn weight(&self, size: u64) -> u64 {
        if size <= self.copied { size.saturating_mul(COPIES) } else { size }
    }

    /// Room, if there is some at this moment. A run that holds images already does not wait for more.
    fn room_now(&self, held: u64, weight: u64, what: &str) -> Result<Option<OwnedSemaphorePermit>, Failure> {
        match held {
            0 => Ok(Arc::clone(&self.room).try_acquire_many_owned(kib(weight)).ok()),
            held => self.room_beside(held, weight, what).map(Some),
        }
    }

    async fn room_for(&self, weight: u64) -> Result<OwnedSemaphorePermit, Failure> {
        let acquire = Arc::clone(&self.room).acquire_many_owned(kib(weight));
        match tokio::time::timeout(ROOM_TIMEOUT, acquire).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(no_room()),
        }
    }

    fn room_beside(&self, held: u64, weight: u64, what: &str) -> Result<OwnedSemaphorePermit, Failure> {
        let permit = match held.saturating_add(weight) <= self.share {
            true => Arc::clone(&self.room).try_acquire_many_owned(kib(weight)).ok(),
            false => None,
        };
        permit.ok_or_else(|| {
            let why = format!(
                "{what}: the component holds images for {held} bytes of memory already; no room for more beside them"
            );
            Failure::new(FailureKind::LimitExceeded, "image.TooManyHeld", why)
        })
    }
}

fn no_room() -> Failure {
    let message = "no room for the image: too many are held already (--image-memory)";
    Failure::new(FailureKind::Unavailable, "image.NoRoom", message)
}

/// What of this room an image needs, if it is enough.
fn enough(mut room: OwnedSemaphorePermit, weight: u64) -> Option<OwnedSemaphorePermit> {
    let surplus = room.num_permits().checked_sub(usize::try_from(kib(weight)).ok()?)?;
    drop(room.split(surplus));
    Some(room)
}

fn kib(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX)
}

fn is_of_aws(endpoint: &str) -> bool {
    let host = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let host = host.split(['/', ':']).next().unwrap_or_default().to_ascii_lowercase();
    host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn")
}

/// The media type by the bytes' signature, whatever the object's name says.
pub fn sniff(bytes: &[u8]) -> &'static str {
    match bytes {
        [0xFF, 0xD8, 0xFF, ..] => "image/jpeg",
        [0x89, b'P', b'N', b'G', 0x0D, 0x0A, 0x1A, 0x0A, ..] => "image/png",
        [b'I', b'I', 0x2A, 0x00, ..] | [b'M', b'M', 0x00, 0x2A, ..] => "image/tiff",
        [b'%', b'P', b'D', b'F', b'-', ..] => "application/pdf",
        _ => "application/octet-stream",
    }
}

/// SHA-256, hexadecimal.
pub fn digest_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hexadecimal.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_decides_not_the_name() {
        assert_eq!(sniff(b"\xFF\xD8\xFF\xE0rest"), "image/jpeg");
        assert_eq!(sniff(b"\x89PNG\r\n\x1a\n...."), "image/png");
        assert_eq!(sniff(b"MM\x00\x2a"), "image/tiff");
        assert_eq!(sniff(b"%PDF-1.7"), "application/pdf");
        assert_eq!(sniff(b"hello, I am a text"), "application/octet-stream");
        assert_eq!(sniff(b""), "application/octet-stream");
    }
}
