//! In front of a service that speaks HTTP: passes everything on, but for what a test has it refuse. Counts what was asked.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use crate::chaos::wire::{self, Body, Service};

/// What a request is told in place of an answer.
#[derive(Debug, Clone, Copy)]
pub enum Refusal {
    /// An error of S3's, in its format.
    Error(u16, &'static str),
    /// That all is well, though the service was not asked.
    Nothing,
    /// The right answer, of which half arrives.
    Half,
}

type Rule = Box<dyn Fn(&Method, &str, usize) -> Option<Refusal> + Send + Sync>;

/// A proxy before one service. Its clones are the same one.
#[derive(Clone)]
pub struct Front {
    address: SocketAddr,
    inner: Arc<Inner>,
}

struct Inner {
    upstream: SocketAddr,
    rule: Mutex<Option<Rule>>,
    header: Mutex<Option<&'static str>>,
    asked: Mutex<Vec<(Method, String)>>,
}

impl Front {
    /// An honest one in front of `endpoint`.
    pub async fn before(endpoint: &str) -> Self {
        let upstream = endpoint.trim_start_matches("http://").parse().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let inner =
            Arc::new(Inner { upstream, rule: Mutex::default(), header: Mutex::default(), asked: Mutex::default() });
        let shared = Arc::clone(&inner);
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let inner = Arc::clone(&shared);
                let service = service_fn(move |request| Arc::clone(&inner).answer(request));
                // A connection that breaks is what this is for.
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { address, inner }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on what this says, by method, path and the length of the body.
    pub fn refuse(&self, rule: impl Fn(&Method, &str, usize) -> Option<Refusal> + Send + Sync + 'static) {
        *self.inner.rule.lock().unwrap() = Some(Box::new(rule));
    }

    /// Requests with such a header are refused, as by services that do not know it.
    pub fn refuse_header(&self, prefix: &'static str) {
        *self.inner.header.lock().unwrap() = Some(prefix);
    }

    /// Nothing is refused any more.
    pub fn allow(&self) {
        *self.inner.rule.lock().unwrap() = None;
    }

    /// How often this was asked for.
    pub fn asked(&self, method: &Method, path: &str) -> usize {
        let asked = self.inner.asked.lock().unwrap();
        asked.iter().filter(|(by, what)| by == method && what.contains(path)).count()
    }
}

impl Inner {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, io::Error> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let path = head.uri.path().to_owned();
        self.asked.lock().unwrap().push((head.method.clone(), path.clone()));
        let unknown = *self.header.lock().unwrap();
        if unknown.is_some_and(|prefix| head.headers.keys().any(|name| name.as_str().starts_with(prefix))) {
            return Ok(Service::S3.refusal(400, "InvalidArgument", "Unsupported header received for this API call."));
        }
        let refusal = self.rule.lock().unwrap().as_ref().and_then(|rule| rule(&head.method, &path, body.len()));
        if let Some(Refusal::Error(status, code)) = refusal {
            // An answer to a HEAD has no body: it says nothing but its status.
            let mut answer = Service::S3.refusal(status, code, "as a test ordered");
            if head.method == Method::HEAD {
                *answer.body_mut() = wire::whole(Bytes::new());
            }
            return Ok(answer);
        }
        if matches!(refusal, Some(Refusal::Nothing)) {
            return Ok(Response::new(wire::whole(Bytes::new())));
        }
        let answer = self.forward(Request::from_parts(head, body)).await?;
        Ok(if refusal.is_some() { wire::half(answer) } else { answer.map(wire::whole) })
    }

    async fn forward(&self, request: Request<Bytes>) -> Result<Response<Bytes>, io::Error> {
        let stream = TcpStream::connect(self.upstream).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        let answer = sender.send_request(request.map(Full::new)).await.map_err(io::Error::other)?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        Ok(Response::from_parts(head, body))
    }
}
