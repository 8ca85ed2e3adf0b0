//! The endpoint over real connections.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::listening::CONNECTIONS;
use super::*;
use crate::health::Pulse;
use crate::swap::{Candidate, Control, SwapOutcome, Verdict};

/// Says what it was offered.
struct Echo;

impl Control for Echo {
    fn swap(&self, candidate: Candidate) -> BoxFuture<'_, Verdict> {
        Box::pin(async move {
            Verdict {
                digest: crate::storage::digest_of(&candidate.bytes),
                outcome: SwapOutcome::Refused,
                stage: candidate.name,
                reason: candidate.signature.unwrap_or_default(),
                previous: None,
                gate: Some(json!({ "bytes": candidate.bytes.len() })),
                milliseconds: 1,
            }
        })
    }

    fn shadow(&self) -> Value {
        json!({ "compared": 3 })
    }

    fn components(&self) -> Value {
        json!([{ "digest": "abc" }])
    }
}

fn free_port() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

fn echo() -> Subject {
    let subject = Subject::default();
    subject.controlled_by(Arc::new(Echo));
    subject
}

async fn bind(address: SocketAddr, folder: &Path) -> Result<Admin, AdminError> {
    let mut admin = Admin::listen(address, echo()).await?;
    admin.leave_token(Some(folder))?;
    Ok(admin)
}

async fn admin(folder: &TempDir) -> Admin {
    bind(free_port(), &folder.path().join("cache")).await.unwrap()
}

fn token_file(admin: &Admin) -> PathBuf {
    admin.token.as_ref().unwrap().path.clone()
}

fn token(admin: &Admin) -> String {
    std::fs::read_to_string(token_file(admin)).unwrap()
}

