//! Every error of Textract and S3, through the real SDK, becomes the kind that docs/failures.md says. Nothing branches on
//! text, so this table is all that decides between "again" and "never again".

use host::aws::{self, AwsOverrides};
use host::failure::{Failure, FailureKind};
use host::ocr::local::{Fault, MAX_INLINE_BYTES};
use host::ocr::{OcrApi, OcrSource, Textract};
use host::storage::{Artifacts, Image, Images};
use tests::{ARTIFACTS, SOURCE, World, WorldSettings};

use FailureKind as K;

fn textract(world: &World, source: OcrSource) -> Textract {
    Textract::new(world.aws.textract.clone(), source, None)
}

async fn fetch(world: &World, key: &str) -> Result<Image, Failure> {
    Images::new(world.aws.s3.clone(), SOURCE.to_owned(), 64 << 20).fetch(Some(key)).await
}

async fn overrides(world: &World) -> AwsOverrides {
    AwsOverrides {
        region: Some("us-east-1".to_owned()),
        credentials: Some((world.s3.access_key().to_owned(), world.s3.secret_key().to_owned())),
        s3_endpoint: Some(world.s3.endpoint()),
        textract_endpoint: Some(world.textract.endpoint()),
    }
}

#[tokio::test]
async fn each_error_of_textract_has_its_kind() {
    let world = World::new().await;
    world.photo("a.jpg").await;
    let image = fetch(&world, "a.jpg").await.unwrap();
    let table = [
        ("ProvisionedThroughputExceededException", 400, K::Throttled),
        ("ThrottlingException", 400, K::Throttled),
        ("LimitExceededException", 400, K::Throttled),
        ("TooManyRequestsException", 429, K::Throttled),
        ("SomethingNewException", 429, K::Throttled),
        ("InternalServerError", 500, K::Unavailable),
        ("ServiceUnavailableException", 503, K::Unavailable),
        ("SomethingNewException", 502, K::Unavailable),
        ("RequestTimeoutException", 408, K::TimedOut),
        ("AccessDeniedException", 400, K::AccessDenied),
        ("UnrecognizedClientException", 400, K::AccessDenied),
        ("InvalidSignatureException", 403, K::AccessDenied),
        ("ExpiredTokenException", 400, K::AccessDenied),
        ("MissingAuthenticationTokenException", 403, K::AccessDenied),
        ("InvalidS3ObjectException", 400, K::AccessDenied),
        ("InvalidKMSKeyException", 400, K::AccessDenied),
        ("SomethingNewException", 403, K::AccessDenied),
        ("BadDocumentException", 400, K::BadDocument),
        ("DocumentTooLargeException", 400, K::DocumentTooLarge),
        ("UnsupportedDocumentException", 400, K::UnsupportedDocument),
        ("InvalidParameterException", 400, K::InvalidRequest),
        ("ValidationException", 400, K::InvalidRequest),
        ("SerializationException", 400, K::InvalidRequest),
        ("UnknownOperationException", 400, K::InvalidRequest),
        ("SomethingNewException", 404, K::Unavailable),
        ("SomethingNewException", 400, K::Internal),
    ];
    for api in [OcrApi::Detect, OcrApi::Expense] {
        for (code, status, kind) in table {
            world.textract.faults().next(1, Fault::error(code, status));
            let before = world.textract.requests();
            let failure = textract(&world, OcrSource::Bytes).read(&image, api).await.unwrap_err();
            assert_eq!(failure.kind, kind, "{code} {status}: {failure}");
            assert_eq!(failure.code, format!("textract.{code}"), "{code} {status}");
            assert!(failure.message.contains("a.jpg") && failure.message.contains(code), "{failure}");
            // The SDK tries nothing again by itself: each try may cost money, and the component decides.
            assert_eq!(world.textract.requests(), before + 1, "{code} {status}");
        }
    }
}

#[tokio::test]
async fn broken_answers_and_dead_endpoints_have_their_kinds() {
    let world = World::new().await;
    world.photo("a.jpg").await;
    let image = fetch(&world, "a.jpg").await.unwrap();
    for fault in [Fault::HalfBody, Fault::Garbage] {
        world.textract.faults().next(1, fault.clone());
        let failure = textract(&world, OcrSource::Bytes).read(&image, OcrApi::Detect).await.unwrap_err();
        // It was paid for, and the next one will be: a kind that is charged, so that it has an end.
        assert_eq!((failure.kind, failure.code.as_str()), (K::Internal, "textract.BrokenBody"), "{fault:?}: {failure}");
    }
    let nobody = AwsOverrides { textract_endpoint: Some("http://127.0.0.1:1".to_owned()), ..overrides(&world).await };
    let nobody = Textract::new(aws::load(&nobody).await.unwrap().textract, OcrSource::Bytes, None);
    let failure = nobody.read(&image, OcrApi::Detect).await.unwrap_err();
    assert_eq!((failure.kind, failure.code.as_str()), (K::Unavailable, "textract.Unreachable"), "{failure}");
}

