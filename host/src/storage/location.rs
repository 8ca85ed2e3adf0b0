//! Where a receipt's image is. An app writes a key, an `s3://` URL or an https S3 URL; whatever it writes, no request
//! ever leaves for another bucket or host than the configured one.

use super::url::{self, Named, Source};
use crate::failure::{Failure, FailureKind};

/// S3's limit for keys (docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html).
const LONGEST_KEY: usize = 1024;

/// An object in the source bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The object's key.
    pub key: String,
    /// What the key may be instead, where there is no object by the first.
    pub other_key: Option<String>,
    /// A version of it, where one is asked for.
    pub version: Option<String>,
}

/// Reads what the app wrote, for a bucket of AWS's.
pub fn locate(text: Option<&str>, source_bucket: &str) -> Result<Location, Failure> {
    locate_in(text, Source { bucket: source_bucket, endpoint: None })
}

/// Reads what the app wrote.
pub fn locate_in(text: Option<&str>, source: Source<'_>) -> Result<Location, Failure> {
    let text = text.map(str::trim).filter(|text| !text.is_empty());
    let text =
        text.ok_or_else(|| bad("NoImage", "the receipt has no image: image_url and s3_key are empty".to_owned()))?;
    let starts = |start: &str| text.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start));
    let location = match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("s3") => {
            let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
            own_bucket(bucket, source)?;
            Location::of(key)
        }
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => of_url(text, url::https(rest, source), source)?,
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => match url::http(rest, source) {
            Some(named) => of_url(text, named, source)?,
            None => {
                let meant = shown(&format!("https://{rest}"));
                let why = format!("{:?}: only a key, s3://bucket/key or an https S3 URL is read", shown(text));
                return Err(bad("UnsupportedUrl", format!("{why}; did you mean {meant:?}?")));
            }
        },
        Some(_) => {
            return Err(bad(
                "UnsupportedUrl",
                format!("{:?}: only a key, s3://bucket/key or an https S3 URL is read", shown(text)),
            ));
        }
        None if starts("data:") => {
            return Err(bad("UnsupportedUrl", "a data: URL is not read; store the image in S3".to_owned()));
        }
        None if starts("arn:") => return Err(of_arn(text)),
        None => Location::of(text),
    };
    for key in std::iter::once(&location.key).chain(&location.other_key) {
        check_key(key, text)?;
    }
    if location.version.as_ref().is_some_and(|version| version.len() > LONGEST_KEY || !is_printable(version)) {
        return Err(bad("BadUrl", format!("{:?} asks for a version that is none of S3's", shown(text))));
    }
    Ok(location)
}

impl Location {
    fn of(key: &str) -> Self {
        Self { key: key.to_owned(), other_key: None, version: None }
    }

    /// The key as it would be if its percent signs were codes: what to ask for where there is no object by it.
    pub fn decoded_key(&self) -> Option<String> {
        let decoded = url::decoded(&self.key).filter(|decoded| *decoded != self.key)?;
        is_printable(&decoded).then_some(decoded)
    }
}

fn check_key(key: &str, text: &str) -> Result<(), Failure> {
    if key.is_empty() {
        return Err(bad("NoKey", format!("{:?} names no object", shown(text))));
    }
    if key.len() > LONGEST_KEY || !is_printable(key) {
        let why = format!("over {LONGEST_KEY} bytes, or control characters");
        return Err(bad("BadKey", format!("{:?} is no S3 key ({why})", shown(text))));
    }
    // The URL is normalised on the way: such a key would name another object than it says.
    if key.split('/').any(|part| part == "." || part == "..") {
        return Err(bad("BadKey", format!("{:?}: \".\" and \"..\" are not followed", shown(text))));
    }
    Ok(())
}

