//! The local S3 as the AWS SDK sees it: what the host relies on in the real one.

use crate::support::{local_s3, s3_client, s3_client_as};
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::operation::RequestId as _;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use std::time::{Duration, SystemTime};

#[tokio::test]
async fn an_object_keeps_bytes_type_and_metadata() {
    let (s3, _root) = local_s3().await;
    let client = s3_client(&s3);
    let put = client
        .put_object()
        .bucket("artifacts")
        .key("ocr/2026/a receipt+ü.json")
        .content_type("application/json")
        .metadata("receipt-id", "42")
        .metadata("component", "sha256:abc")
        .body(ByteStream::from_static(b"{\"Blocks\":[]}"))
        .send()
        .await
        .unwrap();

    let head = client.head_object().bucket("artifacts").key("ocr/2026/a receipt+ü.json").send().await.unwrap();
    assert_eq!(head.content_length, Some(13));
    assert_eq!(head.content_type.as_deref(), Some("application/json"));
    assert_eq!(head.e_tag, put.e_tag);
    assert!(head.last_modified.is_some());

    let get = client.get_object().bucket("artifacts").key("ocr/2026/a receipt+ü.json").send().await.unwrap();
    assert_eq!(get.content_type.as_deref(), Some("application/json"));
    let metadata = get.metadata.clone().unwrap();
    assert_eq!(metadata.get("receipt-id").map(String::as_str), Some("42"));
    assert_eq!(metadata.get("component").map(String::as_str), Some("sha256:abc"));
    assert_eq!(&get.body.collect().await.unwrap().into_bytes()[..], b"{\"Blocks\":[]}");
    s3.stop().await;
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let (s3, _root) = local_s3().await;
    let client = s3_client(&s3);

    let error = client.get_object().bucket("receipts").key("none.jpg").send().await.unwrap_err();
    assert_eq!(error.raw_response().unwrap().status().as_u16(), 404);
    assert!(error.into_service_error().is_no_such_key());

    let error = client.head_object().bucket("receipts").key("none.jpg").send().await.unwrap_err();
    assert!(error.into_service_error().is_not_found());

    let error = client.get_object().bucket("no-such-bucket").key("none.jpg").send().await.unwrap_err();
    assert_eq!(error.raw_response().unwrap().status().as_u16(), 404);
    assert_eq!(error.code(), Some("NoSuchBucket"));

    let body = ByteStream::from_static(b"x");
    let error = client.put_object().bucket("no-such-bucket").key("a").body(body).send().await.unwrap_err();
    assert_eq!(error.code(), Some("NoSuchBucket"));

    let error = client.list_objects_v2().bucket("no-such-bucket").send().await.unwrap_err();
    assert_eq!(error.code(), Some("NoSuchBucket"));

    let error = client.head_bucket().bucket("no-such-bucket").send().await.unwrap_err();
    assert!(error.into_service_error().is_not_found());
    client.head_bucket().bucket("receipts").send().await.unwrap();
}

#[tokio::test]
async fn a_folder_is_no_object() {
    let (s3, _root) = local_s3().await;
    let client = s3_client(&s3);
    put(&client, "folder/object").await;
    let error = client.get_object().bucket("receipts").key("folder").send().await.unwrap_err();
    assert!(error.into_service_error().is_no_such_key());
    let error = client.head_object().bucket("receipts").key("folder").send().await.unwrap_err();
    assert!(error.into_service_error().is_not_found());
}

#[tokio::test]
async fn a_range_of_an_object_can_be_read() {
    let (s3, _root) = local_s3().await;
    let client = s3_client(&s3);
    put(&client, "a").await;
    let get = client.get_object().bucket("receipts").key("a").range("bytes=2-4").send().await.unwrap();
    assert_eq!(get.content_range.as_deref(), Some("bytes 2-4/10"));
    assert_eq!(&get.body.collect().await.unwrap().into_bytes()[..], b"234");
    let error = client.get_object().bucket("receipts").key("a").range("bytes=10-").send().await.unwrap_err();
    assert_eq!(error.code(), Some("InvalidRange"));
}

