//! A component in S3 that is polled by its ETag, so that one upload swaps a whole fleet.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::seen::Seen;
use crate::failure::{Failure, FailureKind};
use crate::storage::{classify, digest_of};
use crate::swap::candidate::{Candidate, LARGEST_COMPONENT, LONGEST_SIGNATURE, SIGNATURE_SUFFIX};

/// Polls a component in S3.
pub struct S3Source {
    component: Object,
    signature: Object,
    ticks: Interval,
    seen: Option<Seen>,
    /// The ETags of component and signature that were dealt with.
    read: Option<(String, Option<String>)>,
    /// The code of the failure that was logged last, so that it is logged once.
    problem: Option<String>,
}

impl S3Source {
    /// Polls `s3://bucket/key`, and `KEY.minisig` beside it. `loaded` is the digest of what was loaded from it already.
    pub fn new(client: Client, bucket: &str, key: &str, poll: Duration, loaded: Option<String>) -> Self {
        let object = |key: String| Object { client: client.clone(), bucket: bucket.to_owned(), key };
        let mut ticks = interval(poll);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            component: object(key.to_owned()),
            signature: object(format!("{key}{SIGNATURE_SUFFIX}")),
            ticks,
            seen: loaded.map(Seen::loaded),
            read: None,
            problem: None,
        }
    }

    /// What is there now, for a host that starts with it. It counts as offered.
    pub async fn first(&mut self) -> Result<Candidate, Failure> {
        self.seen = None;
        self.read = None;
        loop {
            // None: it was replaced between two requests.
            if let Some(candidate) = self.poll().await? {
                return Ok(candidate);
            }
        }
    }

    /// Waits for a component, or a signature of it, that was not offered before. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Candidate {
        loop {
            self.ticks.tick().await;
            match self.poll().await {
                Ok(candidate) => {
                    if self.problem.take().is_some() {
                        tracing::info!(
                            name: "swap.object_readable",
                            component = %self.component,
                            "the component's object can be read again"
                        );
                    }
                    if let Some(candidate) = candidate {
                        return candidate;
                    }
                }
                Err(failure) => {
                    if self.problem.as_ref() != Some(&failure.code) {
                        tracing::warn!(
                            name: "swap.object_unreadable",
                            code = failure.code,
                            "the component's object is not read, and waited for: {}",
                            failure.message
                        );
                        self.problem = Some(failure.code);
                    }
                }
            }
        }
    }

    /// Offers once more what is there now, seen or not.
    pub fn recheck(&mut self) {
        self.seen = None;
        self.read = None;
        self.ticks.reset_immediately();
    }

    /// None: nothing new, or it is just being replaced.
    async fn poll(&mut self) -> Result<Option<Candidate>, Failure> {
        let Some(etag) = self.component.etag().await? else {
            return Err(Failure::new(
                FailureKind::NotFound,
                "s3.NoSuchKey",
                format!("{}: it is not there", self.component),
            ));
        };
        let etags = (etag, self.signature.etag().await?);
        if self.read.as_ref() == Some(&etags) {
            return Ok(None);
        }
        let Some(bytes) = self.component.read(&etags.0, LARGEST_COMPONENT).await? else { return Ok(None) };
        let signature = match &etags.1 {
            None => None,
            Some(etag) => match self.signature.read(etag, LONGEST_SIGNATURE).await? {
                Some(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
                None => return Ok(None),
            },
        };
        // No await from here on: whoever drops the future has not lost what was read.
        let digest = digest_of(&bytes);
        let known = self.seen.as_ref().is_some_and(|seen| seen.is(&digest, signature.as_deref()));
        self.seen = Some(Seen::offered(digest, signature.clone()));
        self.read = Some(etags);
        Ok((!known).then(|| Candidate { name: self.component.to_string(), bytes, signature }))
    }
}

struct Object {
    client: Client,
    bucket: String,
    key: String,
}

impl Object {
    /// None when it is not there.
    async fn etag(&self) -> Result<Option<String>, Failure> {
        let head = self.client.head_object().bucket(&self.bucket).key(&self.key).send().await;
        match head {
            Ok(head) => Ok(Some(head.e_tag.unwrap_or_default())),
            Err(error) => match error.raw_response().map(|response| response.status().as_u16()) {
                Some(404) => Ok(None),
                // Without s3:ListBucket this is what S3 says of a key that is not there, too.
                Some(403) if self.key.ends_with(SIGNATURE_SUFFIX) => Ok(None),
                _ => Err(classify(&error, &self.to_string())),
            },
        }
    }

    /// None when it is not this version any more.
    async fn read(&self, etag: &str, limit: u64) -> Result<Option<Vec<u8>>, Failure> {
        let get = self.client.get_object().bucket(&self.bucket).key(&self.key).if_match(etag).send().await;
        let object = match get {
            Ok(object) => object,
            Err(error) => {
                return match error.raw_response().map(|response| response.status().as_u16()) {
                    Some(404 | 412) => Ok(None),
                    _ => Err(classify(&error, &self.to_string())),
                };
            }
        };
        let size = object.content_length().and_then(|size| u64::try_from(size).ok());
        let bytes = self.collect(object.body, limit).await?;
        if size.is_some_and(|size| size != bytes.len() as u64) {
            return Err(self.broken(format!("{} of {} bytes came", bytes.len(), size.unwrap_or_default())));
        }
        Ok(Some(bytes))
    }

