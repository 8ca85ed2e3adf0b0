//! The local Textract as the AWS SDK sees it.

use std::time::Duration;

use crate::support::{local_s3, receipt, s3_client, textract_client};
use aws_sdk_textract::error::ProvideErrorMetadata as _;
use aws_sdk_textract::operation::RequestId as _;
use aws_sdk_textract::operation::detect_document_text::DetectDocumentTextOutput;
use aws_sdk_textract::primitives::Blob;
use aws_sdk_textract::types::{Block, BlockType, Document, FeatureType, S3Object, TextType};
use host::ocr::local::{Fault, LocalTextract, MAX_INLINE_BYTES, MAX_S3_BYTES, Reader, Recordings, Settings, sha256};

const ANSWER: &[u8] = br#"{"Blocks":[],"DetectDocumentTextModelVersion":"1.0","DocumentMetadata":{"Pages":1}}"#;
/// Enough of a JPEG for a service that answers from a recording.
const JPEG: &[u8] = b"\xff\xd8\xff\xe0 not really";

#[tokio::test]
async fn a_receipt_is_read_into_blocks() {
    let textract = LocalTextract::start(Settings::new(Reader::tesseract())).await.unwrap();
    let client = textract_client(&textract.endpoint());
    let image = receipt("X51005337872.jpg");
    let output = client.detect_document_text().document(inline(&image)).send().await.unwrap();

    assert!(output.request_id().is_some());
    assert_eq!(output.detect_document_text_model_version(), Some("1.0"));
    assert_eq!(output.document_metadata().and_then(|metadata| metadata.pages()), Some(1));
    let blocks = output.blocks();
    let of_kind = |kind: BlockType| blocks.iter().filter(|block| block.block_type() == Some(&kind)).collect::<Vec<_>>();
    let (pages, lines, words) = (of_kind(BlockType::Page), of_kind(BlockType::Line), of_kind(BlockType::Word));
    assert_eq!(pages.len(), 1);
    assert_eq!(children(pages.first().unwrap()), lines.iter().map(|line| line.id().unwrap()).collect::<Vec<_>>());
    let grandchildren: Vec<&str> = lines.iter().flat_map(|line| children(line)).collect();
    assert_eq!(grandchildren, words.iter().map(|word| word.id().unwrap()).collect::<Vec<_>>());
    assert!(lines.iter().any(|line| line.text() == Some("SYL ROASTED DELIGHTS SDN. BHD.")));
    for word in &words {
        assert_eq!(word.text_type(), Some(&TextType::Printed));
        assert!((0.0..=100.0).contains(&word.confidence().unwrap()));
        let geometry = word.geometry().unwrap();
        let bounding = geometry.bounding_box().unwrap();
        assert!(bounding.left() >= 0.0 && bounding.left() + bounding.width() <= 1.001);
        assert!(bounding.top() >= 0.0 && bounding.top() + bounding.height() <= 1.001);
        assert_eq!(geometry.polygon().len(), 4);
    }

    // The same image gives the same bytes.
    let first = textract.body_for(&sha256(&image)).unwrap();
    client.detect_document_text().document(inline(&image)).send().await.unwrap();
    assert_eq!(textract.last_body(), Some(first));
    assert_eq!(textract.calls(), 2);
    assert_eq!(textract.calls_by_image().get(&sha256(&image)), Some(&2));
    textract.stop().await;
}

/// A photo with an orientation in EXIF, beside another entry.
fn oriented(jpeg: &[u8], orientation: u16, big: bool) -> Vec<u8> {
    let short = |number: u16| if big { number.to_be_bytes() } else { number.to_le_bytes() };
    let long = |number: u32| if big { number.to_be_bytes() } else { number.to_le_bytes() };
    let entry = |tag: u16, value: u16| [&short(tag)[..], &short(3), &long(1), &short(value), &short(0)].concat();
    let head: &[u8] = if big { b"Exif\0\0MM\0*" } else { b"Exif\0\0II*\0" };
    let exif = [head, &long(8), &short(2), &entry(0x0100, 432), &entry(0x0112, orientation), &long(0)].concat();
    let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
    let (start, rest) = jpeg.split_at(2);
    [start, b"\xff\xe1", &length, &exif, rest].concat()
}

