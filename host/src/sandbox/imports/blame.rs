//! Whose one failure is, by its code; and where that does not tell, by asking the service for the like.

use crate::breaker::{Blame, Step};
use crate::failure::{Failure, FailureKind};
use crate::sandbox::state::Live;
use crate::storage::Others;

/// Codes that speak of the service, the account, the bucket or the way there, and never of one object.
const OF_THE_SERVICE: [&str; 31] = [
    "AccountProblem",
    "AllAccessDisabled",
    "AuthorizationHeaderMalformed",
    "BadEndpoint",
    "Client",
    "ExpiredToken",
    "ExpiredTokenException",
    "Http407",
    "Http500",
    "Http502",
    "Http503",
    "Http504",
    "IncompleteSignature",
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "InvalidAccessKeyId",
    "InvalidBucketName",
    "InvalidSignatureException",
    "InvalidToken",
    "MissingAuthenticationToken",
    "NoCredentials",
    "NoSuchBucket",
    "PermanentRedirect",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "ServiceUnavailable",
    "SignatureDoesNotMatch",
    "Timeout",
    "TokenRefreshRequired",
    "Unreachable",
];

/// Whether this failure may lie in the one object that was asked for.
fn may_be_the_objects(failure: &Failure) -> bool {
    if matches!(failure.kind, FailureKind::Throttled | FailureKind::TimedOut) {
        return false;
    }
    match failure.code.split_once('.') {
        // Textract is asked for nothing but a page: what it refuses otherwise it refuses everybody.
        Some(("textract", code)) => matches!(code, "InvalidS3ObjectException" | "InvalidKMSKeyException"),
        Some(("s3", code)) => !OF_THE_SERVICE.contains(&code),
        _ => false,
    }
}

impl Live {
    /// Whose this failure is.
    pub(super) async fn blame(&self, job: i64, step: Step, failure: &Failure) -> Blame {
        if !may_be_the_objects(failure) {
            // Credentials, rights, a bucket: no receipt can be to blame for that. For the rest one may be, until others fail.
            return if failure.kind == FailureKind::AccessDenied { Blame::Closed } else { Blame::Service };
        }
        match step {
            // A whole photo is another matter than its first byte.
            Step::Read if failure.code == "s3.BrokenBody" => Blame::Doubtful,
            Step::Read => {
                let location = self.open.get(&job).and_then(|job| job.location.as_ref().ok()?.as_deref());
                match self.services.images.reads_others(location).await {
                    Others::Read => Blame::Object,
                    Others::Refused => Blame::Closed,
                    Others::Unknown => Blame::Presumed,
                }
            }
            Step::Find if self.services.artifacts.reads_others().await => Blame::Object,
            Step::Store if self.services.artifacts.probe().await.is_ok() => Blame::Object,
            Step::Find | Step::Store => Blame::Closed,
            // Asking costs money.
            Step::Recognize => Blame::Doubtful,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_lie_in_an_object_is_told_from_what_cannot() {
        for (kind, code, expected) in [
            (FailureKind::AccessDenied, "s3.AccessDenied", true),
            (FailureKind::AccessDenied, "s3.Http403", true),
            (FailureKind::AccessDenied, "s3.KMS.DisabledException", true),
            (FailureKind::Unavailable, "s3.BrokenBody", true),
            (FailureKind::Unavailable, "s3.InvalidRequest", true),
            (FailureKind::AccessDenied, "textract.InvalidS3ObjectException", true),
            (FailureKind::AccessDenied, "textract.AccessDeniedException", false),
            (FailureKind::Unavailable, "textract.InternalServerError", false),
            (FailureKind::AccessDenied, "s3.ExpiredToken", false),
            (FailureKind::AccessDenied, "s3.NoSuchBucket", false),
            (FailureKind::Unavailable, "s3.Unreachable", false),
            (FailureKind::Unavailable, "s3.Timeout", false),
            (FailureKind::Throttled, "s3.SlowDown", false),
        ] {
            assert_eq!(may_be_the_objects(&Failure::new(kind, code, "")), expected, "{code}");
        }
    }
}
