//! Where components come from by themselves: a file that is watched, or an S3 object that is polled.

mod file;
mod s3;
mod seen;

use std::path::PathBuf;
use std::str::FromStr;

pub use file::FileSource;
pub use s3::S3Source;

use super::candidate::Candidate;

/// What `--component` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ComponentLocation {
    /// A path.
    File(PathBuf),
    /// `s3://bucket/key`
    S3 { bucket: String, key: String },
}

/// Why a text names no component.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    #[error("{0:?} names no object: write s3://bucket/key")]
    NoObject(String),
    #[error("{0:?} cannot be read: a component is a file or s3://bucket/key")]
    OtherScheme(String),
    #[error("no component is named: write a file or s3://bucket/key")]
    Empty,
}

impl ComponentLocation {
    /// Reads a path or an `s3://` URL.
    pub fn parse(text: &str) -> Result<Self, LocationError> {
        if text.is_empty() {
            return Err(LocationError::Empty);
        }
        let Some((scheme, rest)) = text.split_once("://") else { return Ok(Self::File(PathBuf::from(text))) };
        if !scheme.eq_ignore_ascii_case("s3") {
            return Err(LocationError::OtherScheme(text.to_owned()));
        }
        match rest.split_once('/') {
            Some((bucket, key)) if !bucket.is_empty() && !key.is_empty() && !key.ends_with('/') => {
                Ok(Self::S3 { bucket: bucket.to_owned(), key: key.to_owned() })
            }
            _ => Err(LocationError::NoObject(text.to_owned())),
        }
    }
}

impl FromStr for ComponentLocation {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        Self::parse(text)
    }
}

impl std::fmt::Display for ComponentLocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::S3 { bucket, key } => write!(f, "s3://{bucket}/{key}"),
        }
    }
}

/// One of them.
pub enum Source {
    File(FileSource),
    S3(S3Source),
}

impl Source {
    /// Waits for a component that was not offered before. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Candidate {
        match self {
            Self::File(source) => source.next().await,
            Self::S3(source) => source.next().await,
        }
    }

    /// Offers once more what is there now, seen or not: somebody asks for it (SIGHUP).
    pub fn recheck(&mut self) {
        match self {
            Self::File(source) => source.recheck(),
            Self::S3(source) => source.recheck(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_a_file_or_an_object() {
        let parse = ComponentLocation::parse;
        assert_eq!(parse("a/b.wasm"), Ok(ComponentLocation::File("a/b.wasm".into())));
        let object = ComponentLocation::S3 { bucket: "b".to_owned(), key: "k/w.wasm".to_owned() };
        assert_eq!(parse("s3://b/k/w.wasm"), Ok(object.clone()));
        assert_eq!(object.to_string(), "s3://b/k/w.wasm");
        for text in ["s3://", "s3://b", "s3://b/", "s3:///k", "s3://b/folder/"] {
            assert_eq!(parse(text), Err(LocationError::NoObject(text.to_owned())));
        }
        assert_eq!(parse("https://a/b"), Err(LocationError::OtherScheme("https://a/b".to_owned())));
        assert_eq!(parse(""), Err(LocationError::Empty));
    }
}
