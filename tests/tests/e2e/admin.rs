//! `host swap` and `host shadow`, as a person types them, against an admin endpoint in this process.

use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use host::admin::{Admin, Subject};
use host::storage::digest_of;
use host::swap::{Candidate, Control, SwapOutcome, Verdict};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{HostCommand, candidates};

/// Says what it was told to, and remembers what it was offered.
struct Told {
    outcome: SwapOutcome,
    shadow: Value,
    offered: Mutex<Vec<Candidate>>,
}

impl Control for Told {
    fn swap(&self, candidate: Candidate) -> Pin<Box<dyn Future<Output = Verdict> + Send + '_>> {
        let digest = digest_of(&candidate.bytes);
        self.offered.lock().unwrap().push(candidate);
        let gate = json!({ "responses": 3, "lost": [
            { "item": "a.json", "field": "vendor", "before": "Shop", "after": null },
        ] });
        let (outcome, stage, reason) = (self.outcome, "gate".to_owned(), "it loses a vendor".to_owned());
        Box::pin(async move {
            Verdict { digest, outcome, stage, reason, previous: None, gate: Some(gate), milliseconds: 5 }
        })
    }

    fn shadow(&self) -> Value {
        self.shadow.clone()
    }

    fn components(&self) -> Value {
        Value::Null
    }
}

struct Desk {
    home: TempDir,
    admin: Admin,
    told: Arc<Told>,
}

impl Desk {
    async fn new(outcome: SwapOutcome, shadow: Value) -> Self {
        let (home, told) = (TempDir::new().unwrap(), Arc::new(Told { outcome, shadow, offered: Mutex::default() }));
        let folder = home.path().join("cache/receipt-worker");
        let subject = Subject::default();
        subject.controlled_by(Arc::<Told>::clone(&told));
        let mut admin = Admin::listen("127.0.0.1:0".parse().unwrap(), subject).await.unwrap();
        admin.leave_token(Some(&folder)).unwrap();
        Self { home, admin, told }
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.home.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn host(&self, verb: &str) -> HostCommand {
        HostCommand::bare()
            .env("HOME", self.home.path())
            .env("XDG_CACHE_HOME", self.home.path().join("cache"))
            .env("WORKER_ADMIN", self.admin.address().to_string())
            .arg(verb)
    }
}

#[tokio::test]
async fn swap_prints_the_verdict() {
    let desk = Desk::new(SwapOutcome::Switched, Value::Null).await;
    let bytes = candidates::honest(1);
    let new = desk.file("new.wasm", &bytes);
    let text = desk.host("swap").arg(&new).run().await.ok();
    for part in [&digest_of(&bytes), "switched", "gate", "it loses a vendor", "lost        a.json vendor: Shop → none"]
    {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    let verdict = desk.host("swap").arg(&new).arg("--json").run().await.json();
    assert_eq!((&verdict["outcome"], &verdict["gate"]["responses"]), (&json!("switched"), &json!(3)));
    let offered = desk.told.offered.lock().unwrap();
    assert!(offered.iter().all(|candidate| candidate.bytes == bytes && candidate.signature.is_none()));
    assert!(offered[0].name.starts_with("host swap ") && offered[0].name.ends_with("new.wasm"), "{}", offered[0].name);
}

#[tokio::test]
async fn swap_fails_when_it_is_refused() {
    let desk = Desk::new(SwapOutcome::Refused, Value::Null).await;
    let new = desk.file("new.wasm", candidates::core_module());
    for flags in [&[][..], &["--json"]] {
        let finished = desk.host("swap").arg(&new).args(flags).run().await;
        assert_eq!(finished.code, Some(1), "{}", finished.stderr);
        assert!(finished.stdout.contains("refused") && finished.stdout.contains("it loses a vendor"));
    }
}

#[tokio::test]
async fn swap_sends_the_signature_that_is_there() {
    let desk = Desk::new(SwapOutcome::Unchanged, Value::Null).await;
    let new = desk.file("new.wasm", candidates::honest(1));
    desk.file("new.wasm.minisig", "beside it\n");
    let other = desk.file("other.minisig", "another\n");
    desk.host("swap").arg(&new).run().await.ok();
    desk.host("swap").arg(&new).arg("--signature").arg(&other).run().await.ok();
    let signatures = |candidate: &Candidate| candidate.signature.clone().unwrap();
    let sent: Vec<String> = desk.told.offered.lock().unwrap().iter().map(signatures).collect();
    assert_eq!(sent, ["beside it\n", "another\n"]);
    let missing = desk.home.path().join("none.minisig");
    let error = desk.host("swap").arg(&new).arg("--signature").arg(missing).run().await.error();
    assert!(error.contains("none.minisig"), "{error}");
}

#[tokio::test]
async fn what_cannot_be_asked_is_said_in_one_line() {
    let desk = Desk::new(SwapOutcome::Switched, Value::Null).await;
    let new = desk.file("new.wasm", candidates::honest(1));
    let error = desk.host("swap").arg(desk.home.path().join("none.wasm")).run().await.error();
    assert!(error.contains("none.wasm"), "{error}");
    for bytes in [&b""[..], b"#!/bin/sh"] {
        let wrong = desk.file("wrong.wasm", bytes);
        let error = desk.host("swap").arg(wrong).run().await.error();
        assert!(error.contains("wrong.wasm is no component"), "{error}");
    }
    let error = desk.host("swap").arg(&new).env("WORKER_ADMIN", "off").run().await.error();
    assert!(error.contains("WORKER_ADMIN"), "{error}");
    let error = desk.host("swap").arg(&new).env("XDG_CACHE_HOME", "/nowhere").run().await.error();
    assert!(error.contains("no host of this user") && error.contains("/nowhere/receipt-worker/admin-"), "{error}");
    let error = desk.host("shadow").run().await.error();
    assert!(error.contains("no shadow component"), "{error}");
    assert_eq!(desk.told.offered.lock().unwrap().len(), 0);

    let address = desk.admin.address().to_string();
    let token = desk.home.path().join(format!("cache/receipt-worker/admin-{address}.token"));
    assert_eq!(std::fs::metadata(&token).unwrap().permissions().mode() & 0o777, 0o600);
    let (swap, shadow) = (desk.host("swap"), desk.host("shadow"));
    desk.admin.shutdown().await;
    for command in [swap.arg(&new), shadow] {
        let error = command.run().await.error();
        assert!(error.contains(&format!("no host listens on {address}")), "{error}");
    }
    assert!(!token.exists());
}

#[tokio::test]
async fn shadow_prints_tables() {
    let statistics = json!({
        "candidate": "aaa", "current": "bbb", "compared": 10, "same": 9, "skipped": 0, "errors": 0,
        "fields": { "total": { "lost": 1, "gained": 0, "changed": 0 } },
        "latest": [{ "receipt": "r-1", "field": "total", "current": "4.50", "candidate": null }],
    });
    let desk = Desk::new(SwapOutcome::Switched, statistics.clone()).await;
    assert_eq!(desk.host("shadow").arg("--json").run().await.json(), statistics);
    let text = desk.host("shadow").run().await.ok();
    for part in ["10 compared", "total", "r-1", "4.50"] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
}
