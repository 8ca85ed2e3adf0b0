//! What S3 and Textract share: configuration as the SDK knows it, and the classification of what goes wrong.

pub mod call;
pub mod rds;

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

use crate::failure::{Failure, FailureKind, chain};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a service may be silent, where nobody says otherwise.
pub const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// What is wrong with the AWS configuration.
#[derive(Debug, thiserror::Error)]
pub enum AwsError {
    #[error("no AWS region is configured; set AWS_REGION (e.g. us-east-1)")]
    NoRegion,
    #[error(
        "{0} is no address of a service: write https://host or http://host:port, without a user's name, a question mark or a #"
    )]
    Endpoint(&'static str),
    #[error(
        "no AWS credentials: {0}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give the machine a role"
    )]
    NoCredentials(String),
}

/// Overrides of what the SDK finds in the environment; empty in production.
#[derive(Debug, Clone, Default)]
pub struct AwsOverrides {
    /// Region.
    pub region: Option<String>,
    /// Key id and secret.
    pub credentials: Option<(String, String)>,
    /// Endpoint of S3.
    pub s3_endpoint: Option<String>,
    /// Endpoint of Textract.
    pub textract_endpoint: Option<String>,
}

/// The two clients, configured.
#[derive(Debug, Clone)]
pub struct Aws {
    /// S3.
    pub s3: aws_sdk_s3::Client,
    /// Textract. Never retries by itself: the component's policy decides, and every call may cost money.
    pub textract: aws_sdk_textract::Client,
    /// The region in use.
    pub region: String,
    /// Where S3 is, if it is not where AWS has it.
    pub s3_endpoint: Option<String>,
}

/// Loads region and credentials, and makes the clients.
pub async fn load(overrides: &AwsOverrides) -> Result<Aws, AwsError> {
    load_with(overrides, READ_TIMEOUT).await
}

/// The same with another patience: a call is given up when the service is silent for `read_timeout`, and when it takes
/// twice as long with all that the SDK tries again.
pub async fn load_with(overrides: &AwsOverrides, read_timeout: Duration) -> Result<Aws, AwsError> {
    let config = configured(overrides, read_timeout).await?;
    let region = region_of(&config).ok_or(AwsError::NoRegion)?;
    check_credentials(&config).await?;
    let of_env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let s3_endpoint =
        overrides.s3_endpoint.clone().or_else(|| of_env("AWS_ENDPOINT_URL_S3")).or_else(|| of_env("AWS_ENDPOINT_URL"));
    let mut s3 = aws_sdk_s3::config::Builder::from(&config)
        // MinIO and the like serve buckets as paths; AWS itself by name.
        .force_path_style(s3_endpoint.is_some())
        .retry_config(RetryConfig::standard().with_max_attempts(2));
    if let Some(endpoint) = &s3_endpoint {
        s3 = s3.endpoint_url(with_path_ended(endpoint));
    }
    let mut textract = aws_sdk_textract::config::Builder::from(&config).retry_config(RetryConfig::disabled());
    if let Some(endpoint) = &overrides.textract_endpoint {
        textract = textract.endpoint_url(endpoint);
    }
    Ok(Aws {
        s3: aws_sdk_s3::Client::from_conf(s3.build()),
        textract: aws_sdk_textract::Client::from_conf(textract.build()),
        region,
        s3_endpoint,
    })
}

/// What the SDK finds in the environment, and in the overrides before that.
pub(crate) async fn configured(overrides: &AwsOverrides, read_timeout: Duration) -> Result<SdkConfig, AwsError> {
    check_endpoints(overrides)?;
    let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT.min(read_timeout))
        .read_timeout(read_timeout)
        .operation_timeout(read_timeout.saturating_mul(2))
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http).timeout_config(timeouts);
    if let Some(region) = &overrides.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some((id, secret)) = &overrides.credentials {
        loader = loader.credentials_provider(Credentials::new(id, secret, None, None, "host"));
    }
    Ok(loader.load().await)
}

