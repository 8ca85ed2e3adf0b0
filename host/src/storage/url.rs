//! What an https URL names: whose bucket, which key and version. Known are AWS's hosts, those of the configured endpoint,
//! Cloudflare R2's and Supabase's; only the name is taken from them, no request goes there.

use percent_encoding::percent_decode_str;

/// The source bucket, and the endpoint at which it is reached where that is not AWS's.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    pub bucket: &'a str,
    pub endpoint: Option<&'a str>,
}

/// What a URL names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// The key, with its plus signs taken for spaces, and as they are where that is another key; percent-decoded.
    Object { bucket: String, key: String, other_key: Option<String>, version: Option<String> },
    /// An AWS host of another kind; what to write in its place.
    Meant(String),
    /// Not properly percent-encoded.
    Garbled,
    /// Nobody's that we know.
    Foreign,
}

/// `rest` is what follows `https://`.
pub(super) fn https(rest: &str, source: Source<'_>) -> Named {
    let Parts { authority, path, query } = Parts::of(rest);
    let host = authority.strip_suffix(":443").unwrap_or(&authority);
    if let Some(prefix) = host.strip_suffix(".amazonaws.com").or_else(|| host.strip_suffix(".amazonaws.com.cn")) {
        return aws(prefix, host, path, query);
    }
    own_endpoint("https", host, path, query, source).unwrap_or_else(|| provider(host, path, query, source))
}

/// The same of `http://`, which only the configured endpoint may speak.
pub(super) fn http(rest: &str, source: Source<'_>) -> Option<Named> {
    let Parts { authority, path, query } = Parts::of(rest);
    let host = authority.strip_suffix(":80").unwrap_or(&authority);
    own_endpoint("http", host, path, query, source)
}

struct Parts<'a> {
    authority: String,
    path: &'a str,
    query: &'a str,
}

impl<'a> Parts<'a> {
    fn of(rest: &'a str) -> Self {
        let rest = rest.split('#').next().unwrap_or_default();
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        Self { authority: authority.to_ascii_lowercase(), path, query }
    }
}

fn aws(prefix: &str, host: &str, path: &str, query: &str) -> Named {
    if is_s3_endpoint(prefix) {
        return in_path(path, query);
    }
    // bucket.s3.region: a bucket's name may have dots, so try every split.
    let bucket = prefix
        .match_indices('.')
        .filter(|(dot, _)| prefix.get(dot + 1..).is_some_and(is_s3_endpoint))
        .find_map(|(dot, _)| prefix.get(..dot));
    if let Some(bucket) = bucket {
        return object(bucket, path, query);
    }
    if host.contains("s3-fips.") {
        return Named::Meant(format!(
            "https://{}/{path}",
            host.replace("s3-fips.dualstack.", "s3.").replace("s3-fips.", "s3.")
        ));
    }
    match prefix.contains(".s3-accesspoint") {
        true => Named::Meant(format!("s3://BUCKET/{path}, with the bucket behind the access point")),
        false => Named::Foreign,
    }
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

/// The configured endpoint's own URLs: the bucket in the path, or before the host.
fn own_endpoint(scheme: &str, host: &str, path: &str, query: &str, source: Source<'_>) -> Option<Named> {
    let (endpoint_scheme, rest) = source.endpoint?.split_once("://")?;
    let Parts { authority, path: base, .. } = Parts::of(rest);
    let default = if endpoint_scheme.eq_ignore_ascii_case("http") { ":80" } else { ":443" };
    let endpoint = authority.strip_suffix(default).unwrap_or(&authority);
    if !endpoint_scheme.eq_ignore_ascii_case(scheme) {
        return None;
    }
    let base = base.trim_matches('/');
    if base.ends_with("storage/v1/s3") && project(host) == project(endpoint) {
        return supabase(path, query);
    }
    if host == endpoint {
        let path = match base {
            "" => Some(path),
            base => path.strip_prefix(base).and_then(|path| path.strip_prefix('/')),
        };
        return path.map(|path| in_path(path, query));
    }
    let bucket = host.strip_suffix(endpoint)?.strip_suffix('.')?;
    Some(object(bucket, path, query))
}

/// Cloudflare R2 and Supabase; where the endpoint is one of theirs, of that account alone.
fn provider(host: &str, path: &str, query: &str, source: Source<'_>) -> Named {
    const R2: &str = ".r2.cloudflarestorage.com";
    let endpoint = source.endpoint.map(str::to_ascii_lowercase).unwrap_or_default();
    let Some(account) = host.strip_suffix(R2) else {
        let is_hosted = host.ends_with(".supabase.co") && !endpoint.contains(".supabase.co");
        return is_hosted.then(|| supabase(path, query)).flatten().unwrap_or(Named::Foreign);
    };
    // ACCOUNT, or ACCOUNT.eu; a bucket may stand before it.
    let is_account = |name: &str| name.len() == 32 && name.bytes().all(|c| c.is_ascii_hexdigit());
    let labels: Vec<&str> = account.split('.').collect();
    match labels.as_slice() {
        _ if endpoint.contains(R2) => Named::Foreign,
        [_] => in_path(path, query),
        [account, "eu" | "fedramp"] if is_account(account) => in_path(path, query),
        [bucket, account, "eu" | "fedramp"] if is_account(account) => object(bucket, path, query),
        [bucket, _] => object(bucket, path, query),
        _ => Named::Foreign,
    }
}

/// `project.storage.supabase.co` is `project.supabase.co`.
fn project(host: &str) -> String {
    host.replace(".storage.supabase.", ".supabase.")
}

/// Storage's own paths beside those of its S3.
fn supabase(path: &str, query: &str) -> Option<Named> {
    let rest = path.strip_prefix("storage/v1/")?;
    let after = |starts: &[&str]| starts.iter().find_map(|start| rest.strip_prefix(start));
    let within = after(&["s3/"]).or_else(|| {
        after(&["object/", "render/image/"]).map(|rest| {
            ["public/", "sign/", "authenticated/"].iter().find_map(|start| rest.strip_prefix(start)).unwrap_or(rest)
        })
    });
    within.map(|path| in_path(path, query))
}

fn in_path(path: &str, query: &str) -> Named {
    let (bucket, path) = path.split_once('/').unwrap_or((path, ""));
    match decoded(bucket) {
        Some(bucket) => object(&bucket, path, query),
        None => Named::Garbled,
    }
}

fn object(bucket: &str, path: &str, query: &str) -> Named {
    let literal = decoded(path);
    // For S3 a plus sign in a path is a space; not every service that speaks S3 agrees.
    let spaced = path.contains('+').then(|| decoded(&path.replace('+', " "))).flatten();
    let version =
        query.split('&').find_map(|pair| pair.strip_prefix("versionId=")).filter(|version| !version.is_empty());
    let version = match version.map(decoded) {
        Some(None) => return Named::Garbled,
        version => version.flatten(),
    };
    let bucket = bucket.to_owned();
    match (spaced, literal) {
        (_, None) => Named::Garbled,
        (Some(key), Some(literal)) => Named::Object { bucket, key, other_key: Some(literal), version },
        (None, Some(key)) => Named::Object { bucket, key, other_key: None, version },
    }
}

/// Percent-decoded; none where it is not properly encoded, or no UTF-8.
pub(super) fn decoded(text: &str) -> Option<String> {
    let is_code = |code: Option<&[u8]>| code.is_some_and(|code| code.iter().all(u8::is_ascii_hexdigit));
    let bytes = text.as_bytes();
    let encoded = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%');
    for (at, _) in encoded {
        if !is_code(bytes.get(at + 1..at + 3)) {
            return None;
        }
    }
    percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}
