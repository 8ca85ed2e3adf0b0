//! The objects: s3s-fs, with what it gets wrong put right.
//!
//! s3s-fs 0.14 answers NoSuchKey where the bucket is missing, ignores the conditions of a read, opens a folder as if
//! it were an object, fails halfway through a put whose key is too long for a file name, and writes an object and its
//! metadata in separate steps, so that a reader can see the one without the other.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// s3s-fs keeps an object's metadata in one file whose name is the Base64 of bucket and key: with 255 bytes for a
/// file name this is what is left for the two.
const MAX_NAME_BYTES: usize = 160;

/// Objects are locked by the hash of their name: enough of these that two objects rarely wait for each other.
const LOCKS: usize = 64;

pub(super) struct Store {
    files: FileSystem,
    root: PathBuf,
    locks: Vec<RwLock<()>>,
}

impl Store {
    pub(super) fn open(root: &Path) -> Result<Self, String> {
        // Absolute: s3s-fs answers from its own resolved copy of the path, and so must we.
        let root = root.canonicalize().map_err(|error| error.to_string())?;
        let files = FileSystem::new(&root).map_err(|error| format!("{error:?}"))?;
        Ok(Self { files, root, locks: (0..LOCKS).map(|_| RwLock::new(())).collect() })
    }

    async fn read(&self, bucket: &str, key: &str) -> Option<RwLockReadGuard<'_, ()>> {
        Some(self.locks.get(lock_number(bucket, key))?.read().await)
    }

    async fn write(&self, bucket: &str, key: &str) -> Option<RwLockWriteGuard<'_, ()>> {
        Some(self.locks.get(lock_number(bucket, key))?.write().await)
    }

    fn check_bucket(&self, bucket: &str) -> S3Result<()> {
        match self.root.join(bucket).is_dir() {
            true => Ok(()),
            false => Err(s3_error!(NoSuchBucket, "The specified bucket does not exist")),
        }
    }

    /// What S3 looks at before an object is read: bucket, key, conditions.
    async fn check_read(&self, bucket: &str, key: &str, conditions: Conditions) -> S3Result<()> {
        self.check_bucket(bucket)?;
        check_key(bucket, key)?;
        // `a` is a folder when there is an object `a/b`, but no object.
        if self.root.join(bucket).join(key).is_dir() {
            return Err(s3_error!(NoSuchKey, "The specified key does not exist."));
        }
        if conditions.are_none() {
            return Ok(());
        }
        let head = HeadObjectInput::builder().bucket(bucket.to_owned()).key(key.to_owned()).build();
        let head = head.map_err(|error| s3_error!(error, InternalError))?;
        let object = self.files.head_object(internal(head)).await?.output;
        conditions.check(object.e_tag.as_ref(), object.last_modified.as_ref())
    }
}

fn lock_number(bucket: &str, key: &str) -> usize {
    let mut hasher = DefaultHasher::new();
    (bucket, key).hash(&mut hasher);
    usize::try_from(hasher.finish() % LOCKS as u64).unwrap_or(0)
}

/// Keys are file names here, so not everything that S3 allows is possible: it is refused by name, not half done.
fn check_key(bucket: &str, key: &str) -> S3Result<()> {
    if bucket.len() + key.len() > MAX_NAME_BYTES {
        return Err(s3_error!(
            KeyTooLongError,
            "The local S3 keeps names as file names: bucket and key may have {MAX_NAME_BYTES} bytes together"
        ));
    }
    let segments = key.strip_suffix('/').unwrap_or(key).split('/');
    if key.contains('\0') || segments.into_iter().any(|segment| matches!(segment, "" | "." | "..")) {
        return Err(s3_error!(
            InvalidArgument,
            "The local S3 keeps objects as files: a key cannot have empty, '.' or '..' parts"
        ));
    }
    Ok(())
}

/// `If-…` headers of a read, in the order of precedence that RFC 9110 and S3 give them.
struct Conditions {
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
    if_modified_since: Option<Timestamp>,
    if_unmodified_since: Option<Timestamp>,
}

impl Conditions {
    fn are_none(&self) -> bool {
        self.if_match.is_none()
            && self.if_none_match.is_none()
            && self.if_modified_since.is_none()
            && self.if_unmodified_since.is_none()
    }

    fn check(&self, etag: Option<&ETag>, modified: Option<&Timestamp>) -> S3Result<()> {
        let is = |condition: &ETagCondition| match condition {
            ETagCondition::Any => true,
            ETagCondition::ETag(wanted) => etag.is_some_and(|etag| etag.weak_cmp(wanted)),
        };
        // HTTP dates have whole seconds: an object is not newer than its own Last-Modified.
        let newer_than = |then: &Timestamp| modified.is_some_and(|modified| http_date(modified) > http_date(then));
        match (&self.if_match, &self.if_unmodified_since) {
            (Some(wanted), _) if !is(wanted) => return Err(s3_error!(PreconditionFailed)),
            (None, Some(then)) if newer_than(then) => return Err(s3_error!(PreconditionFailed)),
            _ => {}
        }
        match (&self.if_none_match, &self.if_modified_since) {
            (Some(known), _) if is(known) => Err(s3_error!(NotModified)),
            (None, Some(then)) if !newer_than(then) => Err(s3_error!(NotModified)),
            _ => Ok(()),
        }
    }
}

