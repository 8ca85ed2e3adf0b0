//! The routes, and who may use them.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{ALLOW, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, ORIGIN};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::subject::Subject;
use super::token;
use crate::swap::{Candidate, Control, LARGEST_COMPONENT};
use crate::telemetry::metrics;

/// For people: where the component came from.
pub(super) const NAME_HEADER: &str = "x-component-name";
/// Base64 of the signature file's text.
pub(super) const SIGNATURE_HEADER: &str = "x-component-signature";

/// How long an admitted body may pause.
const SILENCE: Duration = Duration::from_secs(30);
/// Bytes of a body nobody wants that are read nevertheless, and for how long.
const DISCARD: usize = 1 << 20;
const DISCARD_FOR: Duration = Duration::from_secs(1);

pub(super) struct Service {
    secret: String,
    receiving: Mutex<()>,
    subject: Subject,
    /// Why nobody can have the token.
    no_token: std::sync::Mutex<Option<String>>,
}

type Answer = Response<Full<Bytes>>;

impl Service {
    pub(super) fn new(secret: String, subject: Subject) -> Self {
        Self { secret, receiving: Mutex::new(()), subject, no_token: std::sync::Mutex::default() }
    }

    /// Whether the token is where those find it who may have it.
    pub(super) fn has_token(&self, left: Result<(), String>) {
        *self.no_token.lock().unwrap_or_else(PoisonError::into_inner) = left.err();
    }

    async fn respond(&self, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        // The server leaves the body away by itself.
        let method = if head.method == Method::HEAD { Method::GET } else { head.method };
        let route = (&method, head.uri.path());
        if let Err(refusal) = self.admit(route, &head.headers) {
            return unread(body, refusal.response());
        }
        let answer = match route {
            (&Method::GET, "/healthz") => json_answer(StatusCode::OK, &json!({ "status": "ok" })),
            (&Method::GET, "/readyz") => self.readiness(),
            (&Method::GET, "/metrics") => answer(StatusCode::OK, metrics::CONTENT_TYPE, self.subject.metrics.encode()),
            (&Method::GET, "/components") => self.shown(Control::components),
            (&Method::GET, "/shadow") => self.shown(Control::shadow),
            (&Method::POST, "/swap") => match self.subject.control() {
                Some(control) => return self.offered(control, &head.headers, body).await,
                None => starting().response(),
            },
            (_, "/healthz" | "/readyz" | "/metrics" | "/components" | "/shadow") => wrong_method("GET, HEAD"),
            (_, "/swap") => wrong_method("POST"),
            (_, path) => Refusal(StatusCode::NOT_FOUND, format!("there is nothing at {path}")).response(),
        };
        unread(body, answer)
    }

    /// What shows no secret is for everybody; the rest is for those who can read the token. No browser gets any of it, whatever
    /// page it shows.
    fn admit(&self, route: (&Method, &str), headers: &HeaderMap) -> Result<(), Refusal> {
        if headers.contains_key(ORIGIN) {
            return Err(Refusal(StatusCode::FORBIDDEN, "requests from web pages are not answered".to_owned()));
        }
        if matches!(route, (&Method::GET, "/healthz" | "/readyz" | "/metrics")) {
            return Ok(());
        }
        let given = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        if given.is_some_and(|given| token::same(&self.secret, given)) {
            return Ok(());
        }
        match self.no_token.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            Some(why) => Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, why)),
            None => Err(Refusal(StatusCode::UNAUTHORIZED, "the bearer token is missing or wrong".to_owned())),
        }
    }

    fn readiness(&self) -> Answer {
        let readiness = self.subject.health.readiness();
        let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        match serde_json::to_value(&readiness) {
            Ok(value) => json_answer(status, &value),
            Err(error) => Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).response(),
        }
    }

    fn shown(&self, show: impl Fn(&dyn Control) -> Value) -> Answer {
        match self.subject.control() {
            Some(control) => json_answer(StatusCode::OK, &show(&*control)),
            None => starting().response(),
        }
    }

    async fn offered(&self, control: Arc<dyn Control>, headers: &HeaderMap, body: Incoming) -> Answer {
        if body.size_hint().lower() > LARGEST_COMPONENT {
            return unread(body, too_large().response());
        }
        let received = {
            // One at a time: what is being received is in memory.
            let _turn = self.receiving.lock().await;
            receive(body).await
        };
        match received.and_then(|bytes| candidate(headers, bytes)) {
            Ok(candidate) => swap(control, candidate).await,
            Err(refusal) => refusal.response(),
        }
    }
}

