//! Logging in to RDS as an IAM role: a signed address is the password, for a connection that begins within 15 minutes.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningParams, SigningSettings, sign};
use aws_sigv4::sign::v4;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::call::Caller;
use crate::failure::{Failure, FailureKind, chain};

const SERVICE: &str = "rds-db";
const LASTS: Duration = Duration::from_secs(900);
/// What AWS leaves as it is in a query.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// The AWS CLI's order, which is no part of what is signed.
const ORDER: [&str; 7] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
];

/// A server, and who logs in there.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub host: &'a str,
    pub port: u16,
    pub user: &'a str,
}

/// A password for one new connection.
pub async fn token(caller: &Caller, place: Place<'_>) -> Result<String, Failure> {
    let failed = |kind, code: &str, reason: &str| {
        Failure::new(kind, format!("rds.{code}"), format!("a token for {} at {}: {reason}", place.user, place.host))
    };
    let region = match region_in(place.host) {
        Some(region) => region.to_owned(),
        None => caller.region().map_err(|error| failed(FailureKind::InvalidRequest, "NoRegion", &error.to_string()))?,
    };
    let credentials = caller
        .credentials()
        .await
        .map_err(|error| failed(FailureKind::AccessDenied, "NoCredentials", &error.to_string()))?;
    token_at(&credentials, &region, place, SystemTime::now())
        .map_err(|reason| failed(FailureKind::Internal, "Client", &reason))
}

/// The region in a name that RDS gives: it is what the server checks the signature by, whatever ours is.
fn region_in(host: &str) -> Option<&str> {
    let name = host.strip_suffix(".rds.amazonaws.com").or_else(|| host.strip_suffix(".rds.amazonaws.com.cn"))?;
    name.rsplit('.').next()
}

fn token_at(credentials: &Credentials, region: &str, place: Place<'_>, time: SystemTime) -> Result<String, String> {
    let user = utf8_percent_encode(place.user, KEPT);
    let address = format!("{}:{}/?Action=connect&DBUser={user}", place.host, place.port);
    let url = format!("https://{address}");
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(LASTS);
    let identity = credentials.clone().into();
    let params: SigningParams<'_> = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(SERVICE)
        .time(time)
        .settings(settings)
        .build()
        .map_err(|error| error.to_string())?
        .into();
    let request = SignableRequest::new("GET", &url, std::iter::empty(), SignableBody::Bytes(&[]))
        .map_err(|error| chain(&error))?;
    let (instructions, _) = sign(request, &params).map_err(|error| chain(&error))?.into_parts();
    let given = instructions.params();
    let ordered = ORDER.iter().filter_map(|name| given.iter().find(|(given, _)| given == name));
    Ok(ordered.fold(address, |token, (name, value)| format!("{token}&{name}={}", utf8_percent_encode(value, KEPT))))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// 2026-01-02 03:04:05 UTC.
    const THEN: u64 = 1_767_323_045;

    fn made(session: Option<&str>) -> String {
        let credentials = Credentials::new("AKIDEXAMPLE", "an/example+key", session.map(str::to_owned), None, "test");
        let place = Place { host: "db.abc123.eu-west-1.rds.amazonaws.com", port: 5432, user: "receipt worker@x" };
        token_at(
            &credentials,
            region_in(place.host).unwrap(),
            place,
            SystemTime::UNIX_EPOCH + Duration::from_secs(THEN),
        )
        .unwrap()
    }

    /// What `aws rds generate-db-auth-token` (1.46) printed at that time, for the same server and user.
    #[test]
    fn a_token_is_what_the_aws_cli_makes() {
        let both = concat!(
            "db.abc123.eu-west-1.rds.amazonaws.com:5432/?Action=connect&DBUser=receipt%20worker%40x&",
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20260102%2Feu-west-1%2Frds-db%2Faws4_request",
            "&X-Amz-Date=20260102T030405Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host"
        );
        let plain = "&X-Amz-Signature=084409955dd1c141ae0f0901b7df14ce1c71b6b547c26b75e3b384d5e823f31c";
        assert_eq!(made(None), format!("{both}{plain}"));
        let session = concat!(
            "&X-Amz-Security-Token=a%2Fsession%2Btoken%3D%3D",
            "&X-Amz-Signature=10c5f5fd75f3510765923933d3eda4caaf969058fb5d6394b8f053030391ea10"
        );
        assert_eq!(made(Some("a/session+token==")), format!("{both}{session}"));
    }

    #[test]
    fn the_region_is_the_servers() {
        assert_eq!(region_in("a.cluster-ro-x.us-gov-west-1.rds.amazonaws.com"), Some("us-gov-west-1"));
        assert_eq!(region_in("a.x.cn-north-1.rds.amazonaws.com.cn"), Some("cn-north-1"));
        assert_eq!(region_in("db.internal"), None);
    }
}