    async fn collect(&self, mut body: ByteStream, limit: u64) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        while let Some(chunk) = body.try_next().await.map_err(|error| self.broken(error.to_string()))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > limit {
                let message = format!("{self} has more than {limit} bytes");
                return Err(Failure::new(FailureKind::LimitExceeded, "s3.TooLarge", message));
            }
        }
        Ok(bytes)
    }

    fn broken(&self, problem: String) -> Failure {
        Failure::new(FailureKind::Unavailable, "s3.BrokenBody", format!("{self}: {problem}"))
    }
}

impl std::fmt::Display for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::aws::{self, AwsOverrides};
    use crate::dev::s3::{LocalS3, Settings};
    use tempfile::TempDir;
    use tokio::time::timeout;

    const PATIENCE: Duration = Duration::from_secs(30);
    const POLL: Duration = Duration::from_millis(20);
    /// Many polls.
    const A_WHILE: Duration = Duration::from_millis(400);

    struct World {
        s3: LocalS3,
        client: Client,
        root: TempDir,
    }

    impl World {
        async fn new() -> Self {
            let root = TempDir::new().unwrap();
            let mut settings = Settings::new(root.path());
            settings.buckets = vec!["components".to_owned()];
            let s3 = LocalS3::start(settings).await.unwrap();
            let overrides = AwsOverrides {
                region: Some("us-east-1".to_owned()),
                credentials: Some((s3.access_key().to_owned(), s3.secret_key().to_owned())),
                s3_endpoint: Some(s3.endpoint()),
                textract_endpoint: None,
            };
            let client = aws::load(&overrides).await.unwrap().s3;
            Self { s3, client, root }
        }

        async fn put(&self, key: &str, bytes: &'static [u8]) {
            let body = ByteStream::from_static(bytes);
            self.client.put_object().bucket("components").key(key).body(body).send().await.unwrap();
        }

        fn source(&self, loaded: Option<&[u8]>) -> S3Source {
            S3Source::new(self.client.clone(), "components", "w.wasm", POLL, loaded.map(digest_of))
        }
    }

    async fn offers(source: &mut S3Source, bytes: &[u8], signature: Option<&str>) {
        let candidate = timeout(PATIENCE, source.next()).await.unwrap();
        let name = "s3://components/w.wasm".to_owned();
        assert_eq!(candidate, Candidate { name, bytes: bytes.to_vec(), signature: signature.map(str::to_owned) });
    }

    async fn offers_nothing(source: &mut S3Source) {
        assert!(timeout(A_WHILE, source.next()).await.is_err());
    }

    #[tokio::test]
    async fn an_upload_is_offered_once() {
        let world = World::new().await;
        world.put("w.wasm", b"one").await;
        let mut source = world.source(Some(b"one"));
        offers_nothing(&mut source).await;
        world.put("w.wasm", b"two").await;
        offers(&mut source, b"two", None).await;
        // The same bytes once more.
        world.put("w.wasm", b"two").await;
        offers_nothing(&mut source).await;
        source.recheck();
        offers(&mut source, b"two", None).await;
    }

    #[tokio::test]
    async fn a_signature_that_comes_later_is_noticed() {
        let world = World::new().await;
        world.put("w.wasm", b"one").await;
        let mut source = world.source(None);
        offers(&mut source, b"one", None).await;
        world.put("w.wasm.minisig", b"signed").await;
        offers(&mut source, b"one", Some("signed")).await;
        offers_nothing(&mut source).await;
    }

    #[tokio::test]
    async fn what_a_host_starts_with_is_not_offered_again() {
        let world = World::new().await;
        let mut source = world.source(None);
        let failure = source.first().await.unwrap_err();
        assert!(failure.message.contains("s3://components/w.wasm"), "{}", failure.message);
        world.put("w.wasm", b"one").await;
        assert_eq!(source.first().await.unwrap().bytes, b"one");
        offers_nothing(&mut source).await;
    }

    #[tokio::test]
    async fn an_object_that_is_not_there_is_waited_for() {
        let world = World::new().await;
        let mut source = world.source(Some(b"one"));
        offers_nothing(&mut source).await;
        assert_eq!(source.problem.as_deref(), Some("s3.NoSuchKey"));
        world.put("w.wasm", b"two").await;
        offers(&mut source, b"two", None).await;
        assert_eq!(source.problem, None);
    }

    #[tokio::test]
    async fn an_s3_that_is_down_is_waited_for() {
        let world = World::new().await;
        world.put("w.wasm", b"one").await;
        let mut source = world.source(None);
        let address = world.s3.endpoint().strip_prefix("http://").unwrap().parse().unwrap();
        world.s3.stop().await;
        assert!(source.poll().await.is_err());
        let mut settings = Settings::new(world.root.path());
        settings.listen = address;
        let restart = async {
            // In the middle of a few polls that fail.
            tokio::time::sleep(A_WHILE).await;
            LocalS3::start(settings).await.unwrap()
        };
        let (_s3, ()) = tokio::join!(restart, offers(&mut source, b"one", None));
    }

    #[tokio::test]
    async fn what_is_too_large_or_too_long_is_not_taken_whole() {
        let world = World::new().await;
        world.put("w.wasm", b"four").await;
        let etag = world.source(None).component.etag().await.unwrap().unwrap();
        let object = world.source(None).component;
        assert_eq!(object.read(&etag, 4).await.unwrap().unwrap(), b"four");
        assert_eq!(object.read(&etag, 3).await.unwrap_err().code, "s3.TooLarge");
        assert_eq!(object.read("\"another\"", 4).await.unwrap(), None);
    }
}