async fn swap(control: Arc<dyn Control>, candidate: Candidate) -> Answer {
    // A task of its own: a swap that has begun is not abandoned when the one who asked goes away.
    match tokio::spawn(async move { control.swap(candidate).await }).await {
        Ok(verdict) => match serde_json::to_value(&verdict) {
            Ok(verdict) => json_answer(StatusCode::OK, &verdict),
            Err(error) => Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).response(),
        },
        Err(error) => Refusal(StatusCode::INTERNAL_SERVER_ERROR, format!("the swap failed: {error}")).response(),
    }
}

/// The service as hyper wants it.
#[derive(Clone)]
pub(super) struct Handler(pub(super) Arc<Service>);

impl hyper::service::Service<Request<Incoming>> for Handler {
    type Response = Answer;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let service = Arc::clone(&self.0);
        Box::pin(async move { Ok(service.respond(request).await) })
    }
}

/// An error as a client gets it.
struct Refusal(StatusCode, String);

impl Refusal {
    fn response(self) -> Answer {
        let mut answer = json_answer(self.0, &json!({ "error": self.1 }));
        if self.0 == StatusCode::UNAUTHORIZED {
            answer.headers_mut().insert("www-authenticate", HeaderValue::from_static("Bearer"));
        }
        answer
    }
}

async fn receive(body: Incoming) -> Result<Vec<u8>, Refusal> {
    let limit = usize::try_from(LARGEST_COMPONENT).unwrap_or(usize::MAX);
    let mut body = Limited::new(body, limit);
    let mut received = Vec::new();
    loop {
        let frame = match tokio::time::timeout(SILENCE, body.frame()).await {
            Ok(None) => return Ok(received),
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) if error.is::<LengthLimitError>() => return Err(too_large()),
            Ok(Some(Err(error))) => {
                return Err(Refusal(StatusCode::BAD_REQUEST, format!("the request broke off: {error}")));
            }
            Err(_) => {
                let why = format!("nothing came for {} s", SILENCE.as_secs());
                return Err(Refusal(StatusCode::REQUEST_TIMEOUT, why));
            }
        };
        if let Some(data) = frame.data_ref() {
            received.extend_from_slice(data);
        }
    }
}

/// Answers without looking at the body, and hangs up. Some of the body is thrown away first: many a client reads no answer
/// before it has sent its request, and what is unread when a connection closes can cost it the answer.
fn unread(mut body: Incoming, mut answer: Answer) -> Answer {
    if body.is_end_stream() {
        return answer;
    }
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    tokio::spawn(tokio::time::timeout(DISCARD_FOR, async move {
        let mut discarded = 0;
        while let Some(Ok(frame)) = body.frame().await {
            discarded += frame.data_ref().map_or(0, Bytes::len);
            if discarded > DISCARD {
                break;
            }
        }
    }));
    answer
}

fn too_large() -> Refusal {
    Refusal(StatusCode::PAYLOAD_TOO_LARGE, format!("a component may have {LARGEST_COMPONENT} bytes"))
}

fn candidate(headers: &HeaderMap, bytes: Vec<u8>) -> Result<Candidate, Refusal> {
    let text = |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let signature = match text(SIGNATURE_HEADER) {
        None => None,
        Some(encoded) => {
            let decoded = STANDARD.decode(&encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let wrong = || Refusal(StatusCode::BAD_REQUEST, format!("{SIGNATURE_HEADER} is no Base64 of a text"));
            Some(decoded.ok_or_else(wrong)?)
        }
    };
    let name = text(NAME_HEADER).unwrap_or_else(|| "POST /swap".to_owned());
    Ok(Candidate { name, bytes, signature })
}

fn starting() -> Refusal {
    Refusal(StatusCode::SERVICE_UNAVAILABLE, "the host is starting; /readyz says what it waits for".to_owned())
}

fn wrong_method(allowed: &'static str) -> Answer {
    let mut answer = Refusal(StatusCode::METHOD_NOT_ALLOWED, format!("this is for {allowed}")).response();
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

fn json_answer(status: StatusCode, value: &Value) -> Answer {
    answer(status, "application/json", value.to_string())
}

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}