/// The time as an HTTP date tells it: in whole seconds.
fn http_date(time: &Timestamp) -> Option<Timestamp> {
    let mut text = Vec::new();
    time.format(TimestampFormat::HttpDate, &mut text).ok()?;
    Timestamp::parse(TimestampFormat::HttpDate, std::str::from_utf8(&text).ok()?).ok()
}

/// A request of our own to s3s-fs, which looks only at its input.
fn internal<T>(input: T) -> S3Request<T> {
    S3Request {
        input,
        method: Default::default(),
        uri: Default::default(),
        headers: Default::default(),
        extensions: Default::default(),
        credentials: None,
        region: None,
        service: None,
        trailing_headers: None,
    }
}

impl Store {
    async fn get(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = &request.input;
        let _lock = self.read(&input.bucket, &input.key).await;
        let conditions = Conditions {
            if_match: input.if_match.clone(),
            if_none_match: input.if_none_match.clone(),
            if_modified_since: input.if_modified_since.clone(),
            if_unmodified_since: input.if_unmodified_since.clone(),
        };
        self.check_read(&input.bucket, &input.key, conditions).await?;
        self.files.get_object(request).await
    }

    async fn head(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = &request.input;
        let _lock = self.read(&input.bucket, &input.key).await;
        let conditions = Conditions {
            if_match: input.if_match.clone(),
            if_none_match: input.if_none_match.clone(),
            if_modified_since: input.if_modified_since.clone(),
            if_unmodified_since: input.if_unmodified_since.clone(),
        };
        self.check_read(&input.bucket, &input.key, conditions).await?;
        self.files.head_object(request).await
    }

    async fn put(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let (bucket, key) = (request.input.bucket.clone(), request.input.key.clone());
        self.check_bucket(&bucket)?;
        check_key(&bucket, &key)?;
        let _lock = self.write(&bucket, &key).await;
        self.files.put_object(request).await
    }

    async fn delete(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        let (bucket, key) = (request.input.bucket.clone(), request.input.key.clone());
        self.check_bucket(&bucket)?;
        check_key(&bucket, &key)?;
        let _lock = self.write(&bucket, &key).await;
        self.files.delete_object(request).await
    }

    async fn list(&self, request: S3Request<ListObjectsInput>) -> S3Result<S3Response<ListObjectsOutput>> {
        self.check_bucket(&request.input.bucket)?;
        self.files.list_objects(request).await
    }

    async fn list_v2(&self, request: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.check_bucket(&request.input.bucket)?;
        self.files.list_objects_v2(request).await
    }
}

/// The operations that the local S3 has. Whatever is not listed is answered with NotImplemented.
macro_rules! operations {
    ($($operation:ident($input:ty) -> $output:ty => $to:path,)*) => {
        #[async_trait::async_trait]
        impl S3 for Store {
            $(async fn $operation(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                $to(self.as_ref(), request).await
            })*
        }
    };
}

operations! {
    get_object(GetObjectInput) -> GetObjectOutput => Store::get,
    head_object(HeadObjectInput) -> HeadObjectOutput => Store::head,
    put_object(PutObjectInput) -> PutObjectOutput => Store::put,
    delete_object(DeleteObjectInput) -> DeleteObjectOutput => Store::delete,
    list_objects(ListObjectsInput) -> ListObjectsOutput => Store::list,
    list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output => Store::list_v2,
    list_buckets(ListBucketsInput) -> ListBucketsOutput => FileSystem::list_buckets,
    create_bucket(CreateBucketInput) -> CreateBucketOutput => FileSystem::create_bucket,
    delete_bucket(DeleteBucketInput) -> DeleteBucketOutput => FileSystem::delete_bucket,
    head_bucket(HeadBucketInput) -> HeadBucketOutput => FileSystem::head_bucket,
    get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput => FileSystem::get_bucket_location,
    copy_object(CopyObjectInput) -> CopyObjectOutput => FileSystem::copy_object,
    delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput => FileSystem::delete_objects,
    create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput
        => FileSystem::create_multipart_upload,
    upload_part(UploadPartInput) -> UploadPartOutput => FileSystem::upload_part,
    list_parts(ListPartsInput) -> ListPartsOutput => FileSystem::list_parts,
    complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput
        => FileSystem::complete_multipart_upload,
    abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput
        => FileSystem::abort_multipart_upload,
}

impl AsRef<Self> for Store {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl AsRef<FileSystem> for Store {
    fn as_ref(&self) -> &FileSystem {
        &self.files
    }
}
