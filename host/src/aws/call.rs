//! A signed call of an AWS service of which one action or two are wanted: JSON there, JSON back. An SDK for each of them would be
//! built from a hundred thousand lines (docs/decisions/0028).

use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_sdk_s3::config::http::{HttpRequest, HttpResponse};
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningParams, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorSettings};
use serde_json::Value;
use tokio::sync::Mutex;

use super::{AwsError, AwsOverrides, common_code, configured, kind_of_status, region_of, without_request};
use crate::failure::{Failure, FailureKind, chain};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// One call, with all that is tried again.
const ATTEMPTS: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// An answer is small; whatever is larger is none of these services.
const LARGEST_ANSWER: usize = 1 << 20;
/// Credentials that end are fetched anew this long before.
const BEFORE_THEIR_END: Duration = Duration::from_secs(300);

/// A service, as requests name it.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    /// In the host's name and in the signature.
    pub name: &'static str,
    /// Before the action, in the header x-amz-target.
    pub target: &'static str,
    /// Variable that names another endpoint.
    pub endpoint: &'static str,
    /// Its version of AWS's JSON protocol.
    pub json: &'static str,
}

/// What calls: credentials, region and connections.
#[derive(Debug)]
pub struct Caller {
    config: SdkConfig,
    connector: Connector,
    /// Those that end, until they do.
    credentials: Mutex<Option<Credentials>>,
}

impl Caller {
    /// Finds region and credentials as the SDK does. Neither is looked at before the first call.
    pub async fn load(overrides: &AwsOverrides) -> Result<Self, AwsError> {
        let config = configured(overrides, READ_TIMEOUT).await?;
        let settings =
            HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(READ_TIMEOUT).build();
        let connector =
            Connector::builder().tls_provider(Provider::Rustls(CryptoMode::Ring)).connector_settings(settings).build();
        Ok(Self { config, connector, credentials: Mutex::default() })
    }

    /// The region that the environment names.
    pub fn region(&self) -> Result<String, AwsError> {
        region_of(&self.config).ok_or(AwsError::NoRegion)
    }

    /// Calls an action in a region. `what` names the thing for people.
    pub async fn call(
        &self,
        (service, action): (&Service, &str),
        region: &str,
        what: &str,
        body: &Value,
    ) -> Result<Value, Failure> {
        let endpoint = self.endpoint(service, region);
        let (mut attempt, mut pause) = (1, FIRST_PAUSE);
        loop {
            let answered = self.once((service, action), (region, &endpoint), what, body).await;
            match answered {
                Err(failure) if attempt < ATTEMPTS && may_pass(failure.kind) => {
                    tracing::debug!(name: "aws.call_retried", %failure, "asking again");
                    tokio::time::sleep(pause).await;
                    (attempt, pause) = (attempt + 1, pause * 4);
                }
                answered => return answered,
            }
        }
    }

    async fn once(
        &self,
        (service, action): (&Service, &str),
        (region, endpoint): (&str, &str),
        what: &str,
        body: &Value,
    ) -> Result<Value, Failure> {
        let failed = |kind, code: &str, reason: &str| {
            Failure::new(kind, format!("{}.{code}", service.name), format!("{what}: {reason}"))
        };
        let credentials = self.credentials().await.map_err(|error| {
            failed(FailureKind::AccessDenied, "NoCredentials", &format!("no usable AWS credentials: {error}"))
        })?;
        let request = signed(service, action, region, endpoint, &credentials, body)
            .map_err(|reason| failed(FailureKind::Internal, "Client", &reason))?;
        let mut response: HttpResponse = self.connector.call(request).await.map_err(|error| {
            let kind = if error.is_timeout() { FailureKind::TimedOut } else { FailureKind::Unavailable };
            let code = if error.is_timeout() { "Timeout" } else { "Unreachable" };
            failed(kind, code, &format!("{endpoint}: {}", chain(&error)))
        })?;
        let status = response.status().as_u16();
        let answer = read(response.take_body()).await.map_err(|reason| {
            failed(FailureKind::Unavailable, "Unreachable", &format!("{endpoint} broke off its answer: {reason}"))
        })?;
        let value: Option<Value> = serde_json::from_slice(&answer).ok();
        match value {
            Some(value) if (200..300).contains(&status) => Ok(value),
            // What came instead may be anything, and is not repeated.
            None if (200..300).contains(&status) => {
                Err(failed(FailureKind::BadResponse, "BadAnswer", &format!("{endpoint} answered with no JSON")))
            }
            value => {
                let of = |names: [&str; 2]| {
                    names.iter().find_map(|name| value.as_ref()?.get(name)?.as_str()).unwrap_or_default().to_owned()
                };
                let code = of(["__type", "code"]);
                let code = code.rsplit('#').next().unwrap_or_default();
                let message = of(["message", "Message"]);
                let message = without_request(if message.is_empty() { "no reason given" } else { &message });
                let kind = kind_of_code(code).unwrap_or_else(|| kind_of_status(status));
                let code = if code.is_empty() { format!("Http{status}") } else { code.to_owned() };
                Err(failed(kind, &code, &message))
            }
        }
    }

