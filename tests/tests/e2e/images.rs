//! Photos as buckets of all kinds give them: bodies without a length, checksums, versions, URLs of other services, formats
//! that Textract does not read, and photos that cannot be given to it.

use std::sync::{Arc, Mutex};

use host::aws::{self, AwsOverrides};
use host::failure::{Failure, FailureKind as K};
use host::ocr::local::{self, Fault, LocalTextract, Reader};
use host::storage::{Image, Images};
use tests::{SOURCE, World, answer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// An S3 that answers each request with these bytes, by its first line, and hangs up.
struct RawS3 {
    endpoint: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl RawS3 {
    async fn start(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
                while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                    match stream.read(&mut buffer).await {
                        Ok(count) if count > 0 => request.extend_from_slice(&buffer[..count]),
                        _ => break,
                    }
                }
                let request = String::from_utf8_lossy(&request).lines().next().unwrap_or_default().to_owned();
                let _ = stream.write_all(&answer(&request)).await;
                let _ = stream.shutdown().await;
                log.lock().unwrap().push(request);
            }
        });
        Self { endpoint, requests }
    }

    async fn fetch(&self, location: &str) -> Result<Image, Failure> {
        let overrides = AwsOverrides {
            region: Some("us-east-1".to_owned()),
            credentials: Some(("id".to_owned(), "secret".to_owned())),
            s3_endpoint: Some(self.endpoint.clone()),
            textract_endpoint: None,
        };
        let s3 = aws::load(&overrides).await.unwrap().s3;
        Images::new(s3, SOURCE.to_owned(), 64 << 20).fetch(Some(location)).await
    }
}

const PHOTO: &[u8] = b"\xff\xd8\xff\xe0 a photo";

fn http(head: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\n{head}\r\n").as_bytes(), body].concat()
}

fn chunk(body: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n"].concat()
}

#[tokio::test]
async fn a_body_without_a_length_is_whole_when_something_says_so() {
    const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
    const CLOSE: &str = "Connection: close\r\n";
    let (whole, half) = (chunk(PHOTO), chunk(&PHOTO[..6]));
    let ended = [&half[..], &chunk(&PHOTO[6..]), b"0\r\n\r\n"].concat();
    let sized = |size: usize| format!("Content-Length: {size}\r\n");
    for (what, get, head, is_whole) in [
        ("chunks that end", http(CHUNKED, &ended), sized(9_999), true),
        ("chunks that are cut off", http(CHUNKED, &whole), sized(PHOTO.len()), false),
        ("as many bytes as HEAD says", http(CLOSE, PHOTO), sized(PHOTO.len()), true),
        ("fewer bytes than HEAD says", http(CLOSE, &PHOTO[..8]), sized(PHOTO.len()), false),
        ("nobody says how many", http(CLOSE, PHOTO), CLOSE.to_owned(), false),
        ("fewer than were announced", http(&sized(99), PHOTO), sized(99), false),
    ] {
        let s3 = RawS3::start(move |request| if request.starts_with("HEAD") { http(&head, b"") } else { get.clone() });
        let fetched = s3.await.fetch("a.jpg").await;
        match (is_whole, fetched) {
            (true, fetched) => assert_eq!(fetched.expect(what).bytes, PHOTO, "{what}"),
            (false, Err(failure)) => {
                assert_eq!(
                    (failure.kind, failure.code.as_str()),
                    (K::Unavailable, "s3.BrokenBody"),
                    "{what}: {failure}"
                );
            }
            (false, Ok(image)) => panic!("{what}: taken for whole: {:?}", image.bytes),
        }
    }
}

#[tokio::test]
async fn a_version_is_read_as_asked_and_a_checksum_that_differs_is_named() {
    let s3 = RawS3::start(|_| http(&format!("Content-Length: {}\r\n", PHOTO.len()), PHOTO)).await;
    s3.fetch(&format!("https://{SOURCE}.s3.amazonaws.com/a.jpg?versionId=3%2B4")).await.unwrap();
    let request = s3.requests.lock().unwrap()[0].clone();
    assert!(request.contains("versionId=3%2B4"), "{request}");

    let wrong = format!("Content-Length: {}\r\nx-amz-checksum-crc32: AAAAAA==\r\n", PHOTO.len());
    let failure = RawS3::start(move |_| http(&wrong, PHOTO)).await.fetch("a.jpg").await.unwrap_err();
    assert_eq!((failure.kind, failure.code.as_str()), (K::Unavailable, "s3.BrokenBody"), "{failure}");
    assert!(failure.message.contains("checksum"), "{failure}");
}

#[tokio::test]
async fn checksums_of_parts_are_no_warning() {
    let world = World::new().await;
    let s3 = RawS3::start(|request| match request {
        head if head.starts_with("HEAD") && head.contains("/ocr/") => {
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec()
        }
        get if get.starts_with("GET") && get.contains(".jpg") => {
            let parts = "x-amz-checksum-crc32: AAAAAA==-2\r\n";
            http(&format!("Content-Length: {}\r\n{parts}Connection: close\r\n", PHOTO.len()), PHOTO)
        }
        _ => http("Content-Length: 0\r\nConnection: close\r\n", b""),
    });
    let receipt = world.insert("a.jpg").await;
    let finished = world.run(&["--once"]).env("AWS_ENDPOINT_URL_S3", s3.await.endpoint).run().await;
    assert_eq!(world.status_of(&receipt).await, "ocr_done", "{}", finished.stderr);
    assert!(!finished.stderr.contains("checksum"), "{}", finished.stderr);
}