#[tokio::test]
async fn a_broken_answer_is_tried_again_charged_and_a_broken_service_uncharged() {
    let world = World::new().await;
    let (receipt, _) = world.receipt("a.jpg").await;
    let faults = [(Fault::HalfBody, "1|internal"), (Fault::Garbage, "2|internal"), (Fault::broken(), "2|unavailable")];
    for (fault, expected) in faults {
        world.textract.faults().next(1, fault.clone());
        assert_eq!(world.once().await["retried"], 1, "{fault:?}");
        let row = "SELECT concat_ws('|', attempts, last_error_kind) FROM receipt_queue";
        assert_eq!(world.text(row, &[]).await, expected, "{fault:?}");
        crate::pump::expire(&world).await;
    }
    world.once().await;
    assert_eq!(world.status_of(&receipt).await, "ocr_done");
}

#[tokio::test]
async fn each_error_of_s3_has_its_kind() {
    let world = World::new().await;
    world.photo("a.jpg").await;
    let check = |what: &str, failure: Failure, kind: K, code: &str| {
        assert_eq!((failure.kind, failure.code.as_str()), (kind, code), "{what}: {failure}");
        assert!(failure.message.contains("s3://"), "{what}: {failure}");
    };
    check("no key", fetch(&world, "nowhere.jpg").await.unwrap_err(), K::NotFound, "s3.NoSuchKey");

    let fetch_with = async |overrides: AwsOverrides, bucket: &str| {
        let s3 = aws::load(&overrides).await.unwrap().s3;
        Images::new(s3, bucket.to_owned(), 64 << 20).fetch(Some("a.jpg")).await.unwrap_err()
    };
    let usual = overrides(&world).await;
    check("no bucket", fetch_with(usual.clone(), "not-there").await, K::AccessDenied, "s3.NoSuchBucket");
    let wrong = |id: &str, secret: &str| AwsOverrides {
        credentials: Some((id.to_owned(), secret.to_owned())),
        ..usual.clone()
    };
    let failure = fetch_with(wrong(world.s3.access_key(), "wrong"), SOURCE).await;
    check("wrong secret", failure, K::AccessDenied, "s3.SignatureDoesNotMatch");
    let failure = fetch_with(wrong("nobody", "wrong"), SOURCE).await;
    assert_eq!(failure.kind, K::AccessDenied, "{failure}");
    let nobody = AwsOverrides { s3_endpoint: Some("http://127.0.0.1:1".to_owned()), ..usual.clone() };
    check("unreachable", fetch_with(nobody.clone(), SOURCE).await, K::Unavailable, "s3.Unreachable");

    // The same for artifacts; one that is not there is no failure when it is looked for.
    let artifacts = Artifacts::new(world.aws.s3.clone(), ARTIFACTS.to_owned());
    assert_eq!(artifacts.find("ocr/nowhere.json").await, Ok(None));
    check("no artifact", artifacts.read("ocr/nowhere.json").await.unwrap_err(), K::NotFound, "s3.NoSuchKey");
    let metadata = || ["a", "b", "c", "d"].map(|name| (name, String::new()));
    let body = || std::sync::Arc::from(b"{}".to_vec());
    let elsewhere = Artifacts::new(world.aws.s3.clone(), "not-there".to_owned());
    let failure = elsewhere.store("ocr/a.json", body(), metadata()).await.unwrap_err();
    check("no artifact bucket", failure, K::AccessDenied, "s3.NoSuchBucket");
    let unreachable = Artifacts::new(aws::load(&nobody).await.unwrap().s3, ARTIFACTS.to_owned());
    let failure = unreachable.store("ocr/a.json", body(), metadata()).await.unwrap_err();
    check("unreachable artifacts", failure, K::Unavailable, "s3.Unreachable");
}

