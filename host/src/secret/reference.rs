//! How a secret is named.

use std::fmt;
use std::path::PathBuf;

use super::error::SecretError;

/// A secret's place, and which of its JSON's values is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) place: Place,
    key: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Name or ARN; a stage and a version where the reference names them.
    SecretsManager {
        id: String,
        stage: Option<String>,
        version: Option<String>,
    },
    /// Name or ARN.
    ParameterStore {
        name: String,
    },
    File {
        path: PathBuf,
    },
}

/// The parts of a secret's ARN. What ECS writes behind it: a key, a stage, a version.
const ARN_PARTS: usize = 7;

impl Reference {
    pub(super) fn parse(text: &str) -> Result<Self, SecretError> {
        let text = text.trim();
        let (whole, key) = match text.rsplit_once('#') {
            Some((whole, key)) if !key.is_empty() => (whole, Some(key.to_owned())),
            Some((_, _)) => return Err(SecretError::Reference("there is no name behind the # (expected NAME#KEY)")),
            None => (text, None),
        };
        if let Some(path) = whole.strip_prefix("file:") {
            if path.is_empty() {
                return Err(SecretError::Reference("file: names no file (expected file:PATH)"));
            }
            return Ok(Self { place: Place::File { path: path.into() }, key });
        }
        // Such a value is no name: it is the secret itself, and is not repeated.
        if whole.contains("://") || whole.contains(char::is_whitespace) {
            return Err(SecretError::Reference(
                "it is to name a secret, not to hold it: a name or ARN of Secrets Manager, ssm:NAME or file:PATH",
            ));
        }
        let name = whole.strip_prefix("ssm:").unwrap_or(whole);
        let is_name = |c: char| c.is_ascii_alphanumeric() || "/_+=.@-!:".contains(c);
        if name.is_empty() || name.len() > 2048 || !name.chars().all(is_name) {
            return Err(SecretError::Reference(
                "it is no name of a secret (expected a name or ARN of Secrets Manager, ssm:NAME or file:PATH)",
            ));
        }
        if whole.starts_with("ssm:") || is_arn_of("ssm", whole) {
            return Ok(Self { place: Place::ParameterStore { name: name.to_owned() }, key });
        }
        Self::of_secrets_manager(name, key)
    }

    fn of_secrets_manager(name: &str, key: Option<String>) -> Result<Self, SecretError> {
        if !name.starts_with("arn:") {
            if name.contains(':') {
                return Err(SecretError::Reference(
                    "no kind of secret begins so (expected a name or ARN of Secrets Manager, ssm:NAME or file:PATH)",
                ));
            }
            return Ok(Self { place: Place::SecretsManager { id: name.to_owned(), stage: None, version: None }, key });
        }
        let parts: Vec<&str> = name.split(':').collect();
        if !is_arn_of("secretsmanager", name) || !(ARN_PARTS..=ARN_PARTS + 3).contains(&parts.len()) {
            return Err(SecretError::Reference(
                "it is no ARN of a secret (expected arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME)",
            ));
        }
        let id = parts.get(..ARN_PARTS).unwrap_or_default().join(":");
        let part = |place: usize| parts.get(place).filter(|part| !part.is_empty()).map(|part| (*part).to_owned());
        let (stage, version) = (part(ARN_PARTS + 1), part(ARN_PARTS + 2));
        Ok(Self { place: Place::SecretsManager { id, stage, version }, key: key.or(part(ARN_PARTS)) })
    }

    pub(super) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }
}

fn is_arn_of(service: &str, text: &str) -> bool {
    let mut parts = text.split(':');
    parts.next() == Some("arn") && parts.nth(1) == Some(service)
}

/// The region that an ARN names.
pub(super) fn region_in(id: &str) -> Option<&str> {
    id.strip_prefix("arn:")?.split(':').nth(2).filter(|region| !region.is_empty())
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::SecretsManager { id, .. } => f.write_str(id),
            Place::ParameterStore { name } => write!(f, "ssm:{name}"),
            Place::File { path } => write!(f, "file:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ARN: &str = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db-AbCdEf";

    fn parsed(text: &str) -> (Place, Option<String>) {
        let Reference { place, key } = Reference::parse(text).unwrap();
        (place, key)
    }

    fn secret(id: &str, stage: Option<&str>, version: Option<&str>) -> Place {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Place::SecretsManager { id: id.to_owned(), stage: owned(stage), version: owned(version) }
    }

    #[test]
    fn each_kind_has_its_form() {
        let key = |key: &str| Some(key.to_owned());
        assert_eq!(parsed("prod/db"), (secret("prod/db", None, None), None));
        assert_eq!(parsed("rds!db-1f-2e#password"), (secret("rds!db-1f-2e", None, None), key("password")));
        assert_eq!(parsed(ARN), (secret(ARN, None, None), None));
        assert_eq!(parsed(&format!("{ARN}:url::")), (secret(ARN, None, None), key("url")));
        assert_eq!(parsed(&format!("{ARN}::AWSPREVIOUS:v1")), (secret(ARN, Some("AWSPREVIOUS"), Some("v1")), None));
        let parameter = |name: &str| Place::ParameterStore { name: name.to_owned() };
        assert_eq!(parsed("ssm:/prod/db"), (parameter("/prod/db"), None));
        let arn = "arn:aws-cn:ssm:cn-north-1:123456789012:parameter/prod/db";
        assert_eq!(parsed(&format!("{arn}#url")), (parameter(arn), key("url")));
        assert_eq!(parsed("ssm:prod.db:3"), (parameter("prod.db:3"), None));
        assert_eq!(parsed("file:/run/a b:c/db"), (Place::File { path: "/run/a b:c/db".into() }, None));
    }

    #[test]
    fn what_is_no_name_is_refused_and_not_repeated() {
        for text in
            ["postgres://me:pw@h/d", "host=h password=pw", "", "ssm:", "file:", "vault:pw", "name#", "arn:aws:s3:::pw"]
        {
            let error = Reference::parse(text).unwrap_err().to_string();
            assert!(error.contains("expected") || error.contains("not to hold it"), "{text}: {error}");
            assert!(!error.contains("pw"), "{text}: {error}");
        }
    }

    #[test]
    fn an_arn_says_which_region() {
        assert_eq!((region_in(ARN), region_in("prod/db")), (Some("eu-west-1"), None));
    }
}
