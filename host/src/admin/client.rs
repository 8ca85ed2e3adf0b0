//! How a verb talks to the host that runs on this machine.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::service::{NAME_HEADER, SIGNATURE_HEADER};
use super::token;
use crate::swap::{Candidate, Verdict};

/// A host that can be asked.
#[derive(Debug)]
pub struct AdminClient {
    address: SocketAddr,
    token: HeaderValue,
    token_file: PathBuf,
}

/// Why a host cannot be asked, or does not answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no host listens on {address}: start host run (without --admin off), or name its address with --admin")]
    NobodyThere { address: SocketAddr },
    #[error("cannot connect to the host on {address}: {reason}")]
    Connect { address: SocketAddr, reason: io::Error },
    #[error(
        "something listens on {address}, but no host of this user: there is no token {}; \
         run this as the user of that host, with the same HOME",
        path.display()
    )]
    NoToken { address: SocketAddr, path: PathBuf },
    #[error("the token {} cannot be read: {reason}; run this as the user who runs the host on {address}", path.display())]
    Token { address: SocketAddr, path: PathBuf, reason: io::Error },
    #[error("the host on {address} does not know the token {}: it belongs to another host", path.display())]
    WrongToken { address: SocketAddr, path: PathBuf },
    #[error("the host on {address} went away before it answered: {reason}")]
    WentAway { address: SocketAddr, reason: String },
    #[error("the host on {address} refuses ({status}): {message}")]
    Refused { address: SocketAddr, status: u16, message: String },
    #[error("what answers on {address} is no host of this version: {reason}")]
    NoHost { address: SocketAddr, reason: String },
}

impl AdminClient {
    /// Finds the host that listens there, and the token that it left in `folder`.
    pub async fn find(address: SocketAddr, folder: &Path) -> Result<Self, ClientError> {
        // First of all whether anybody is there: without a host there is no token either, and that says less.
        connect(address).await?;
        let path = token::path(folder, address);
        let text = std::fs::read_to_string(&path).map_err(|reason| match reason.kind() {
            io::ErrorKind::NotFound => ClientError::NoToken { address, path: path.clone() },
            _ => ClientError::Token { address, path: path.clone(), reason },
        })?;
        let mut token = HeaderValue::try_from(format!("Bearer {}", text.trim()))
            .map_err(|_| ClientError::WrongToken { address, path: path.clone() })?;
        token.set_sensitive(true);
        Ok(Self { address, token, token_file: path })
    }

    /// Offers a component and waits for the verdict, however long the gate takes.
    pub async fn swap(&self, candidate: Candidate) -> Result<Verdict, ClientError> {
        // A host takes little of what it refuses and hangs up: whoever still sends would not hear why.
        self.components().await?;
        let mut request = self.request(Method::POST, "/swap", Bytes::from(candidate.bytes))?;
        let name: String = candidate.name.chars().filter(|c| !c.is_control()).collect();
        if let Ok(name) = HeaderValue::from_bytes(name.as_bytes()) {
            request.headers_mut().insert(NAME_HEADER, name);
        }
        if let Some(signature) = candidate.signature {
            let encoded = HeaderValue::try_from(STANDARD.encode(signature)).map_err(|error| self.no_host(&error))?;
            request.headers_mut().insert(SIGNATURE_HEADER, encoded);
        }
        serde_json::from_value(self.send(request).await?).map_err(|error| self.no_host(&error))
    }

    /// The shadow's statistics, null when there is none.
    pub async fn shadow(&self) -> Result<Value, ClientError> {
        self.send(self.request(Method::GET, "/shadow", Bytes::new())?).await
    }

    /// What is running.
    pub async fn components(&self) -> Result<Value, ClientError> {
        self.send(self.request(Method::GET, "/components", Bytes::new())?).await
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, ClientError> {
        let request = Request::builder().method(method).uri(path).header(HOST, self.address.to_string());
        let request = request.header(AUTHORIZATION, self.token.clone());
        request.body(Full::new(body)).map_err(|error| self.no_host(&error))
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Value, ClientError> {
        let address = self.address;
        let (status, body) = exchange(address, request).await?;
        if status == StatusCode::UNAUTHORIZED {
            return Err(ClientError::WrongToken { address, path: self.token_file.clone() });
        }
        let value: Value = serde_json::from_slice(&body).map_err(|error| self.no_host(&error))?;
        if status.is_success() {
            return Ok(value);
        }
        let message = value.get("error").and_then(Value::as_str).unwrap_or("it gives no reason").to_owned();
        Err(ClientError::Refused { address, status: status.as_u16(), message })
    }

    fn no_host(&self, reason: &dyn std::error::Error) -> ClientError {
        ClientError::NoHost { address: self.address, reason: reason.to_string() }
    }
}

/// Asks the host that listens there how it is (`/readyz`), or only whether it is there (`/healthz`). Whoever can reach it may:
/// this needs no token. Returns whether it is, and what it says.
pub async fn readiness(address: SocketAddr, path: &'static str) -> Result<(bool, Value), ClientError> {
    let no_host = |reason: String| ClientError::NoHost { address, reason };
    let request = Request::builder().uri(path).header(HOST, address.to_string()).body(Full::default());
    let (status, body) = exchange(address, request.map_err(|error| no_host(error.to_string()))?).await?;
    match status {
        StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE => {
            let value = serde_json::from_slice(&body).map_err(|error| no_host(error.to_string()))?;
            Ok((status == StatusCode::OK, value))
        }
        other => Err(no_host(format!("it answers {other} to {path}"))),
    }
}

async fn exchange(address: SocketAddr, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), ClientError> {
    let went_away = |error: hyper::Error| ClientError::WentAway { address, reason: error.to_string() };
    let stream = connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(went_away)?;
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(went_away)?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(went_away)?.to_bytes();
    connection.abort();
    Ok((status, body))
}

async fn connect(address: SocketAddr) -> Result<TcpStream, ClientError> {
    TcpStream::connect(address).await.map_err(|reason| match reason.kind() {
        io::ErrorKind::ConnectionRefused => ClientError::NobodyThere { address },
        _ => ClientError::Connect { address, reason },
    })
}
