//! The protocol: AWS JSON 1.1 in, blocks or a refusal out.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Semaphore;

use super::blocks::Block;
use super::document::{Document, Image};
use super::faults::Fault;
use super::reader::{self, Reader};
use super::refusal::Refusal;
use super::settings::Settings;

/// Enough for a 10 MiB image in Base64, so that a document that is too large is told so, and not that its request is.
const MAX_REQUEST_BYTES: usize = 16 * 1024 * 1024;
/// A client reads no answer before it has sent its request: this much of one is read for the answer's sake.
const MAX_DRAINED_BYTES: usize = 64 * 1024 * 1024;

pub(super) struct Service {
    pub(super) settings: Settings,
    log: Mutex<Log>,
    /// As many images at once as there are cores.
    cores: Semaphore,
}

/// What tests ask for afterwards.
#[derive(Default)]
pub(super) struct Log {
    pub(super) requests: u64,
    pub(super) calls: HashMap<String, u64>,
    pub(super) last_body: Option<Bytes>,
    pub(super) bodies: HashMap<String, Bytes>,
}

type Body = UnsyncBoxBody<Bytes, io::Error>;

impl Service {
    pub(super) fn new(settings: Settings) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { settings, log: Mutex::default(), cores: Semaphore::new(cores) }
    }

    pub(super) fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn respond(&self, request: Request<Incoming>) -> Response<Body> {
        let number = {
            let mut log = self.log();
            log.requests += 1;
            log.requests
        };
        let mut response = match self.answer(request).await {
            Ok(answer) => answer,
            Err(refusal) => refused(&refusal),
        };
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
        if let Ok(id) = HeaderValue::from_str(&format!("00000000-0000-4000-8000-{number:012x}")) {
            headers.insert("x-amzn-requestid", id);
        }
        response
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
        let (head, body) = request.into_parts();
        let body = receive(body).await?;
        let operation = match (head.method, head.uri.path()) {
            (Method::POST, "/") => Operation::of(&head.headers)?,
            _ => {
                return Err(Refusal { status: StatusCode::NOT_FOUND, ..Refusal::unknown_operation() });
            }
        };
        require_signature(&head.headers)?;
        let input: Input = serde_json::from_slice(&body).map_err(|error| Refusal::serialization(&error.to_string()))?;
        drop(body);
        if operation == Operation::AnalyzeDocument && input.feature_types.is_none_or(|types| types.is_empty()) {
            return Err(Refusal::invalid_parameter("AnalyzeDocument needs FeatureTypes."));
        }
        let document = input.document.ok_or_else(|| Refusal::invalid_parameter("Document is missing."))?;

        let (fault, mut cleared) = self.settings.faults.take();
        match &fault {
            Some(Fault::Error { kind, status, message }) => {
                let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                return Err(Refusal { status, ..Refusal::new(kind, message) });
            }
            Some(Fault::Delay(delay)) => tokio::time::sleep(*delay).await,
            Some(Fault::Held) => {
                let _ = cleared.changed().await;
            }
            _ => {}
        }

        let image = document.load(self.settings.s3.as_ref()).await?;
        let answer = self.read(operation, &image).await?;
        *self.log().calls.entry(image.digest.clone()).or_default() += 1;
        match fault {
            Some(Fault::Never) => std::future::pending().await,
            Some(Fault::HalfBody) => Ok(broken_off(&answer)),
            Some(Fault::Garbage) => Ok(Response::new(whole(Bytes::from_static(b"{\"Blocks\": [<html>")))),
            _ => {
                let mut log = self.log();
                log.last_body = Some(answer.clone());
                log.bodies.insert(image.digest, answer.clone());
                Ok(Response::new(whole(answer)))
            }
        }
    }

    async fn read(&self, operation: Operation, image: &Image) -> Result<Bytes, Refusal> {
        let tesseract = match &self.settings.reader {
            Reader::Recorded(recordings) => return recordings.find(&image.digest),
            Reader::Tesseract { path } => path,
        };
        let _core = self.cores.acquire().await.map_err(|error| Refusal::internal(&error.to_string()))?;
        let blocks = reader::read(tesseract, image).await?;
        let answer = serde_json::to_vec(&operation.output(&blocks));
        Ok(answer.map_err(|error| Refusal::internal(&error.to_string()))?.into())
    }
}