fn region_of(config: &SdkConfig) -> Option<String> {
    config.region().map(ToString::to_string).filter(|region| !region.is_empty())
}

/// The SDK puts the bucket right behind the address. One with a path (Supabase Storage's is …/storage/v1/s3) ends in a slash.
fn with_path_ended(endpoint: &str) -> String {
    match endpoint.parse::<hyper::Uri>() {
        Ok(uri) if uri.path() != "/" && !uri.path().ends_with('/') => format!("{endpoint}/"),
        _ => endpoint.to_owned(),
    }
}

/// An address that is none would be quoted in messages, with whatever is in it.
fn check_endpoints(overrides: &AwsOverrides) -> Result<(), AwsError> {
    let is_address = |address: &str| {
        address.parse::<hyper::Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
                && uri.query().is_none()
                && !address.contains('#')
        })
    };
    for (name, given) in [
        ("AWS_ENDPOINT_URL_S3", &overrides.s3_endpoint),
        ("AWS_ENDPOINT_URL_TEXTRACT", &overrides.textract_endpoint),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &None),
        ("AWS_ENDPOINT_URL_SSM", &None),
        ("AWS_ENDPOINT_URL_CLOUDWATCH", &None),
        ("AWS_ENDPOINT_URL", &None),
    ] {
        let address = given.clone().or_else(|| std::env::var(name).ok()).filter(|address| !address.is_empty());
        if address.is_some_and(|address| !is_address(&address)) {
            return Err(AwsError::Endpoint(name));
        }
    }
    Ok(())
}

async fn check_credentials(config: &SdkConfig) -> Result<(), AwsError> {
    let Some(provider) = config.credentials_provider() else {
        return Err(AwsError::NoCredentials("none configured".to_owned()));
    };
    match provider.provide_credentials().await {
        Ok(_) => Ok(()),
        Err(error) => Err(AwsError::NoCredentials(error.to_string())),
    }
}

/// Classifies an SDK error: by the service's error code where there is one, else by what happened to the call.
/// `service` prefixes the machine code; `what` names the thing for people.
pub fn classify<E>(
    error: &SdkError<E, HttpResponse>,
    service: &str,
    what: &str,
    kind_of_code: impl Fn(&str) -> Option<FailureKind>,
) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match error {
        SdkError::TimeoutError(_) => {
            Failure::new(FailureKind::TimedOut, format!("{service}.Timeout"), format!("{what}: no answer in time"))
        }
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            Failure::new(FailureKind::TimedOut, format!("{service}.Timeout"), format!("{what}: no answer in time"))
        }
        SdkError::DispatchFailure(failure) if failure.is_user() => Failure::new(
            // Of the configuration: no receipt is to die of it at once.
            FailureKind::Unavailable,
            format!("{service}.BadEndpoint"),
            format!("{what}: {}", chain(error)),
        ),
        SdkError::DispatchFailure(_) | SdkError::ResponseError(_) if is_about_credentials(error) => Failure::new(
            FailureKind::AccessDenied,
            format!("{service}.NoCredentials"),
            format!("{what}: no usable AWS credentials: {}", chain(error)),
        ),
        SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => Failure::new(
            FailureKind::Unavailable,
            format!("{service}.Unreachable"),
            format!("{what}: {}", chain(error)),
        ),
        SdkError::ServiceError(context) => {
            let status = context.raw().status().as_u16();
            let code = context.err().code().unwrap_or_default();
            let kind = kind_of_code(code).unwrap_or_else(|| kind_of_status(status));
            let message = without_request(context.err().message().unwrap_or("the service gave no message"));
            let code = if code.is_empty() { format!("{service}.Http{status}") } else { format!("{service}.{code}") };
            Failure::new(kind, code, format!("{what}: {message}"))
        }
        _ => Failure::new(FailureKind::Internal, format!("{service}.Client"), format!("{what}: {}", chain(error))),
    }
}

