//! A connection string that is kept elsewhere: in Secrets Manager, in Parameter Store, in a file. It is read anew when the database
//! refuses what was known of it (docs/decisions/0028).

mod error;
mod reference;
mod store;
mod value;

use std::fmt;

pub use self::error::SecretError;
use self::reference::Reference;
pub use self::store::Stage;
use self::store::Store;
pub use self::value::is_template;
use crate::aws::AwsOverrides;

/// A text that is shown to nobody.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    /// The text itself, for whoever parses it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden")
    }
}

/// Where a connection string is, and how it is made of what is there.
#[derive(Debug)]
pub struct ConnectionSecret {
    reference: Reference,
    template: Option<Hidden>,
    store: Store,
}

impl ConnectionSecret {
    /// `reference` names the secret; `template` is a connection string with {names} in it, which its values replace.
    pub fn new(reference: &str, template: Option<&str>, aws: AwsOverrides) -> Result<Self, SecretError> {
        let template = template.map(|template| Hidden(template.trim().to_owned()));
        if template.as_ref().is_some_and(|template| !is_template(template.reveal())) {
            return Err(SecretError::Reference(
                "a connection string and a secret are both given; unset one, or let the string have places for what is in the \
                 secret: postgres://{username}:{password}@host:5432/db",
            ));
        }
        Ok(Self { reference: Reference::parse(reference)?, template, store: Store::new(aws) })
    }

    /// Reads the connection string; none where the secret has no value of that stage.
    pub async fn read(&self, stage: Stage) -> Result<Option<Hidden>, SecretError> {
        let Some(text) = self.store.read(&self.reference, stage).await? else { return Ok(None) };
        let template = self.template.as_ref().map(Hidden::reveal);
        let string = value::connection_string(&text, self.reference.key(), template)
            .map_err(|reason| SecretError::Unfit { secret: self.reference.to_string(), reason })?;
        Ok(Some(Hidden(string)))
    }
}

impl fmt::Display for ConnectionSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reference.fmt(f)
    }
}
