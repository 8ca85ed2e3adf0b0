//! What a source has offered last.

/// What was offered last. Content decides, not times and not names.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) digest: String,
    /// None: not looked at yet, so that any will do. (A component that is loaded when the source is made has been
    /// judged with whatever signature it had.)
    signature: Option<Option<String>>,
}

impl Seen {
    pub(super) fn loaded(digest: String) -> Self {
        Self { digest, signature: None }
    }

    pub(super) fn offered(digest: String, signature: Option<String>) -> Self {
        Self { digest, signature: Some(signature) }
    }

    pub(super) fn is(&self, digest: &str, signature: Option<&str>) -> bool {
        self.digest == digest && self.signature.as_ref().is_none_or(|seen| seen.as_deref() == signature)
    }
}