    /// Where the service is: where a variable says, or where AWS has it.
    fn endpoint(&self, service: &Service, region: &str) -> String {
        let of_env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let named = of_env(service.endpoint).or_else(|| self.config.endpoint_url().map(str::to_owned));
        named.map_or_else(
            || {
                let fips = if self.config.use_fips().unwrap_or(false) { "-fips" } else { "" };
                let suffix = suffix(region, self.config.use_dual_stack().unwrap_or(false));
                format!("https://{}{fips}.{region}.{suffix}", service.name)
            },
            |endpoint| endpoint.trim_end_matches('/').to_owned(),
        )
    }

    /// Credentials that are good for a call.
    pub(super) async fn credentials(&self) -> Result<Credentials, AwsError> {
        let mut known = self.credentials.lock().await;
        let lasts = |known: &&Credentials| known.expiry().is_some_and(|end| end > SystemTime::now() + BEFORE_THEIR_END);
        if let Some(credentials) = known.as_ref().filter(lasts) {
            return Ok(credentials.clone());
        }
        let none = || AwsError::NoCredentials("none configured".to_owned());
        let provider = self.config.credentials_provider().ok_or_else(none)?;
        let fresh = provider.provide_credentials().await.map_err(|error| AwsError::NoCredentials(chain(&error)))?;
        Ok(known.insert(fresh).clone())
    }
}

/// Whether the same call may well succeed a moment later.
fn may_pass(kind: FailureKind) -> bool {
    matches!(kind, FailureKind::Unavailable | FailureKind::TimedOut | FailureKind::Throttled)
}

fn kind_of_code(code: &str) -> Option<FailureKind> {
    Some(match code {
        "ResourceNotFoundException" | "ParameterNotFound" | "ParameterVersionNotFound" => FailureKind::NotFound,
        "InternalServiceError" => FailureKind::Unavailable,
        // The key of KMS that it is encrypted with.
        "DecryptionFailure" | "InvalidKeyId" => FailureKind::AccessDenied,
        _ => return common_code(code),
    })
}

/// AWS's names end otherwise in other partitions.
fn suffix(region: &str, dual_stack: bool) -> &'static str {
    match (region, dual_stack) {
        (region, true) if region.starts_with("cn-") => "api.amazonwebservices.com.cn",
        (region, false) if region.starts_with("cn-") => "amazonaws.com.cn",
        (region, _) if region.starts_with("us-isob-") => "sc2s.sgov.gov",
        (region, _) if region.starts_with("us-isof-") => "csp.hci.ic.gov",
        (region, _) if region.starts_with("us-iso-") => "c2s.ic.gov",
        (region, _) if region.starts_with("eu-isoe-") => "cloud.adc-e.uk",
        (region, _) if region.starts_with("eusc-") => "amazonaws.eu",
        (_, true) => "api.aws",
        (_, false) => "amazonaws.com",
    }
}

fn signed(
    service: &Service,
    action: &str,
    region: &str,
    endpoint: &str,
    credentials: &Credentials,
    body: &Value,
) -> Result<HttpRequest, String> {
    let body = body.to_string();
    let url = format!("{endpoint}/");
    let content_type = format!("application/x-amz-json-{}", service.json);
    let headers = [("content-type", &*content_type), ("x-amz-target", &format!("{}.{action}", service.target))];
    let identity = credentials.clone().into();
    let params: SigningParams<'_> = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service.name)
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| error.to_string())?
        .into();
    let signable = SignableRequest::new("POST", &url, headers.into_iter(), SignableBody::Bytes(body.as_bytes()))
        .map_err(|error| chain(&error))?;
    let (instructions, _) = sign(signable, &params).map_err(|error| chain(&error))?.into_parts();
    let mut request = HttpRequest::new(SdkBody::from(body.as_str()));
    request.set_method("POST").map_err(|error| chain(&error))?;
    request.set_uri(url).map_err(|_| format!("{endpoint} is no address"))?;
    for (name, value) in headers {
        request.headers_mut().insert(name, value.to_owned());
    }
    for (name, value) in instructions.headers() {
        request.headers_mut().insert(name.to_owned(), value.to_owned());
    }
    Ok(request)
}

async fn read(body: SdkBody) -> Result<Vec<u8>, String> {
    let mut body = ByteStream::new(body);
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next().await {
        bytes.extend_from_slice(&chunk.map_err(|error| chain(&error))?);
        if bytes.len() > LARGEST_ANSWER {
            return Err("it is too large".to_owned());
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_partition_has_its_own_names() {
        for (region, end) in [
            ("us-east-1", "amazonaws.com"),
            ("us-gov-west-1", "amazonaws.com"),
            ("cn-north-1", "amazonaws.com.cn"),
            ("us-iso-east-1", "c2s.ic.gov"),
            ("us-isob-east-1", "sc2s.sgov.gov"),
            ("eusc-de-east-1", "amazonaws.eu"),
        ] {
            assert_eq!(suffix(region, false), end, "{region}");
        }
        assert_eq!(suffix("eu-west-1", true), "api.aws");
    }
}