/// Status and body of a request that is written by hand.
async fn ask(admin: &Admin, request_line: &str, headers: &[&str]) -> (u16, String) {
    let mut stream = TcpStream::connect(admin.address()).await.unwrap();
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let request = format!("{request_line} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[tokio::test]
async fn a_component_of_some_size_gets_there_whole() {
    let folder = TempDir::new().unwrap();
    let admin = admin(&folder).await;
    let client = AdminClient::find(admin.address(), &folder.path().join("cache")).await.unwrap();
    let bytes: Vec<u8> = (0..5_000_000_u32).map(|number| (number % 251) as u8).collect();
    let digest = crate::storage::digest_of(&bytes);
    let signature = Some("untrusted comment: ü\nRU\n".to_owned());
    let candidate = Candidate { name: "host swap größer.wasm\n".to_owned(), bytes, signature: signature.clone() };
    let verdict = client.swap(candidate).await.unwrap();
    assert_eq!((verdict.digest, verdict.outcome), (digest, SwapOutcome::Refused));
    assert_eq!((verdict.stage.as_str(), Some(verdict.reason)), ("host swap größer.wasm", signature));
    assert_eq!(client.shadow().await.unwrap(), json!({ "compared": 3 }));
    assert_eq!(client.components().await.unwrap(), json!([{ "digest": "abc" }]));
    admin.shutdown().await;
    assert!(matches!(client.shadow().await, Err(ClientError::NobodyThere { .. })));
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let folder = TempDir::new().unwrap();
    let admin = admin(&folder).await;
    let length = format!("Content-Length: {}", crate::swap::LARGEST_COMPONENT + 1);
    let mut stream = TcpStream::connect(admin.address()).await.unwrap();
    let head = format!("POST /swap HTTP/1.1\r\n{length}\r\nAuthorization: Bearer {}\r\n\r\n", token(&admin));
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = vec![0; 1 << 20];
    for _ in 0..65 {
        // It may have said no already.
        if stream.write_all(&chunk).await.is_err() {
            break;
        }
    }
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[tokio::test]
async fn nothing_that_counts_is_done_without_the_token() {
    let folder = TempDir::new().unwrap();
    let admin = admin(&folder).await;
    let right = format!("Authorization: Bearer {}", token(&admin));
    let (longer, shorter) = (format!("{right}0"), right.get(..right.len() - 1).unwrap().to_owned());
    for line in ["POST /swap", "GET /shadow", "GET /components", "GET /nothing", "POST /metrics"] {
        for headers in [vec![], vec!["Authorization: Bearer "], vec![longer.as_str()], vec![shorter.as_str()]] {
            assert_eq!(ask(&admin, line, &headers).await.0, 401, "{line} {headers:?}");
        }
    }
    for (line, status) in [
        ("GET /shadow", 200),
        ("GET /components", 200),
        ("GET /nothing", 404),
        ("GET /swap", 405),
        ("POST /shadow", 405),
        ("POST /swap", 200),
    ] {
        assert_eq!(ask(&admin, line, &[&right]).await.0, status, "{line}");
    }
    let (status, body) = ask(&admin, "POST /swap", &[&right, "x-component-signature: !"]).await;
    assert_eq!(status, 400);
    assert!(serde_json::from_str::<Value>(&body).unwrap().get("error").is_some(), "{body}");
}

#[tokio::test]
async fn what_is_refused_is_not_read() {
    let folder = TempDir::new().unwrap();
    let admin = admin(&folder).await;
    let mut stream = TcpStream::connect(admin.address()).await.unwrap();
    let head = format!("POST /swap HTTP/1.1\r\nContent-Length: {}\r\n\r\n", crate::swap::LARGEST_COMPONENT);
    stream.write_all(head.as_bytes()).await.unwrap();
    // The answer is there before a byte of the body.
    let mut answer = [0; 12];
    let told = tokio::time::timeout(std::time::Duration::from_secs(60), stream.read_exact(&mut answer)).await;
    told.map_err(|_| "it waits for the body").unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 401");
    let mut taken = 0;
    let chunk = vec![0; 1 << 20];
    while taken < crate::swap::LARGEST_COMPONENT {
        match stream.write(&chunk).await {
            Ok(written) => taken += written as u64,
            Err(_) => break,
        }
    }
    // What the sockets hold is taken, and little more.
    assert!(taken < crate::swap::LARGEST_COMPONENT / 2, "{taken} bytes");

    // One that sends before it listens still hears of it.
    let mut stream = TcpStream::connect(admin.address()).await.unwrap();
    let mut request = b"POST /swap HTTP/1.1\r\nContent-Length: 500000\r\n\r\n".to_vec();
    request.extend(vec![0; 500_000]);
    stream.write_all(&request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn an_upload_that_pauses_holds_up_no_question() {
    let folder = TempDir::new().unwrap();
    let admin = admin(&folder).await;
    let right = format!("Authorization: Bearer {}", token(&admin));
    let head = format!("POST /swap HTTP/1.1\r\n{right}\r\nContent-Length: 3\r\nConnection: close\r\n\r\n");
    let mut first = TcpStream::connect(admin.address()).await.unwrap();
    first.write_all(head.as_bytes()).await.unwrap();
    let mut second = TcpStream::connect(admin.address()).await.unwrap();
    second.write_all(format!("{head}new").as_bytes()).await.unwrap();
    assert_eq!(ask(&admin, "GET /components", &[&right]).await.0, 200);
    first.write_all(b"old").await.unwrap();
    for (mut stream, bytes) in [(first, b"old"), (second, b"new")] {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains(&crate::storage::digest_of(bytes)), "{answer}");
    }
}

#[tokio::test]
async fn more_connections_than_are_served_wait() {
    let folder = TempDir::new().unwrap();
    let admin = admin(&folder).await;
    let ask = async |stream: &mut TcpStream| {
        stream.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            stream.read_buf(&mut answer).await.unwrap();
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"));
    };
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(admin.address()).await.unwrap();
        ask(&mut stream).await;
        held.push(stream);
    }
    let mut next = TcpStream::connect(admin.address()).await.unwrap();
    next.write_all(b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n").await.unwrap();
    // While it waits, those that are served are answered as before.
    for stream in &mut held {
        ask(stream).await;
    }
    assert_eq!(next.try_read(&mut [0; 1]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    held.pop();
    let mut answer = String::new();
    next.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn metrics_and_health_are_for_everyone_but_browsers() {
    let folder = TempDir::new().unwrap();
    let admin = admin(&folder).await;
    let (status, text) = ask(&admin, "GET /metrics", &[]).await;
    assert_eq!(status, 200);
    assert!(text.ends_with("# EOF\n"), "{text}");
    // By whatever name a platform knows this machine.
    for host in ["Host: localhost:9464", "Host: [::1]:9464", "Host: worker-0.workers.svc:9464", "Host: 10.0.0.7"] {
        assert_eq!(ask(&admin, "GET /healthz", &[host]).await.0, 200, "{host}");
    }
    for path in ["/healthz", "/readyz", "/metrics"] {
        let (status, body) = ask(&admin, &format!("HEAD {path}"), &[]).await;
        assert_eq!((status, body.as_str()), (if path == "/readyz" { 503 } else { 200 }, ""), "{path}");
        assert_eq!(
            ask(&admin, &format!("DELETE {path}"), &[&format!("Authorization: Bearer {}", token(&admin))]).await.0,
            405
        );
    }
    let right = format!("Authorization: Bearer {}", token(&admin));
    for header in ["Origin: http://127.0.0.1:9464", "Origin: null"] {
        for line in ["GET /metrics", "GET /healthz", "GET /readyz", "POST /swap"] {
            assert_eq!(ask(&admin, line, &[header, &right]).await.0, 403, "{line} {header}");
        }
    }
}

#[tokio::test]
async fn a_host_that_starts_can_be_watched_and_not_steered() {
    let folder = TempDir::new().unwrap();
    let subject = Subject::default();
    let mut admin = Admin::listen(free_port(), subject.clone()).await.unwrap();
    // Nobody can have the token: that is no reason to show nothing.
    assert!(matches!(admin.leave_token(None), Err(AdminError::NoFolder)));
    let (status, why) = ask(&admin, "GET /components", &[]).await;
    assert!(status == 503 && why.contains("XDG_CACHE_HOME"), "{status} {why}");
    admin.leave_token(Some(&folder.path().join("cache"))).unwrap();
    assert_eq!(ask(&admin, "GET /components", &[]).await.0, 401);
    let right = format!("Authorization: Bearer {}", token(&admin));
    for line in ["GET /components", "GET /shadow", "POST /swap"] {
        let (status, why) = ask(&admin, line, &[&right]).await;
        assert!(status == 503 && why.contains("starting"), "{line}: {status} {why}");
    }
    assert_eq!((ask(&admin, "GET /healthz", &[]).await.0, ask(&admin, "GET /readyz", &[]).await.0), (200, 503));
    assert!(!readiness(admin.address(), "/readyz").await.unwrap().0);
    subject.controlled_by(Arc::new(Echo));
    subject.health.works(Pulse::default);
    assert_eq!(ask(&admin, "GET /components", &[&right]).await.0, 200);
    let (ready, told) = readiness(admin.address(), "/readyz").await.unwrap();
    assert!(ready && told.get("ready") == Some(&json!(true)), "{told}");
}

#[tokio::test]
async fn the_token_is_for_this_user_only_and_goes_with_the_host() {
    let folder = TempDir::new().unwrap();
    let admin = admin(&folder).await;
    let path = token_file(&admin);
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    assert_eq!(token(&admin).len(), 64);
    admin.shutdown().await;
    assert!(!path.exists());

    // Another address with the same port has a token of its own.
    let one = self::admin(&folder).await;
    let address = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), one.address().port()));
    let other = bind(address, &folder.path().join("cache")).await.unwrap();
    assert_ne!(token(&one), token(&other));
    other.shutdown().await;
    let client = AdminClient::find(one.address(), &folder.path().join("cache")).await.unwrap();
    client.components().await.unwrap();
    // What another host has put there since is not ours to remove.
    let path = token_file(&one);
    std::fs::write(&path, "another host's").unwrap();
    one.shutdown().await;
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "another host's");

    let open = folder.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
    let refused = bind(free_port(), &open).await.err().unwrap();
    assert!(matches!(refused, AdminError::Token { .. }), "{refused}");
}

#[tokio::test]
async fn a_host_that_cannot_be_asked_is_told_apart() {
    let folder = TempDir::new().unwrap();
    let admin = admin(&folder).await;
    let (address, cache) = (admin.address(), folder.path().join("cache"));
    let elsewhere = AdminClient::find(address, folder.path()).await.unwrap_err();
    assert!(matches!(elsewhere, ClientError::NoToken { .. }), "{elsewhere}");
    std::fs::write(token_file(&admin), "stale").unwrap();
    let stale = AdminClient::find(address, &cache).await.unwrap();
    assert!(matches!(stale.shadow().await, Err(ClientError::WrongToken { .. })));
    let large = Candidate { name: String::new(), bytes: vec![0; 20_000_000], signature: None };
    assert!(matches!(stale.swap(large).await, Err(ClientError::WrongToken { .. })));
    admin.shutdown().await;
    assert!(matches!(AdminClient::find(address, &cache).await, Err(ClientError::NobodyThere { .. })));
}

#[tokio::test]
async fn a_port_that_is_taken_is_waited_for() {
    let folder = TempDir::new().unwrap();
    let first = admin(&folder).await;
    let (address, held) = (first.address(), token(&first));
    let settings = |address| AdminSettings { address, folder: Some(folder.path().join("cache")) };
    assert!(Attendant::start(&settings(Some(AdminAddress::Off)), echo()).is_none());
    let second = Attendant::start(&settings(Some(AdminAddress::At(address))), echo()).unwrap();
    // It ends while it waits, and takes nothing of the first one's.
    second.shutdown().await;
    assert_eq!(token(&first), held);
    let second = Attendant::start(&settings(Some(AdminAddress::At(address))), echo()).unwrap();
    first.shutdown().await;
    let cache = folder.path().join("cache");
    let client = loop {
        match AdminClient::find(address, &cache).await {
            Ok(client) => break client,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
        }
    };
    client.components().await.unwrap();
    second.shutdown().await;
    assert!(matches!(client.shadow().await, Err(ClientError::NobodyThere { .. })));
}

#[test]
fn any_address_can_be_named() {
    let parse = |text: &str| text.parse::<AdminAddress>();
    assert_eq!(parse("off"), Ok(AdminAddress::Off));
    assert_eq!(parse("127.0.0.1:9464"), Ok(AdminAddress::At(DEFAULT_ADDRESS)));
    assert_eq!(parse("localhost:9464"), Ok(AdminAddress::At(DEFAULT_ADDRESS)));
    for text in ["[::1]:1", "0.0.0.0:9464", "10.0.0.1:9464", "[::]:9464"] {
        assert!(matches!(parse(text), Ok(AdminAddress::At(_))), "{text}");
    }
    for text in ["9464", "", "127.0.0.1", "worker:9464"] {
        assert!(parse(text).is_err(), "{text}");
    }
}