/// The service as hyper wants it.
#[derive(Clone)]
pub(super) struct Handler(pub(super) Arc<Service>);

impl hyper::service::Service<Request<Incoming>> for Handler {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let service = Arc::clone(&self.0);
        Box::pin(async move { Ok(service.respond(request).await) })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    DetectDocumentText,
    AnalyzeDocument,
    AnalyzeExpense,
}

impl Operation {
    fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        match headers.get("x-amz-target").map(HeaderValue::as_bytes) {
            Some(b"Textract.DetectDocumentText") => Ok(Self::DetectDocumentText),
            Some(b"Textract.AnalyzeDocument") => Ok(Self::AnalyzeDocument),
            Some(b"Textract.AnalyzeExpense") => Ok(Self::AnalyzeExpense),
            _ => Err(Refusal::unknown_operation()),
        }
    }

    fn output(self, blocks: &[Block]) -> serde_json::Value {
        let metadata = json!({ "Pages": 1 });
        match self {
            Self::DetectDocumentText => json!({
                "Blocks": blocks, "DetectDocumentTextModelVersion": "1.0", "DocumentMetadata": metadata,
            }),
            Self::AnalyzeDocument => json!({
                "AnalyzeDocumentModelVersion": "1.0", "Blocks": blocks, "DocumentMetadata": metadata,
            }),
            Self::AnalyzeExpense => {
                let expense = json!({
                    "Blocks": blocks, "ExpenseIndex": 1, "LineItemGroups": [], "SummaryFields": [],
                });
                json!({ "DocumentMetadata": metadata, "ExpenseDocuments": [expense] })
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Input {
    document: Option<Document>,
    feature_types: Option<Vec<String>>,
}

async fn receive(mut body: Incoming) -> Result<Bytes, Refusal> {
    let mut received = Vec::new();
    let mut size = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Refusal::serialization(&format!("the request broke off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        size += data.len();
        if size <= MAX_REQUEST_BYTES {
            received.extend_from_slice(&data);
        } else if size > MAX_DRAINED_BYTES {
            break;
        }
    }
    match size <= MAX_REQUEST_BYTES {
        true => Ok(received.into()),
        false => Err(Refusal {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            ..Refusal::new("RequestEntityTooLargeException", format!("A request may have {MAX_REQUEST_BYTES} bytes."))
        }),
    }
}

/// A signature has to be there, so that a client without credentials is found out here and not at AWS.
fn require_signature(headers: &HeaderMap) -> Result<(), Refusal> {
    let signed = headers.get(AUTHORIZATION).is_some_and(|value| value.as_bytes().starts_with(b"AWS4-HMAC-SHA256 "));
    match signed {
        true => Ok(()),
        false => Err(Refusal::new("MissingAuthenticationTokenException", "Missing Authentication Token")),
    }
}

fn refused(refusal: &Refusal) -> Response<Body> {
    let body = json!({ "__type": refusal.kind, "Message": refusal.message }).to_string();
    let mut response = Response::new(whole(body.into()));
    *response.status_mut() = refusal.status;
    response
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// Promises all of it and sends half.
fn broken_off(answer: &Bytes) -> Response<Body> {
    let half = answer.slice(..answer.len() / 2);
    let frames = stream::unfold(Some(half), |half| async {
        match half {
            Some(half) => Some((Ok(Frame::data(half)), None)),
            None => {
                // Time for the half to leave before the connection is torn down.
                tokio::time::sleep(Duration::from_millis(50)).await;
                Some((Err(io::Error::other("half an answer was ordered")), None))
            }
        }
    });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(answer.len()));
    response
}