fn is_printable(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

fn of_url(text: &str, named: Named, source: Source<'_>) -> Result<Location, Failure> {
    match named {
        Named::Object { bucket, key, other_key, version } => {
            own_bucket(&bucket, source)?;
            Ok(Location { key, other_key, version })
        }
        Named::Garbled => Err(bad("BadUrl", format!("{:?} is not properly percent-encoded", shown(text)))),
        Named::Meant(meant) => {
            Err(bad("ForeignHost", format!("{:?} is not read; did you mean {:?}?", shown(text), shown(&meant))))
        }
        Named::Foreign => {
            Err(bad("ForeignHost", format!("{:?} is no S3 URL; nothing is fetched from other hosts", shown(text))))
        }
    }
}

/// `arn:aws:s3:::bucket/key`, and an access point's.
fn of_arn(text: &str) -> Failure {
    let resource = text.splitn(6, ':').nth(5).unwrap_or_default();
    let meant = match resource.split_once("/object/") {
        Some((point, key)) if point.starts_with("accesspoint/") => format!("s3://BUCKET/{key}"),
        _ => format!("s3://{resource}"),
    };
    let why = format!("{:?}: an ARN is not read, only a key, s3://bucket/key or an https S3 URL", shown(text));
    bad("UnsupportedUrl", format!("{why}; did you mean {:?}?", shown(&meant)))
}

fn own_bucket(bucket: &str, source: Source<'_>) -> Result<(), Failure> {
    if bucket == source.bucket {
        return Ok(());
    }
    let (bucket, own) = (shown(bucket), source.bucket);
    Err(bad("ForeignBucket", format!("the image is in bucket {bucket:?}; this worker reads {own:?} only")))
}

/// What the app wrote, fit for a message: messages reach logs, the database and traces, and a pre-signed URL's query is
/// a credential, as is what stands before an `@`.
fn shown(text: &str) -> String {
    // What only looks like a scheme may be a query that holds a URL.
    let is_scheme = |text: &str| text.bytes().all(|c| c.is_ascii_alphanumeric() || b"+-.".contains(&c));
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => (format!("{scheme}://"), rest),
        _ => (String::new(), text),
    };
    let cut = rest.find(['?', '#']).unwrap_or(rest.len());
    let rest = rest.get(..cut).unwrap_or_default();
    let authority = rest.find('/').unwrap_or(rest.len());
    let start = rest.get(..authority).and_then(|authority| authority.rfind('@')).map_or(0, |at| at + 1);
    format!("{scheme}{}", rest.get(start..).unwrap_or_default())
}