#[tokio::test]
async fn urls_of_other_services_name_keys_of_the_bucket() {
    let world = World::new().await;
    world.photo("a b.jpg").await;
    world.photo("c+d.jpg").await;
    let endpoint = world.s3.endpoint();
    for url in [
        format!("{endpoint}/{SOURCE}/a%20b.jpg?X-Amz-Signature=1"),
        format!("https://{SOURCE}.s3.amazonaws.com/a+b.jpg"),
        // Where there is nothing by the name that S3 would take it for.
        format!("https://{SOURCE}.s3.amazonaws.com/c+d.jpg"),
        format!("https://0123456789abcdef0123456789abcdef.r2.cloudflarestorage.com/{SOURCE}/a%20b.jpg"),
        format!("https://ref.supabase.co/storage/v1/object/public/{SOURCE}/a%20b.jpg"),
        format!("https://ref.supabase.co/storage/v1/object/sign/{SOURCE}/a%20b.jpg?token=1"),
    ] {
        let receipt = world.insert(&url).await;
        world.once().await;
        assert_eq!(world.status_of(&receipt).await, "ocr_done", "{url}");
    }
}

async fn epitaph(world: &World, receipt: &str) -> String {
    let sql = "SELECT concat_ws('|', error_kind, error_code, attempts, error_message) FROM receipt_queue_dlq
        WHERE receipt_id::text = $1";
    world.text(sql, &[&receipt]).await
}

#[tokio::test]
async fn a_large_photo_on_an_s3_that_is_not_awss_dies_with_the_reason() {
    let world = World::new().await;
    // As the real one: it reads nothing from this S3.
    let textract = LocalTextract::start(local::Settings::new(Reader::recorded(answer("A", "1.00", "2024-01-01"))));
    let textract = textract.await.unwrap();
    let mut bytes = PHOTO.to_vec();
    bytes.resize(6 * 1024 * 1024, 7);
    world.put("large.jpg", bytes).await;
    let receipt = world.insert("large.jpg").await;
    world.run(&["--once"]).env("AWS_ENDPOINT_URL_TEXTRACT", textract.endpoint()).run().await.ok();
    let said = epitaph(&world, &receipt).await;
    assert!(
        said.starts_with("document-too-large|image.TooLargeForRequest|1|") && said.contains("store it smaller"),
        "{said}"
    );
    assert_eq!(textract.calls(), 0);
}

#[tokio::test]
async fn what_textract_does_not_read_is_named_and_costs_nothing() {
    let world = World::new().await;
    for (name, bytes, said) in [
        ("iphone.jpg", &b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"[..], "HEIC, as iPhones make it"),
        ("chrome.jpg", b"RIFF\x24\0\0\0WEBPVP8 ", "WebP"),
        ("error.jpg", b"<!DOCTYPE html><html>", "HTML"),
        ("base64.jpg", b"/9j/4AAQSkZJRgABAQ", "Base64 text of a JPEG"),
    ] {
        world.put(name, bytes.to_vec()).await;
        let receipt = world.insert(name).await;
        world.once().await;
        let epitaph = epitaph(&world, &receipt).await;
        assert!(epitaph.starts_with("unsupported-document|image.UnsupportedFormat|1|"), "{epitaph}");
        assert!(epitaph.contains(said) && epitaph.contains("neither JPEG"), "{epitaph}");

        let file = world.dir().join(name);
        std::fs::write(&file, bytes).unwrap();
        let error = world.host().arg("enqueue").arg(&file).run().await.error();
        assert!(error.contains(name) && error.contains(said), "{error}");
    }
    assert_eq!((world.count("receipts").await, world.textract.requests()), (4, 0));
}

#[tokio::test]
async fn several_pages_are_named_beside_textracts_own_error() {
    let world = World::new().await;
    for (name, bytes, said) in [
        ("two.pdf", &b"%PDF-1.4\n<< /Type /Page >>\n<< /Type /Page >>"[..], "it has 2 pages"),
        ("hidden.pdf", b"%PDF-1.5\n(compressed)", "has it several pages?"),
    ] {
        world.put(name, bytes.to_vec()).await;
        let receipt = world.insert(name).await;
        world.textract.faults().next(
            1,
            Fault::Error {
                kind: "UnsupportedDocumentException".to_owned(),
                status: 400,
                message: "Request has unsupported document format".to_owned(),
            },
        );
        world.once().await;
        let epitaph = epitaph(&world, &receipt).await;
        assert!(epitaph.starts_with("unsupported-document|textract.UnsupportedDocumentException|1|"), "{epitaph}");
        assert!(epitaph.contains(said) && epitaph.contains("unsupported document format"), "{epitaph}");
    }
}

#[tokio::test]
async fn a_key_that_looks_encoded_and_is_not_there_is_told_what_was_meant() {
    let world = World::new().await;
    world.photo("a b.jpg").await;
    let receipt = world.insert("a%20b.jpg").await;
    world.execute("UPDATE receipt_queue SET enqueued_at = now() - interval '1 hour'").await;
    world.once().await;
    let epitaph = epitaph(&world, &receipt).await;
    assert!(epitaph.starts_with("not-found|") && epitaph.contains("did you mean \"a b.jpg\""), "{epitaph}");
}
