//! The three places that secrets are read from.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::sync::OnceCell;

use super::error::SecretError;
use super::reference::{Place, Reference, region_in};
use crate::aws::AwsOverrides;
use crate::aws::call::{Caller, Service};
use crate::failure::{Failure, FailureKind};

const SECRETS_MANAGER: Service = Service {
    name: "secretsmanager",
    target: "secretsmanager",
    endpoint: "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    json: "1.1",
};
const PARAMETER_STORE: Service =
    Service { name: "ssm", target: "AmazonSSM", endpoint: "AWS_ENDPOINT_URL_SSM", json: "1.1" };

/// As Secrets Manager's own limit.
const LARGEST: u64 = 64 << 10;
/// Where systemd puts a service's credentials.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Which of a secret's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The one that counts.
    Current,
    /// The one that a rotation is about to make the current one. Only Secrets Manager knows of it.
    Pending,
}

/// Reads secrets. AWS is looked for when one of its own is read first.
#[derive(Debug)]
pub(super) struct Store {
    aws: AwsOverrides,
    caller: OnceCell<Caller>,
}

impl Store {
    pub(super) fn new(aws: AwsOverrides) -> Self {
        Self { aws, caller: OnceCell::new() }
    }

    /// What the secret holds; none where it has no value of that stage.
    pub(super) async fn read(&self, reference: &Reference, stage: Stage) -> Result<Option<String>, SecretError> {
        let unread = |source| SecretError::Unread { secret: reference.to_string(), source };
        match &reference.place {
            Place::File { .. } | Place::ParameterStore { .. } if stage == Stage::Pending => Ok(None),
            Place::File { path } => file(path).await.map(Some),
            Place::ParameterStore { name } => self.parameter(name).await.map(Some)?.transpose().map_err(unread),
            // Who names a version means that one.
            Place::SecretsManager { stage: Some(_), .. } | Place::SecretsManager { version: Some(_), .. }
                if stage == Stage::Pending =>
            {
                Ok(None)
            }
            Place::SecretsManager { id, stage: named, version } => {
                let label = match stage {
                    Stage::Current => named.as_deref(),
                    Stage::Pending => Some("AWSPENDING"),
                };
                match self.secret(id, label, version.as_deref()).await? {
                    Err(failure) if stage == Stage::Pending && failure.kind == FailureKind::NotFound => Ok(None),
                    read => read.map(Some).map_err(unread),
                }
            }
        }
    }

    async fn secret(
        &self,
        id: &str,
        stage: Option<&str>,
        version: Option<&str>,
    ) -> Result<Result<String, Failure>, SecretError> {
        let named = [("SecretId", Some(id)), ("VersionStage", stage), ("VersionId", version)];
        let body = named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into()))).collect();
        let answer = self.call((&SECRETS_MANAGER, "GetSecretValue"), id, &Value::Object(body)).await?;
        let text = |answer: Value| {
            let text = answer.get("SecretString").and_then(Value::as_str).map(str::to_owned);
            let bytes = || BASE64_STANDARD.decode(answer.get("SecretBinary")?.as_str()?).ok();
            text.or_else(|| String::from_utf8(bytes()?).ok())
        };
        Ok(answer.and_then(|answer| text(answer).ok_or_else(|| without_text("secretsmanager"))))
    }

    async fn parameter(&self, name: &str) -> Result<Result<String, Failure>, SecretError> {
        let body = json!({ "Name": name, "WithDecryption": true });
        let answer = self.call((&PARAMETER_STORE, "GetParameter"), name, &body).await?;
        let text = |answer: Value| Some(answer.get("Parameter")?.get("Value")?.as_str()?.to_owned());
        Ok(answer.and_then(|answer| text(answer).ok_or_else(|| without_text("ssm"))))
    }

    async fn call(
        &self,
        (service, action): (&Service, &str),
        id: &str,
        body: &Value,
    ) -> Result<Result<Value, Failure>, SecretError> {
        let caller = self.caller.get_or_try_init(|| Caller::load(&self.aws)).await?;
        let region = match region_in(id) {
            Some(region) => region.to_owned(),
            None => caller.region()?,
        };
        Ok(caller.call((service, action), &region, action, body).await)
    }
}

fn without_text(service: &str) -> Failure {
    Failure::new(FailureKind::BadResponse, format!("{service}.BadAnswer"), "there is no text in the answer")
}

/// A relative name is one of systemd's credentials where there is such a one.
async fn file(path: &Path) -> Result<String, SecretError> {
    let of_service = |folder| PathBuf::from(folder).join(path);
    let path = match std::env::var_os(CREDENTIALS).map(of_service) {
        Some(credential) if path.is_relative() && credential.exists() => credential,
        _ => path.to_owned(),
    };
    let problem = |reason: String| SecretError::File { path: path.clone(), reason };
    let file = tokio::fs::File::open(&path).await.map_err(|error| problem(error.to_string()))?;
    let mut text = String::new();
    file.take(LARGEST + 1).read_to_string(&mut text).await.map_err(|error| problem(error.to_string()))?;
    if text.len() as u64 > LARGEST {
        return Err(problem("it is larger than a secret may be (64 KiB)".to_owned()));
    }
    Ok(text)
}