fn bad(code: &str, message: String) -> Failure {
    Failure::new(FailureKind::BadLocation, format!("image.{code}"), message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn key(text: &str) -> Result<String, String> {
        locate(Some(text), "my.receipts").map(|location| location.key).map_err(|failure| failure.code)
    }

    #[test]
    fn reads_what_apps_write() {
        for (text, expected) in [
            ("receipts/test/image.jpg", "receipts/test/image.jpg"),
            ("  a b+c.jpg ", "a b+c.jpg"),
            ("s3://my.receipts/a/b.jpg", "a/b.jpg"),
            ("S3://my.receipts/100%.jpg", "100%.jpg"),
            ("https://my.receipts.s3.amazonaws.com/a.jpg", "a.jpg"),
            ("https://my.receipts.s3.eu-west-1.amazonaws.com/a%20b/%C3%A9.jpg?X-Amz-Signature=1", "a b/é.jpg"),
            ("https://my.receipts.s3-us-west-2.amazonaws.com/a.jpg", "a.jpg"),
            ("https://s3.eu-west-1.amazonaws.com/my.receipts/a.jpg", "a.jpg"),
            ("https://s3.dualstack.us-east-1.amazonaws.com:443/my.receipts/a.jpg", "a.jpg"),
            ("https://my.receipts.s3.cn-north-1.amazonaws.com.cn/a.jpg", "a.jpg"),
        ] {
            assert_eq!(key(text).as_deref(), Ok(expected), "{text}");
        }
    }

    fn at(text: &str, endpoint: &str) -> Result<Location, String> {
        let source = Source { bucket: "my.receipts", endpoint: Some(endpoint) };
        locate_in(Some(text), source).map_err(|failure| failure.code)
    }

    #[test]
    fn reads_the_urls_of_the_configured_endpoint() {
        const R2: &str = "https://0123456789abcdef0123456789abcdef.r2.cloudflarestorage.com";
        for (endpoint, text) in [
            ("http://minio:9000", "http://minio:9000/my.receipts/a%20b.jpg"),
            ("http://minio:9000/", "http://my.receipts.minio:9000/a%20b.jpg?X-Amz-Signature=1"),
            ("https://S3.example", "https://s3.example:443/my.receipts/a+b.jpg"),
            ("https://s3.example/base/", "https://s3.example/base/my.receipts/a+b.jpg"),
            (R2, &format!("{R2}/my.receipts/a%20b.jpg")),
            ("http://127.0.0.1:9000", &format!("{R2}/my.receipts/a%20b.jpg")),
            ("http://127.0.0.1:9000", "https://my.receipts.s3.amazonaws.com/a+b.jpg"),
            (
                "https://ref.storage.supabase.co/storage/v1/s3",
                "https://ref.supabase.co/storage/v1/object/public/my.receipts/a%20b.jpg",
            ),
            (
                "https://ref.supabase.co/storage/v1/s3",
                "https://ref.supabase.co/storage/v1/object/sign/my.receipts/a%20b.jpg?token=x",
            ),
            ("https://ref.supabase.co/storage/v1/s3", "https://ref.supabase.co/storage/v1/s3/my.receipts/a%20b.jpg"),
            (
                "http://127.0.0.1:54321/storage/v1/s3",
                "http://127.0.0.1:54321/storage/v1/object/authenticated/my.receipts/a%20b.jpg",
            ),
            (
                "http://127.0.0.1:54321/storage/v1/s3",
                "http://127.0.0.1:54321/storage/v1/render/image/public/my.receipts/a%20b.jpg?width=9",
            ),
            ("http://127.0.0.1:9000", "https://ref.supabase.co/storage/v1/object/my.receipts/a%20b.jpg"),
        ] {
            assert_eq!(
                at(text, endpoint).map(|location| location.key).as_deref(),
                Ok("a b.jpg"),
                "{text} at {endpoint}"
            );
        }
        for (endpoint, text, code) in [
            ("http://minio:9000", "http://minio:9000/other/a.jpg", "image.ForeignBucket"),
            ("http://minio:9000", "http://minio/my.receipts/a.jpg", "image.UnsupportedUrl"),
            ("http://minio:9000", "http://evil.example/my.receipts/a.jpg", "image.UnsupportedUrl"),
            ("https://s3.example", "https://evil-s3.example/my.receipts/a.jpg", "image.ForeignHost"),
            ("https://s3.example/base", "https://s3.example/my.receipts/a.jpg", "image.ForeignHost"),
            (R2, "https://other.r2.cloudflarestorage.com/my.receipts/a.jpg", "image.ForeignHost"),
            (
                "https://ref.supabase.co/storage/v1/s3",
                "https://other.supabase.co/storage/v1/object/public/my.receipts/a.jpg",
                "image.ForeignHost",
            ),
            ("https://s3.example", "https://ref.supabase.co/rest/v1/my.receipts/a.jpg", "image.ForeignHost"),
            (
                "https://s3.example",
                "https://ref.supabase.co/storage/v1/object/public/other/a.jpg",
                "image.ForeignBucket",
            ),
        ] {
            assert_eq!(at(text, endpoint), Err(code.to_owned()), "{text} at {endpoint}");
        }
    }

    #[test]
    fn a_plus_sign_of_a_url_is_a_space_and_a_keys_is_itself() {
        let of = |text: &str| locate(Some(text), "my.receipts").map(|found| (found.key, found.other_key)).unwrap();
        let url = "https://my.receipts.s3.amazonaws.com";
        assert_eq!(of(&format!("{url}/a+b.jpg")), ("a b.jpg".to_owned(), Some("a+b.jpg".to_owned())));
        assert_eq!(of(&format!("{url}/a%2Bb.jpg")), ("a+b.jpg".to_owned(), None));
        assert_eq!(of("s3://my.receipts/a+b.jpg"), ("a+b.jpg".to_owned(), None));
        assert_eq!(of("a+b.jpg"), ("a+b.jpg".to_owned(), None));
    }

    #[test]
    fn a_version_is_read_as_asked() {
        let of = |text: &str| locate(Some(text), "my.receipts").map(|found| found.version).map_err(|error| error.code);
        let url = "https://my.receipts.s3.amazonaws.com/a.jpg";
        assert_eq!(of(&format!("{url}?versionId=3%2F4&x=1")), Ok(Some("3/4".to_owned())));
        assert_eq!(of(&format!("{url}?x=1&versionId=")), Ok(None));
        assert_eq!(of(&format!("{url}?versionId=%0a")), Err("image.BadUrl".to_owned()));
        assert_eq!(of(&format!("{url}?versionId=%zz")), Err("image.BadUrl".to_owned()));
        assert_eq!(of("s3://my.receipts/a.jpg?versionId=3"), Ok(None));
    }

    #[test]
    fn says_what_was_meant() {
        for (text, meant) in [
            ("http://my.receipts.s3.amazonaws.com/a.jpg?SECRET", "https://my.receipts.s3.amazonaws.com/a.jpg"),
            (
                "https://my.receipts.s3-fips.us-east-1.amazonaws.com/a.jpg",
                "https://my.receipts.s3.us-east-1.amazonaws.com/a.jpg",
            ),
            (
                "https://s3-fips.dualstack.us-east-1.amazonaws.com/my.receipts/a.jpg?SECRET",
                "https://s3.us-east-1.amazonaws.com/my.receipts/a.jpg",
            ),
            ("https://point-123.s3-accesspoint.us-east-1.amazonaws.com/a.jpg", "s3://BUCKET/a.jpg"),
            ("arn:aws:s3:::my.receipts/a.jpg", "s3://my.receipts/a.jpg"),
            ("arn:aws-cn:s3:::my.receipts/a:b.jpg", "s3://my.receipts/a:b.jpg"),
            ("arn:aws:s3:us-east-1:123:accesspoint/point/object/a.jpg", "s3://BUCKET/a.jpg"),
        ] {
            let failure = locate(Some(text), "my.receipts").unwrap_err();
            assert!(failure.message.contains(&format!("did you mean \"{meant}")), "{text}: {failure}");
            assert!(!failure.message.contains("SECRET"), "{failure}");
        }
        let decoded = |text: &str| locate(Some(text), "b").unwrap().decoded_key();
        assert_eq!(decoded("receipts%2Fa%20b.jpg").as_deref(), Some("receipts/a b.jpg"));
        assert_eq!((decoded("100%.jpg"), decoded("a.jpg")), (None, None));
    }

    #[test]
    fn follows_nothing_else() {
        for (text, code) in [
            ("", "image.NoImage"),
            ("s3://my.receipts", "image.NoKey"),
            ("s3://my.receipts/", "image.NoKey"),
            ("s3://other/a.jpg", "image.ForeignBucket"),
            ("https://other.s3.amazonaws.com/a.jpg", "image.ForeignBucket"),
            ("https://s3.amazonaws.com/other/a.jpg", "image.ForeignBucket"),
            ("https://evil.example/my.receipts/a.jpg", "image.ForeignHost"),
            ("https://my.receipts.s3.amazonaws.com.evil.example/a.jpg", "image.ForeignHost"),
            ("https://user@my.receipts.s3.amazonaws.com/a.jpg", "image.ForeignBucket"),
            ("https://my.receipts.ec2.eu-west-1.amazonaws.com/a.jpg", "image.ForeignHost"),
            ("https://169.254.169.254/latest/meta-data", "image.ForeignHost"),
            ("http://my.receipts.s3.amazonaws.com/a.jpg", "image.UnsupportedUrl"),
            ("file:///etc/passwd", "image.UnsupportedUrl"),
            ("data:image/png;base64,AAAA", "image.UnsupportedUrl"),
            ("a/../../other/b.jpg", "image.BadKey"),
            ("https://my.receipts.s3.amazonaws.com/%zz", "image.BadUrl"),
        ] {
            assert_eq!(key(text), Err(code.to_owned()), "{text}");
        }
        assert_eq!(key(&"k".repeat(1025)), Err("image.BadKey".to_owned()));
        assert!(locate(None, "b").is_err());
    }

    #[test]
    fn no_message_holds_a_credential() {
        let long = "k".repeat(1025);
        for text in [
            "https://evil.example/a.jpg?X-Amz-Signature=SECRET",
            "https://evil.example/a.jpg#SECRET",
            "https://evil.example?SECRET/a.jpg",
            "https://me:SECRET@evil.example/a.jpg",
            "https://me:SECRET@my.receipts.s3.amazonaws.com/a.jpg",
            "https://other.s3.amazonaws.com/a.jpg?X-Amz-Security-Token=SECRET",
            "https://my.receipts.s3.amazonaws.com/%zz?SECRET",
            "https://my.receipts.s3.amazonaws.com/?SECRET",
            "https://my.receipts.s3.amazonaws.com/../a.jpg?SECRET",
            "http://me:SECRET@SECRET@my.receipts.s3.amazonaws.com/a.jpg?SECRET",
            "ftp://host/a@b.jpg?x=SECRET",
            "s3://me:SECRET@my.receipts/a.jpg",
            "s3://other?SECRET/a.jpg",
            "//my.receipts.s3.amazonaws.com/../a.jpg?X-Amz-Signature=SECRET",
            &format!("{long}?X-Amz-Signature=SECRET"),
            "my.receipts.s3.amazonaws.com/a.jpg?X-Amz-Signature=SECRET&from=https://example.com",
            "me:SECRET@evil.example/a.jpg?from=https://example.com",
        ] {
            let failure = locate(Some(text), "my.receipts").unwrap_err();
            assert!(!failure.message.contains("SECRET"), "{}", failure.message);
        }
        assert_eq!(shown("https://me:pw@host/a@b.jpg?q#f"), "https://host/a@b.jpg");
        assert_eq!(shown("receipts/a@b.jpg"), "receipts/a@b.jpg");
    }
}