#[tokio::test]
async fn a_photo_that_lies_on_its_side_is_read_upright() {
    let textract = LocalTextract::start(Settings::new(Reader::tesseract())).await.unwrap();
    let client = textract_client(&textract.endpoint());
    let read =
        async |bytes: &[u8]| text_of(&client.detect_document_text().document(inline(bytes)).send().await.unwrap());
    // The pixels as a camera that was held so would have stored them.
    let stored = |orientation: u16| std::fs::read(format!("../tests/fixtures/turned/{orientation}.jpg")).unwrap();
    let upright = read(&stored(1)).await;
    let lines: Vec<&str> = upright.lines().collect();
    assert!(lines.len() > 15, "{upright}");
    // JPEG's blocks are not decoded alike to the last bit when they are turned.
    let alike = |read: &str| read.lines().filter(|line| lines.contains(line)).count();
    for orientation in 2..=8 {
        let photo = stored(orientation);
        let turned = read(&oriented(&photo, orientation, orientation % 2 == 0)).await;
        assert!(alike(&turned) >= lines.len() - 3 && turned.lines().count() == lines.len(), "{orientation}: {turned}");
        let as_stored = read(&photo).await;
        assert!(alike(&as_stored) < 3, "{orientation}: {as_stored}");
    }
    // One that is upright stays so, and so does one whose EXIF says nothing that is known.
    for orientation in [0, 1, 9] {
        assert_eq!(read(&oriented(&stored(1), orientation, true)).await, upright, "{orientation}");
    }
    textract.stop().await;
}

#[tokio::test]
async fn the_other_operations_give_the_same_blocks() {
    let textract = LocalTextract::start(Settings::new(Reader::tesseract())).await.unwrap();
    let client = textract_client(&textract.endpoint());
    let image = receipt("X51005337872.jpg");
    let text = client.detect_document_text().document(inline(&image)).send().await.unwrap();

    let expense = client.analyze_expense().document(inline(&image)).send().await.unwrap();
    let expense = expense.expense_documents().first().unwrap();
    assert_eq!(expense.expense_index(), Some(1));
    assert!(expense.summary_fields().is_empty() && expense.line_item_groups().is_empty());
    assert_eq!(expense.blocks(), text.blocks());

    let analyzed = client.analyze_document().document(inline(&image)).feature_types(FeatureType::Forms).send().await;
    assert_eq!(analyzed.unwrap().blocks(), text.blocks());
}

#[tokio::test]
async fn an_operation_that_is_not_served_is_unknown() {
    let (textract, client) = recorded().await;
    let error = client.analyze_id().document_pages(inline(JPEG)).send().await.unwrap_err();
    assert_eq!(error.code(), Some("UnknownOperationException"));
    assert_eq!(error.raw_response().unwrap().status().as_u16(), 400);
    assert_eq!(textract.calls(), 0);
}

#[tokio::test]
async fn what_textract_refuses_is_refused() {
    let textract = LocalTextract::start(Settings::new(Reader::tesseract())).await.unwrap();
    let client = textract_client(&textract.endpoint());
    let with_jpeg_magic = |size: usize| {
        let mut bytes = JPEG.to_vec();
        bytes.resize(size, 0);
        bytes
    };
    let half_a_jpeg = receipt("X51005337872.jpg").split_off(0).into_iter().take(3000).collect::<Vec<u8>>();
    for (bytes, code) in [
        (b"a text file that is named .jpg".to_vec(), "UnsupportedDocumentException"),
        (b"/etc/passwd\n".to_vec(), "UnsupportedDocumentException"),
        (b"GIF89a".to_vec(), "UnsupportedDocumentException"),
        (Vec::new(), "BadDocumentException"),
        (half_a_jpeg, "BadDocumentException"),
        (with_jpeg_magic(MAX_INLINE_BYTES), "BadDocumentException"),
        (with_jpeg_magic(MAX_INLINE_BYTES + 1), "DocumentTooLargeException"),
        (with_jpeg_magic(MAX_S3_BYTES), "DocumentTooLargeException"),
        (with_jpeg_magic(2 * MAX_S3_BYTES), "RequestEntityTooLargeException"),
    ] {
        let size = bytes.len();
        let error = client.detect_document_text().document(inline(&bytes)).send().await.unwrap_err();
        assert_eq!(error.code(), Some(code), "{size} bytes: {error:?}");
        assert!(!error.message().unwrap_or_default().is_empty());
        let status = if code == "RequestEntityTooLargeException" { 413 } else { 400 };
        assert_eq!(error.raw_response().unwrap().status().as_u16(), status);
    }
    let error = client.detect_document_text().document(Document::builder().build()).send().await.unwrap_err();
    assert!(error.into_service_error().is_invalid_parameter_exception());
    assert_eq!(textract.calls(), 0);
}

