//! The endpoint over real connections.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::swap::SwapOutcome;

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

async fn admin(folder: &TempDir) -> Admin {
    let metrics = Arc::new(Metrics::new());
    Admin::bind(free_port(), Some(folder.path().join("cache")), Arc::new(Echo), metrics).await.unwrap()
}

fn token(admin: &Admin) -> String {
    std::fs::read_to_string(&admin.token.path).unwrap()
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
async fn metrics_and_health_are_for_everyone_but_browsers() {
    let folder = TempDir::new().unwrap();
    let admin = admin(&folder).await;
    let (status, text) = ask(&admin, "GET /metrics", &[]).await;
    assert_eq!(status, 200);
    assert!(text.ends_with("# EOF\n"), "{text}");
    assert_eq!(ask(&admin, "GET /healthz", &["Host: localhost:9464"]).await.0, 200);
    assert_eq!(ask(&admin, "GET /healthz", &["Host: [::1]:9464"]).await.0, 200);
    let right = format!("Authorization: Bearer {}", token(&admin));
    for header in ["Origin: http://127.0.0.1:9464", "Origin: null", "Host: evil.example:9464", "Host: 127.0.0.1.evil"] {
        for line in ["GET /metrics", "GET /healthz", "POST /swap"] {
            assert_eq!(ask(&admin, line, &[header, &right]).await.0, 403, "{line} {header}");
        }
    }
}

#[tokio::test]
async fn the_token_is_for_this_user_only_and_goes_with_the_host() {
    let folder = TempDir::new().unwrap();
    let admin = admin(&folder).await;
    let path = admin.token.path.clone();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    assert_eq!(token(&admin).len(), 64);
    admin.shutdown().await;
    assert!(!path.exists());

    let open = folder.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
    let refused = Admin::bind(free_port(), Some(open), Arc::new(Echo), Arc::default()).await.err().unwrap();
    assert!(matches!(refused, AdminError::Token { .. }), "{refused}");
}

#[tokio::test]
async fn a_host_that_cannot_be_asked_is_told_apart() {
    let folder = TempDir::new().unwrap();
    let admin = admin(&folder).await;
    let (address, cache) = (admin.address(), folder.path().join("cache"));
    let elsewhere = AdminClient::find(address, folder.path()).await.unwrap_err();
    assert!(matches!(elsewhere, ClientError::NoToken { .. }), "{elsewhere}");
    std::fs::write(&admin.token.path, "stale").unwrap();
    let stale = AdminClient::find(address, &cache).await.unwrap();
    assert!(matches!(stale.shadow().await, Err(ClientError::WrongToken { .. })));
    let large = Candidate { name: String::new(), bytes: vec![0; 20_000_000], signature: None };
    assert!(matches!(stale.swap(large).await, Err(ClientError::WrongToken { .. })));
    admin.shutdown().await;
    assert!(matches!(AdminClient::find(address, &cache).await, Err(ClientError::NobodyThere { .. })));
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error_only_for_who_named_it() {
    let folder = TempDir::new().unwrap();
    let first = admin(&folder).await;
    let held = token(&first);
    let settings = |address| AdminSettings { address, folder: Some(folder.path().join("cache")) };
    let named = settings(Some(AdminAddress::At(first.address())));
    let error = Admin::start(&named, Arc::new(Echo), Arc::default()).await.err().unwrap();
    assert!(error.to_string().contains(&first.address().to_string()), "{error}");
    assert_eq!(token(&first), held);
    let off = settings(Some(AdminAddress::Off));
    assert!(Admin::start(&off, Arc::new(Echo), Arc::default()).await.unwrap().is_none());
    // Whoever has the default port: a second host works on without one.
    let one = Admin::start(&settings(None), Arc::new(Echo), Arc::default()).await.unwrap();
    assert!(Admin::start(&settings(None), Arc::new(Echo), Arc::default()).await.unwrap().is_none());
    drop(one);
}

#[test]
fn only_loopback_can_be_named() {
    let parse = |text: &str| text.parse::<AdminAddress>();
    assert_eq!(parse("off"), Ok(AdminAddress::Off));
    assert_eq!(parse("127.0.0.1:9464"), Ok(AdminAddress::At(DEFAULT_ADDRESS)));
    assert_eq!(parse("localhost:9464"), Ok(AdminAddress::At(DEFAULT_ADDRESS)));
    assert!(parse("[::1]:1").is_ok());
    for text in ["0.0.0.0:9464", "10.0.0.1:9464", "[::]:9464", "9464", "", "127.0.0.1"] {
        assert!(parse(text).is_err(), "{text}");
    }
}