/// A service's message up to where it quotes the request: what a signature was made of includes the session token.
fn without_request(message: &str) -> String {
    const QUOTES: [&str; 6] = [
        "the canonical string",
        "authorization=",
        "aws4-hmac-sha256",
        "credential=",
        "signature=",
        "x-amz-security-token",
    ];
    let lower = message.to_ascii_lowercase();
    match QUOTES.iter().filter_map(|quote| lower.find(quote)).min().and_then(|at| message.get(..at)) {
        Some(kept) => format!("{kept}(the request, which is not repeated here)"),
        None => message.to_owned(),
    }
}

fn is_about_credentials(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| error.is::<CredentialsError>())
}

/// What an HTTP status says when the error code says nothing that we know.
pub fn kind_of_status(status: u16) -> FailureKind {
    match status {
        401 | 403 => FailureKind::AccessDenied,
        404 | 410 => FailureKind::NotFound,
        // A proxy on the way, which wants to know who asks.
        407 => FailureKind::Unavailable,
        408 => FailureKind::TimedOut,
        413 => FailureKind::DocumentTooLarge,
        429 => FailureKind::Throttled,
        500..=599 => FailureKind::Unavailable,
        _ => FailureKind::Internal,
    }
}

/// Codes that every AWS service uses for credentials, throttling and faults of its own.
pub fn common_code(code: &str) -> Option<FailureKind> {
    Some(match code {
        "AccessDenied"
        | "AccessDeniedException"
        | "UnauthorizedOperation"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "InvalidSignatureException"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "TokenRefreshRequired"
        | "InvalidToken"
        | "NotAuthorized"
        | "OptInRequired"
        | "SubscriptionRequiredException" => FailureKind::AccessDenied,
        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "TooManyRequestsException"
        | "RequestLimitExceeded"
        | "RequestThrottled"
        | "BandwidthLimitExceeded"
        | "SlowDown" => FailureKind::Throttled,
        "InternalError"
        | "InternalFailure"
        | "InternalServerError"
        | "ServiceUnavailable"
        | "ServiceUnavailableException" => FailureKind::Unavailable,
        "RequestTimeout" | "RequestTimeoutException" => FailureKind::TimedOut,
        // The clock is wrong, or the request waited too long on its way: nothing about the receipt.
        "RequestExpired" | "RequestTimeTooSkewed" => FailureKind::Unavailable,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use aws_credential_types::provider::future;

    use super::*;

    #[derive(Debug)]
    struct Without;

    impl ProvideCredentials for Without {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::ready(Err(CredentialsError::not_loaded("the machine's role is gone")))
        }
    }

    #[tokio::test]
    async fn credentials_that_cannot_be_had_are_nobodys_but_the_configurations() {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(aws_sdk_s3::config::Region::new("us-east-1"))
            .credentials_provider(Without)
            .build();
        let asked = aws_sdk_s3::Client::from_conf(config).head_object().bucket("b").key("k").send().await;
        let failure = classify(&asked.unwrap_err(), "s3", "s3://b/k", |_| None);
        assert_eq!((failure.kind, &*failure.code), (FailureKind::AccessDenied, "s3.NoCredentials"), "{failure}");
    }

    #[tokio::test]
    async fn the_bucket_comes_behind_the_endpoints_path() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        for slash in ["", "/"] {
            let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let overrides = AwsOverrides {
                region: Some("us-east-1".to_owned()),
                credentials: Some(("id".to_owned(), "secret".to_owned())),
                s3_endpoint: Some(format!("http://{}/storage/v1/s3{slash}", server.local_addr().unwrap())),
                ..AwsOverrides::default()
            };
            let s3 = load(&overrides).await.unwrap().s3;
            let asked = async {
                let (mut stream, _) = server.accept().await.unwrap();
                let mut head = [0; 64];
                stream.read_exact(&mut head).await.unwrap();
                let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
                String::from_utf8_lossy(&head).into_owned()
            };
            let (_, head) = tokio::join!(s3.head_object().bucket("photos").key("a/b.jpg").send(), asked);
            assert!(head.starts_with("HEAD /storage/v1/s3/photos/a/b.jpg "), "{head}");
        }
    }
}