#[tokio::test]
async fn a_pdf_of_one_page_is_read_where_poppler_is() {
    let textract = LocalTextract::start(Settings::new(Reader::tesseract())).await.unwrap();
    let client = textract_client(&textract.endpoint());
    let read = async |pages| client.detect_document_text().document(inline(&pdf(pages))).send().await;
    let poppler = std::process::Command::new("pdfinfo").arg("-v").output().is_ok();

    let one = read(1).await;
    if poppler {
        let output = one.unwrap();
        assert!(text_of(&output).contains("TOTAL 12.30"), "{}", text_of(&output));
    } else {
        let error = one.unwrap_err();
        assert!(error.message().unwrap().contains("poppler-utils"));
        assert!(error.into_service_error().is_unsupported_document_exception());
    }
    assert!(read(2).await.unwrap_err().into_service_error().is_unsupported_document_exception());
}

#[tokio::test]
async fn an_image_in_s3_is_read() {
    let (s3, _root) = local_s3().await;
    let bucket = s3_client(&s3);
    for (key, body) in [("good.jpg", JPEG.to_vec()), ("empty.jpg", Vec::new()), ("huge.jpg", vec![0; MAX_S3_BYTES + 1])]
    {
        bucket.put_object().bucket("receipts").key(key).body(body.into()).send().await.unwrap();
    }
    let mut settings = Settings::new(Reader::recorded(ANSWER));
    settings.s3 = Some(bucket);
    let textract = LocalTextract::start(settings).await.unwrap();
    let client = textract_client(&textract.endpoint());
    let read = |bucket: &str, key: &str| {
        let object = S3Object::builder().bucket(bucket).name(key).build();
        client.detect_document_text().document(Document::builder().s3_object(object).build()).send()
    };

    read("receipts", "good.jpg").await.unwrap();
    assert_eq!(textract.calls_by_image().get(&sha256(JPEG)), Some(&1));
    let refused = async |bucket: &str, key: &str| read(bucket, key).await.unwrap_err().into_service_error();
    assert!(refused("receipts", "none.jpg").await.is_invalid_s3_object_exception());
    assert!(refused("no-such-bucket", "good.jpg").await.is_invalid_s3_object_exception());
    assert!(refused("receipts", "empty.jpg").await.is_bad_document_exception());
    assert!(refused("receipts", "huge.jpg").await.is_document_too_large_exception());

    let (_textract, client) = recorded().await;
    let object = S3Object::builder().bucket("receipts").name("good.jpg").build();
    let document = Document::builder().s3_object(object).build();
    let error = client.detect_document_text().document(document).send().await.unwrap_err();
    assert!(error.into_service_error().is_invalid_s3_object_exception());
}

#[tokio::test]
async fn recorded_answers_go_out_unchanged() {
    let dir = tempfile::TempDir::new().unwrap();
    std::fs::write(dir.path().join(format!("{}.json", sha256(JPEG))), ANSWER).unwrap();
    std::fs::write(dir.path().join("README.md"), "not an answer").unwrap();
    let recordings = Recordings::from_dir(dir.path()).unwrap();
    let textract = LocalTextract::start(Settings::new(Reader::Recorded(recordings))).await.unwrap();
    let client = textract_client(&textract.endpoint());

    client.detect_document_text().document(inline(JPEG)).send().await.unwrap();
    assert_eq!(textract.last_body().as_deref(), Some(ANSWER));
    let other = client.detect_document_text().document(inline(b"\xff\xd8\xff other")).send().await.unwrap_err();
    assert!(other.into_service_error().is_internal_server_error());
}

#[tokio::test]
async fn faults_come_as_they_are_ordered() {
    let (textract, client) = recorded().await;
    let send = async || client.detect_document_text().document(inline(JPEG)).send().await;

    textract.faults().next(2, Fault::throttled());
    textract.faults().next(1, Fault::broken());
    assert!(send().await.unwrap_err().into_service_error().is_throttling_exception());
    assert!(send().await.unwrap_err().into_service_error().is_throttling_exception());
    let error = send().await.unwrap_err();
    assert_eq!(error.raw_response().unwrap().status().as_u16(), 500);
    assert!(error.into_service_error().is_internal_server_error());
    send().await.unwrap();
    assert_eq!(textract.calls(), 1);

    textract.faults().always(Fault::error("AccessDeniedException", 400));
    for _ in 0..3 {
        assert!(send().await.unwrap_err().into_service_error().is_access_denied_exception());
    }
    textract.faults().clear();
    send().await.unwrap();
    assert_eq!((textract.calls(), textract.requests()), (2, 8));
}

#[tokio::test]
async fn answers_can_be_late_broken_or_missing() {
    let (textract, client) = recorded().await;
    let send = async || client.detect_document_text().document(inline(JPEG)).send().await;

    let start = std::time::Instant::now();
    textract.faults().next(1, Fault::Delay(Duration::from_millis(200)));
    send().await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(200));

    textract.faults().next(1, Fault::HalfBody);
    let error = send().await.unwrap_err();
    assert!(error.as_service_error().is_none(), "half a body is no answer of the service: {error:?}");

    textract.faults().next(1, Fault::Garbage);
    assert!(send().await.is_err());

    textract.faults().next(1, Fault::Never);
    assert!(tokio::time::timeout(Duration::from_millis(200), send()).await.is_err());

    // All four were read, and AWS would have charged for them.
    assert_eq!(textract.calls(), 4);
}