/// A photo of this size that a recorded answer does for.
async fn photo_of(world: &World, size: usize) {
    let mut bytes = b"\xff\xd8\xff\xe0".to_vec();
    bytes.resize(size, 7);
    world.put("large.jpg", bytes).await;
    world.insert("large.jpg").await;
}

#[tokio::test]
async fn an_image_too_large_for_a_request_goes_by_reference() {
    let world = World::new().await;
    // The local Textract refuses this inline, as the real one does.
    photo_of(&world, 6 * 1024 * 1024).await;
    const { assert!(6 * 1024 * 1024 > MAX_INLINE_BYTES) };
    assert_eq!(world.once().await["processed"], 1);
    assert_eq!(world.textract.calls(), 1);
}

#[tokio::test]
async fn an_image_as_large_as_a_request_may_be_goes_inline() {
    let world = World::new().await;
    photo_of(&world, MAX_INLINE_BYTES).await;
    assert_eq!(world.once().await["processed"], 1);
}

#[tokio::test]
async fn images_go_by_reference_when_that_is_asked_for() {
    let world = World::new().await;
    world.receipt("folder/a b+é.jpg").await;
    let summary = world.run(&["--once", "--textract-source", "s3"]).run().await.json();
    assert_eq!(summary["processed"], 1);
    // It did go by reference: without the object Textract cannot know it.
    let image = fetch(&world, "folder/a b+é.jpg").await.unwrap();
    world.aws.s3.delete_object().bucket(SOURCE).key("folder/a b+é.jpg").send().await.unwrap();
    let failure = textract(&world, OcrSource::S3).read(&image, OcrApi::Detect).await.unwrap_err();
    assert_eq!((failure.kind, failure.code.as_str()), (K::AccessDenied, "textract.InvalidS3ObjectException"));
    textract(&world, OcrSource::Bytes).read(&image, OcrApi::Detect).await.unwrap();
}

#[tokio::test]
async fn analyze_expense_is_called_when_it_is_asked_for_and_kept_apart() {
    // Summary fields that no text of the page has: only the expense call's own reading can give them.
    let expense = br#"{"DocumentMetadata":{"Pages":1},"ExpenseDocuments":[{"ExpenseIndex":1,"SummaryFields":[
        {"Type":{"Text":"VENDOR_NAME","Confidence":99.0},"ValueDetection":{"Text":"Expense Only Ltd","Confidence":98.0},"PageNumber":1},
        {"Type":{"Text":"TOTAL","Confidence":99.0},"ValueDetection":{"Text":"$77.70","Confidence":97.0},"PageNumber":1}
    ],"LineItemGroups":[]}]}"#;
    let reader = Some(host::ocr::local::Reader::recorded(&expense[..]));
    let world = World::with(WorldSettings { reader, ..Default::default() }).await;
    let (receipt, photo) = world.receipt("a.jpg").await;
    let summary = world.run(&["--once", "--ocr-api", "expense"]).run().await.json();
    assert_eq!(summary["processed"], 1);
    let fields = "SELECT concat_ws('|', vendor_text, total_amount) FROM receipts";
    assert_eq!(world.text(fields, &[]).await, "Expense Only Ltd|77.70");
    let key = world.text("SELECT ocr_s3_key FROM receipts", &[]).await;
    assert_eq!(key, format!("ocr/{receipt}/{}.expense.json", photo.digest));
    assert_eq!(world.artifact(&key).await, expense);
}

#[tokio::test]
async fn what_textract_said_to_one_call_is_not_taken_for_the_other() {
    let world = World::new().await;
    let (_, photo) = world.receipt("a.jpg").await;
    world.once().await;
    world.execute("UPDATE receipts SET status = 'pending'").await;
    world.run(&["--once", "--ocr-api", "expense"]).run().await.ok();
    assert_eq!(world.textract.calls_by_image()[&photo.digest], 2);
}

/// The whole way with a reader of pixels: a real photo of a receipt.
#[tokio::test]
async fn a_real_photo_is_read_by_tesseract() {
    let reader = Some(host::ocr::local::Reader::tesseract());
    let world = World::with(WorldSettings { reader, ..Default::default() }).await;
    let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/receipts/X51005337872.jpg");
    let finished = world.host().args(["enqueue", photo]).run().await;
    finished.ok();
    assert_eq!(world.once().await["processed"], 1);
    let vendor = world.text("SELECT vendor_text FROM receipts", &[]).await;
    assert!(vendor.contains("SYL ROASTED DELIGHTS"), "{vendor}");
}
