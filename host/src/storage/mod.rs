//! Storage: S3. Fetches receipts' images, stores and opens OCR artifacts. Knows nothing of what they are for.

mod artifacts;
mod formats;
mod framing;
mod images;
mod location;
mod object;
mod unstored;
mod url;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

pub use artifacts::{Artifacts, PROBE, StoredArtifact};
pub use formats::{more_pages, unsupported};
pub use images::{Image, Images, NOBODYS, Others, digest_of, sniff};
pub use location::{Location, locate, locate_in};
pub use object::LARGEST_IMAGE;
pub use url::Source;

use crate::aws;
use crate::failure::{Failure, FailureKind};

/// Classifies an S3 error. `what` names the object.
pub(crate) fn classify<E>(error: &SdkError<E, HttpResponse>, what: &str) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let failure = aws::classify(error, "s3", what, kind_of_code);
    match failure.kind {
        // Nothing was paid for, and no object is so large that it is to blame; and a code that is in no list is of the service
        // (or of what only calls itself S3), not of a receipt, which must not die of it at once.
        FailureKind::TimedOut | FailureKind::Internal | FailureKind::InvalidRequest | FailureKind::DocumentTooLarge => {
            Failure { kind: FailureKind::Unavailable, ..failure }
        }
        _ => failure,
    }
}

/// The same for what the host writes under keys of its own: nothing about it is the receipt's fault.
fn classify_write<E>(error: &SdkError<E, HttpResponse>, what: &str) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let failure = classify(error, what);
    let kind = match failure.kind {
        FailureKind::Throttled | FailureKind::AccessDenied => failure.kind,
        _ => FailureKind::Unavailable,
    };
    let code = failure.code.trim_start_matches("s3.");
    let message = match CHECKSUM_CODES.contains(&code) {
        true => format!("{}; {CHECKSUM_ADVICE}", failure.message),
        false => failure.message,
    };
    Failure::new(kind, failure.code, message)
}

/// What services that are not AWS's say to the checksums that the SDK sends.
const CHECKSUM_CODES: [&str; 14] = [
    "InvalidRequest",
    "InvalidArgument",
    "InvalidDigest",
    "BadDigest",
    "BadRequest",
    "NotImplemented",
    "MethodNotAllowed",
    "MissingContentLength",
    "XAmzContentSHA256Mismatch",
    "XAmzContentChecksumMismatch",
    "UnsupportedHeader",
    "Http400",
    "Http405",
    "Http501",
];
const CHECKSUM_ADVICE: &str =
    "where this S3 is not AWS's, set AWS_REQUEST_CHECKSUM_CALCULATION=when_required (docs/s3.md)";

/// Whether this is the failure of an object that is not there, and may be there later. (One in an archive is there.)
pub fn is_absent(failure: &Failure) -> bool {
    failure.kind == FailureKind::NotFound && failure.code.starts_with("s3.") && failure.code != "s3.InvalidObjectState"
}

/// S3's error codes (docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html), as the contract's kinds.
fn kind_of_code(code: &str) -> Option<FailureKind> {
    Some(match code {
        "NoSuchKey" | "NoSuchVersion" | "NotFound" => FailureKind::NotFound,
        // In an archive tier: not there for anyone who reads it now.
        "InvalidObjectState" => FailureKind::NotFound,
        // Somebody must mend the configuration; the receipt is not to blame, and must not die of it at once.
        "NoSuchBucket"
        | "PermanentRedirect"
        | "AuthorizationHeaderMalformed"
        | "AllAccessDisabled"
        | "AccountProblem"
        | "InvalidBucketName" => FailureKind::AccessDenied,
        code if code.starts_with("KMS.") => FailureKind::AccessDenied,
        "KeyTooLongError" | "InvalidURI" => FailureKind::BadLocation,
        code => return aws::common_code(code),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_their_kinds() {
        for (code, kind) in [
            ("NoSuchKey", Some(FailureKind::NotFound)),
            ("NoSuchBucket", Some(FailureKind::AccessDenied)),
            ("AccessDenied", Some(FailureKind::AccessDenied)),
            ("KMS.DisabledException", Some(FailureKind::AccessDenied)),
            ("SlowDown", Some(FailureKind::Throttled)),
            ("InternalError", Some(FailureKind::Unavailable)),
            ("ServiceUnavailable", Some(FailureKind::Unavailable)),
            ("RequestTimeout", Some(FailureKind::TimedOut)),
            ("SomethingNew", None),
        ] {
            assert_eq!(kind_of_code(code), kind, "{code}");
        }
    }
}
