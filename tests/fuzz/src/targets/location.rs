//! Where a receipt's image is: any text that an app may write.

use host::failure::FailureKind;
use host::storage::locate;

use crate::Target;

pub const TARGET: Target = Target {
    name: "location",
    run,
    seeds: || SEEDS.iter().map(|seed| seed.as_bytes().to_vec()).collect(),
    longest: 2048,
    words: &[
        "s3://",
        "S3://",
        "https://",
        "http://",
        "file://",
        "data:",
        ".s3.",
        ".s3-",
        "s3.dualstack.",
        "amazonaws.com",
        ".amazonaws.com.cn",
        ":443",
        "eu-west-1",
        "my.receipts",
        "/../",
        "/./",
        "..",
        "%2e%2e",
        "%2F",
        "%00",
        "%zz",
        "?",
        "#",
        "@",
        "X-Amz-Signature=",
        "//",
        "\\",
    ],
};

const BUCKET: &str = "my.receipts";
const SECRET: &str = "S3CR3Tsignature";

const SEEDS: [&str; 12] = [
    "receipts/test/image.jpg",
    "s3://my.receipts/a/b.jpg",
    "S3://my.receipts/100%.jpg",
    "https://my.receipts.s3.amazonaws.com/a.jpg",
    "https://my.receipts.s3.eu-west-1.amazonaws.com/a%20b/%C3%A9.jpg?X-Amz-Signature=1",
    "https://my.receipts.s3-us-west-2.amazonaws.com/a.jpg",
    "https://s3.dualstack.us-east-1.amazonaws.com:443/my.receipts/a.jpg",
    "https://my.receipts.s3.cn-north-1.amazonaws.com.cn/a.jpg",
    "https://user:word@my.receipts.s3.amazonaws.com/a.jpg#f",
    "https://my.receipts.s3.amazonaws.com/%2e%2e/%2E/a.jpg",
    "data:image/png;base64,AAAA",
    "a/../../other/b.jpg",
];

fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let located = locate(Some(text), BUCKET);
    assert_eq!(located, locate(Some(text), BUCKET), "another answer to the same text");
    match located {
        Ok(location) => {
            let key = location.key;
            assert!(!key.is_empty() && key.len() <= 1024, "{} bytes", key.len());
            assert!(!key.chars().any(char::is_control), "{key:?} has control characters");
            assert!(!key.split('/').any(|part| matches!(part, "." | "..")), "{key:?} leads elsewhere");
            // Written down as what it is, it is found again; but for spaces around it, which only a URL can name.
            if key.trim() == key {
                let written = format!("s3://{BUCKET}/{key}");
                assert_eq!(locate(Some(&written), BUCKET).map(|location| location.key), Ok(key.clone()), "{written:?}");
            }
            // Whatever host it names, it is this bucket's. A host's name may be in capitals.
            if let Some((scheme, rest)) = text.trim().split_once("://") {
                let rest = rest.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
                let named = rest.starts_with(BUCKET) || rest.contains(&format!("/{BUCKET}/"));
                assert!(named, "{scheme}://{rest} is followed to {key:?}");
            }
        }
        Err(failure) => {
            assert_eq!(failure.kind, FailureKind::BadLocation);
            assert!(failure.code.starts_with("image.") && failure.message.len() <= 1000, "{failure}");
        }
    }
    // A query is a credential, and so is what stands before an @.
    if !text.contains(SECRET) {
        for text in [format!("{text}?X-Amz-Signature={SECRET}"), format!("https://me:{SECRET}@{text}")] {
            if let Err(failure) = locate(Some(&text), BUCKET) {
                assert!(!failure.message.contains(SECRET), "{}", failure.message);
            }
        }
    }
}
