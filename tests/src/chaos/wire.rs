//! What S3 and Textract say when they refuse, each in its own format, and answers that do not arrive whole.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Which service's format it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    S3,
    Textract,
}

impl Service {
    /// "Not so fast." `variant` chooses among the ways in which the service says it.
    pub fn throttled(self, variant: bool) -> Response<Body> {
        match (self, variant) {
            (Self::S3, _) => self.refusal(503, "SlowDown", "Please reduce your request rate."),
            (Self::Textract, true) => self.refusal(400, "ThrottlingException", "Rate exceeded"),
            (Self::Textract, false) => {
                self.refusal(400, "ProvisionedThroughputExceededException", "Provisioned rate exceeded")
            }
        }
    }

    /// "It is me, not you."
    pub fn broken(self, variant: bool) -> Response<Body> {
        match (self, variant) {
            (Self::S3, true) => {
                self.refusal(500, "InternalError", "We encountered an internal error. Please try again.")
            }
            (Self::S3, false) => self.refusal(503, "ServiceUnavailable", "Service is unable to handle request."),
            (Self::Textract, true) => self.refusal(500, "InternalServerError", "Internal server error"),
            (Self::Textract, false) => self.refusal(503, "ServiceUnavailableException", "Service unavailable"),
        }
    }

    pub fn refusal(self, status: u16, code: &str, message: &str) -> Response<Body> {
        let (content_type, body) = match self {
            Self::S3 => (
                "application/xml",
                format!(
                    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message>\
                     <RequestId>CHAOS</RequestId></Error>"
                ),
            ),
            Self::Textract => {
                ("application/x-amz-json-1.1", serde_json::json!({ "__type": code, "Message": message }).to_string())
            }
        };
        let mut response = Response::new(whole(body.into()));
        *response.status_mut() = StatusCode::from_u16(status).expect("a status");
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        response
    }
}

/// All of it.
pub fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// Promises all of it, sends half, and breaks off.
pub fn half(answer: Response<Bytes>) -> Response<Body> {
    let (mut head, bytes) = answer.into_parts();
    head.headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    let first = bytes.slice(..bytes.len() / 2);
    let frames = stream::unfold(Some(first), |first| async {
        match first {
            Some(first) => Some((Ok(Frame::data(first)), None)),
            None => {
                // Time for the half to leave before the connection is torn down.
                tokio::time::sleep(Duration::from_millis(20)).await;
                Some((Err(io::Error::other("broken off, as planned")), None))
            }
        }
    });
    Response::from_parts(head, StreamBody::new(frames).boxed_unsync())
}
