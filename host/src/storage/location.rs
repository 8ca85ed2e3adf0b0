//! Where a receipt's image is. An app writes a key, an `s3://` URL or an https S3 URL; whatever it writes, no request
//! ever leaves for another bucket or host than the configured one.

use crate::failure::{Failure, FailureKind};

/// S3's limit for keys (docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html).
const LONGEST_KEY: usize = 1024;

/// A key in the source bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The object's key.
    pub key: String,
}

/// Reads what the app wrote.
pub fn locate(text: Option<&str>, source_bucket: &str) -> Result<Location, Failure> {
    let text = text.map(str::trim).filter(|text| !text.is_empty());
    let text =
        text.ok_or_else(|| bad("NoImage", "the receipt has no image: image_url and s3_key are empty".to_owned()))?;
    let key = match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("s3") => s3_url(rest, source_bucket)?,
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => https_url(text, rest, source_bucket)?,
        Some(_) => {
            return Err(bad(
                "UnsupportedUrl",
                format!("{:?}: only a key, s3://bucket/key or an https S3 URL is read", shown(text)),
            ));
        }
        None if text.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("data:")) => {
            return Err(bad("UnsupportedUrl", "a data: URL is not read; store the image in S3".to_owned()));
        }
        None => text.to_owned(),
    };
    if key.is_empty() {
        return Err(bad("NoKey", format!("{:?} names no object", shown(text))));
    }
    if key.len() > LONGEST_KEY || key.chars().any(char::is_control) {
        let why = format!("over {LONGEST_KEY} bytes, or control characters");
        return Err(bad("BadKey", format!("{:?} is no S3 key ({why})", shown(text))));
    }
    // The URL is normalised on the way: such a key would name another object than it says.
    if key.split('/').any(|part| part == "." || part == "..") {
        return Err(bad("BadKey", format!("{:?}: \".\" and \"..\" are not followed", shown(text))));
    }
    Ok(Location { key })
}

fn s3_url(rest: &str, source_bucket: &str) -> Result<String, Failure> {
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    own_bucket(bucket, source_bucket)?;
    Ok(key.to_owned())
}

fn https_url(text: &str, rest: &str, source_bucket: &str) -> Result<String, Failure> {
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = host.strip_suffix(":443").unwrap_or(host).to_ascii_lowercase();
    let foreign = || bad("ForeignHost", format!("{:?} is no S3 URL; nothing is fetched from other hosts", shown(text)));
    let prefix =
        host.strip_suffix(".amazonaws.com").or_else(|| host.strip_suffix(".amazonaws.com.cn")).ok_or_else(foreign)?;
    let path = percent_decode(path)
        .ok_or_else(|| bad("BadUrl", format!("{:?} is not properly percent-encoded", shown(text))))?;
    if is_s3_endpoint(prefix) {
        let (bucket, key) = path.split_once('/').unwrap_or((&path, ""));
        own_bucket(bucket, source_bucket)?;
        return Ok(key.to_owned());
    }
    // bucket.s3.region: a bucket's name may have dots, so try every split.
    let bucket = prefix
        .match_indices('.')
        .filter(|(dot, _)| prefix.get(dot + 1..).is_some_and(is_s3_endpoint))
        .find_map(|(dot, _)| prefix.get(..dot))
        .ok_or_else(foreign)?;
    own_bucket(bucket, source_bucket)?;
    Ok(path)
}

/// `s3`, `s3.region`, `s3-region`, `s3.dualstack.region`, `s3-accelerate`.
fn is_s3_endpoint(name: &str) -> bool {
    let region = |region: &str| {
        !region.is_empty()
            && region.split('-').count() >= 3
            && region.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    match name {
        "s3" | "s3-accelerate" | "s3-accelerate.dualstack" => true,
        _ => ["s3.dualstack.", "s3.", "s3-"].iter().any(|start| name.strip_prefix(start).is_some_and(region)),
    }
}

fn own_bucket(bucket: &str, source_bucket: &str) -> Result<(), Failure> {
    if bucket == source_bucket {
        return Ok(());
    }
    let bucket = shown(bucket);
    Err(bad("ForeignBucket", format!("the image is in bucket {bucket:?}; this worker reads {source_bucket:?} only")))
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

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (high, low) = (char::from(rest.next()?).to_digit(16)?, char::from(rest.next()?).to_digit(16)?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok()
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