#[tokio::test]
async fn reads_heed_their_conditions() {
    let (s3, _root) = local_s3().await;
    let client = s3_client(&s3);
    let etag = put(&client, "a").await;
    let get = || client.get_object().bucket("receipts").key("a");
    let status = |error: aws_sdk_s3::error::SdkError<_>| error.raw_response().unwrap().status().as_u16();

    get().if_match(&etag).send().await.unwrap();
    assert_eq!(get().if_match("\"other\"").send().await.map_err(status).unwrap_err(), 412);
    get().if_none_match("\"other\"").send().await.unwrap();
    assert_eq!(get().if_none_match(&etag).send().await.map_err(status).unwrap_err(), 304);

    let an_hour = Duration::from_secs(3600);
    let (past, future) = (SystemTime::now() - an_hour, SystemTime::now() + an_hour);
    get().if_modified_since(DateTime::from(past)).send().await.unwrap();
    assert_eq!(get().if_modified_since(DateTime::from(future)).send().await.map_err(status).unwrap_err(), 304);
    get().if_unmodified_since(DateTime::from(future)).send().await.unwrap();
    assert_eq!(get().if_unmodified_since(DateTime::from(past)).send().await.map_err(status).unwrap_err(), 412);

    let head = client.head_object().bucket("receipts").key("a").if_match("\"other\"").send().await.unwrap_err();
    assert_eq!(head.raw_response().unwrap().status().as_u16(), 412);
}

#[tokio::test]
async fn only_the_first_of_many_creates() {
    let (s3, _root) = local_s3().await;
    let client = s3_client(&s3);
    let puts = (0..8u8).map(|number| {
        let body = ByteStream::from(vec![number; 1000]);
        client.put_object().bucket("receipts").key("once").if_none_match("*").body(body).send()
    });
    let created = futures_util::future::join_all(puts).await.into_iter().filter(Result::is_ok).count();
    assert_eq!(created, 1);
}

#[tokio::test]
async fn only_the_right_secret_is_let_in() {
    let (s3, _root) = local_s3().await;
    let stranger = s3_client_as(&s3, "wrong");
    let error = stranger.get_object().bucket("receipts").key("a").send().await.unwrap_err();
    assert_eq!(error.raw_response().unwrap().status().as_u16(), 403);
    assert_eq!(error.code(), Some("SignatureDoesNotMatch"));
}

#[tokio::test]
async fn names_that_cannot_be_files_are_refused() {
    let (s3, _root) = local_s3().await;
    let client = s3_client(&s3);
    let put = |key: String| client.put_object().bucket("receipts").key(key).body(ByteStream::from_static(b"x")).send();
    assert_eq!(put("k".repeat(300)).await.unwrap_err().code(), Some("KeyTooLongError"));
    put("k".repeat(150)).await.unwrap();
    for key in ["a/../b", "../artifacts/b", "a//b"] {
        assert_eq!(put(key.to_owned()).await.unwrap_err().code(), Some("InvalidArgument"), "{key}");
    }
}

#[tokio::test]
async fn objects_are_there_after_a_restart() {
    let root = tempfile::TempDir::new().unwrap();
    let mut settings = host::dev::s3::Settings::new(root.path());
    settings.buckets = vec!["receipts".to_owned()];
    let s3 = host::dev::s3::LocalS3::start(settings.clone()).await.unwrap();
    let etag = put(&s3_client(&s3), "a").await;
    s3.stop().await;

    let s3 = host::dev::s3::LocalS3::start(settings).await.unwrap();
    let head = s3_client(&s3).head_object().bucket("receipts").key("a").send().await.unwrap();
    assert_eq!(head.e_tag, Some(etag));
    assert!(head.request_id().is_none(), "s3s-fs gives no request ids; when it does, the docs should say so");
}

#[tokio::test]
async fn a_stopped_server_frees_its_port() {
    let (s3, root) = local_s3().await;
    let client = s3_client(&s3);
    put(&client, "a").await;
    let address = s3.endpoint().strip_prefix("http://").unwrap().parse().unwrap();
    s3.stop().await;
    assert!(client.head_bucket().bucket("receipts").send().await.is_err());
    let mut settings = host::dev::s3::Settings::new(root.path());
    settings.listen = address;
    host::dev::s3::LocalS3::start(settings).await.unwrap();
}

async fn put(client: &aws_sdk_s3::Client, key: &str) -> String {
    let body = ByteStream::from_static(b"0123456789");
    client.put_object().bucket("receipts").key(key).body(body).send().await.unwrap().e_tag.unwrap()
}
