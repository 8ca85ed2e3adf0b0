//! Who paid for what, as seen on the wire: an OCR call for an image whose artifact was there before the attempt began is
//! money thrown away (invariant 5).

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Instant;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use host::ocr::local::sha256;
use hyper::body::Bytes;
use hyper::{Method, StatusCode};

use crate::oracle::Violation;
use crate::{ARTIFACTS, SOURCE};

/// The OCR calls of a run, and which of them were money thrown away.
#[derive(Default)]
pub struct Bill(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    /// Keys of photos by the SHA-256 of the photo.
    photos: HashMap<String, String>,
    /// When a host last asked for a photo: an attempt's first step.
    begun: HashMap<(usize, String), Instant>,
    /// When an artifact of a photo was first stored.
    stored: HashMap<String, Instant>,
    /// OCR calls that reached the service, by photo.
    calls: HashMap<String, u64>,
    wasted: Vec<Violation>,
}

impl Bill {
    /// A photo that hosts may ask for.
    pub fn photo(&self, digest: String, key: String) {
        self.entries().photos.insert(digest, key);
    }

    /// A host asks S3.
    pub fn s3_request(&self, host: usize, method: &Method, path: &str) {
        if method == Method::GET
            && let Some(key) = path.strip_prefix(&format!("/{SOURCE}/"))
        {
            self.entries().begun.insert((host, key.to_owned()), Instant::now());
        }
    }

    /// S3 has done what it was asked.
    pub fn s3_answer(&self, method: &Method, path: &str, status: StatusCode) {
        let artifact = path.strip_prefix(&format!("/{ARTIFACTS}/ocr/"));
        if let (&Method::PUT, true, Some(artifact)) = (method, status.is_success(), artifact) {
            let digest = artifact.rsplit('/').next().and_then(|name| name.split('.').next()).unwrap_or_default();
            self.entries().stored.entry(digest.to_owned()).or_insert_with(Instant::now);
        }
    }

    /// A host pays.
    pub fn textract_request(&self, host: usize, body: &Bytes) {
        let Some(digest) = digest(body) else { return };
        let mut entries = self.entries();
        *entries.calls.entry(digest.clone()).or_default() += 1;
        let Some(key) = entries.photos.get(&digest).cloned() else { return };
        let begun = entries.begun.get(&(host, key.clone())).copied();
        if let (Some(begun), Some(stored)) = (begun, entries.stored.get(&digest).copied())
            && stored < begun
        {
            let detail = format!("host {host}, photo {key}, stored {:?} before", begun - stored);
            let broken = "it was paid for again though its artifact was there".to_owned();
            entries.wasted.push(Violation { invariant: 5, broken, receipt: key, detail });
        }
    }

    /// Calls that reached the service, photos that were read, and the most calls for one photo.
    pub fn calls(&self) -> (u64, usize, u64) {
        let calls = &self.entries().calls;
        (calls.values().sum(), calls.len(), calls.values().max().copied().unwrap_or_default())
    }

    /// Calls that should not have been.
    pub fn wasted(&self) -> Vec<Violation> {
        self.entries().wasted.clone()
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, Entries> {
        self.0.lock().unwrap()
    }
}

fn digest(request: &Bytes) -> Option<String> {
    let request: serde_json::Value = serde_json::from_slice(request).ok()?;
    let image = request.pointer("/Document/Bytes")?.as_str()?;
    Some(sha256(&BASE64_STANDARD.decode(image).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paying_for_what_is_stored_is_seen() {
        let bill = Bill::default();
        let photo = b"a photo";
        let request: Bytes =
            serde_json::json!({ "Document": { "Bytes": BASE64_STANDARD.encode(photo) } }).to_string().into();
        let artifact = format!("/{ARTIFACTS}/ocr/some-receipt/{}.detect.json", sha256(photo));
        bill.photo(sha256(photo), "a.jpg".to_owned());
        let attempt = || {
            bill.s3_request(0, &Method::GET, &format!("/{SOURCE}/a.jpg"));
            bill.textract_request(0, &request);
        };
        attempt();
        // The answer was lost, and nothing stored: paid for again by right.
        attempt();
        bill.s3_answer(&Method::PUT, &artifact, StatusCode::SERVICE_UNAVAILABLE);
        attempt();
        // Began before another host stored it.
        bill.s3_request(1, &Method::GET, &format!("/{SOURCE}/a.jpg"));
        bill.s3_answer(&Method::PUT, &artifact, StatusCode::OK);
        bill.textract_request(1, &request);
        assert_eq!((bill.calls(), bill.wasted()), ((4, 1, 4), Vec::new()));
        attempt();
        assert_eq!(bill.wasted().len(), 1);
    }
}