#[tokio::test]
async fn requests_that_no_sdk_would_send_are_answered() {
    let (textract, _client) = recorded().await;
    let address = textract.endpoint().strip_prefix("http://").unwrap().to_owned();
    let target = "X-Amz-Target: Textract.DetectDocumentText\r\n";
    let signed = "Authorization: AWS4-HMAC-SHA256 Credential=local\r\n";
    for (line, headers, body, status, code) in [
        ("POST /", format!("{target}{signed}"), "{", 400, "SerializationException"),
        ("POST /", format!("{target}{signed}"), r#"{"Document":{"Bytes":"%%%"}}"#, 400, "SerializationException"),
        ("POST /", format!("{target}{signed}"), r#"{"Document":{"Bytes":7}}"#, 400, "SerializationException"),
        ("POST /", format!("{target}{signed}"), "{}", 400, "InvalidParameterException"),
        (
            "POST /",
            format!("{target}{signed}"),
            r#"{"Document":{"S3Object":{"Bucket":"b"}}}"#,
            400,
            "InvalidParameterException",
        ),
        ("POST /", target.to_owned(), "{}", 400, "MissingAuthenticationTokenException"),
        ("POST /", signed.to_owned(), "{}", 400, "UnknownOperationException"),
        ("GET /", format!("{target}{signed}"), "", 404, "UnknownOperationException"),
        ("POST /other", format!("{target}{signed}"), "", 404, "UnknownOperationException"),
    ] {
        let answer = raw(&address, line, &headers, body).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{line} {body}: {answer}");
        assert!(answer.contains(&format!("\"__type\":\"{code}\"")), "{line} {body}: {answer}");
        assert!(answer.to_lowercase().contains("content-type: application/x-amz-json-1.1"));
        assert!(answer.to_lowercase().contains("x-amzn-requestid: "));
    }
}

#[tokio::test]
async fn a_missing_tesseract_is_named_at_the_start() {
    let reader = Reader::Tesseract { path: "/nowhere/tesseract".into() };
    let error = LocalTextract::start(Settings::new(reader)).await.err().unwrap().to_string();
    assert!(error.contains("/nowhere/tesseract") && error.contains("apt-get install tesseract-ocr"), "{error}");
}

async fn recorded() -> (LocalTextract, aws_sdk_textract::Client) {
    let textract = LocalTextract::start(Settings::new(Reader::recorded(ANSWER))).await.unwrap();
    let client = textract_client(&textract.endpoint());
    (textract, client)
}

fn inline(bytes: &[u8]) -> Document {
    Document::builder().bytes(Blob::new(bytes)).build()
}

fn children(block: &Block) -> Vec<&str> {
    block.relationships().iter().flat_map(|relation| relation.ids()).map(String::as_str).collect()
}

fn text_of(output: &DetectDocumentTextOutput) -> String {
    let lines = output.blocks().iter().filter(|block| block.block_type() == Some(&BlockType::Line));
    lines.filter_map(Block::text).collect::<Vec<_>>().join("\n")
}

async fn raw(address: &str, line: &str, headers: &str, body: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let request = format!(
        "{line} HTTP/1.1\r\nHost: local\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// A PDF with a line of text on each page.
fn pdf(pages: usize) -> Vec<u8> {
    let content = "BT /F1 24 Tf 60 300 Td (TOTAL 12.30) Tj ET";
    let kids: String = (0..pages).map(|page| format!("{} 0 R ", 5 + page)).collect();
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        format!("<< /Type /Pages /Kids [ {kids}] /Count {pages} >>"),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
        format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len()),
    ];
    objects.extend((0..pages).map(|_| {
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 400] /Contents 4 0 R \
         /Resources << /Font << /F1 3 0 R >> >> >>"
            .to_owned()
    }));
    let mut pdf = "%PDF-1.4\n".to_owned();
    let mut offsets = Vec::new();
    for (number, object) in objects.iter().enumerate() {
        offsets.push(pdf.len());
        pdf += &format!("{} 0 obj\n{object}\nendobj\n", number + 1);
    }
    let table = pdf.len();
    pdf += &format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1);
    for offset in offsets {
        pdf += &format!("{offset:010} 00000 n \n");
    }
    pdf += &format!("trailer << /Size {} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n", objects.len() + 1);
    pdf.into_bytes()
}
