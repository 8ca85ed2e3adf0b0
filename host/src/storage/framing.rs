//! How an answer's body is framed: whether the protocol itself tells its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;

/// Looks at the answer's head.
#[derive(Debug, Clone, Default)]
pub(super) struct Framing(Arc<AtomicBool>);

impl Framing {
    /// Whether a body that was cut off is an error; else it just ends, as the connection does.
    pub(super) fn has_an_end(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Intercept for Framing {
    fn name(&self) -> &'static str {
        "framing"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let encoding = context.response().headers().get("transfer-encoding");
        self.0.store(
            encoding.is_some_and(|encoding| encoding.to_ascii_lowercase().contains("chunked")),
            Ordering::Relaxed,
        );
        Ok(())
    }
}
