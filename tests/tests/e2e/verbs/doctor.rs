//! `host doctor`.

use host::ocr::local::Fault;
use tests::{HostCommand, TestDatabase, World};

/// The checks of `host doctor --json`: name to (ok, detail).
async fn doctor(host: HostCommand) -> (Option<i32>, Vec<(String, bool, String)>) {
    let finished = host.args(["doctor", "--json"]).run().await;
    let checks = finished.json_lines().into_iter().map(|check| {
        let text = |field: &str| check[field].as_str().unwrap().to_owned();
        (text("check"), check["ok"].as_bool().unwrap(), text("detail"))
    });
    (finished.code, checks.collect())
}

#[tokio::test]
async fn doctor_finds_nothing_wrong_where_nothing_is() {
    let world = World::new().await;
    let (code, checks) = doctor(world.host()).await;
    assert!(checks.iter().all(|(_, ok, _)| *ok) && code == Some(0), "{checks:?}");
    let names: Vec<&str> = checks.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "component",
            "database",
            "tls",
            "pooler",
            "schema",
            "rights",
            "settle",
            "queue tables",
            "status default",
            "connections",
            "clock",
            "listen",
            "aws",
            "source bucket",
            "artifact bucket",
            "textract"
        ]
    );
    assert_eq!(world.textract.calls(), 0, "it costs nothing");
    let text = world.host().arg("doctor").run().await.ok();
    assert_eq!(text.lines().filter(|line| line.starts_with("ok")).count(), names.len(), "{text}");
}

#[tokio::test]
async fn doctor_names_what_is_broken_and_what_to_do() {
    let world = World::new().await;
    let empty = TestDatabase::empty().await;
    let nobody = "http://127.0.0.1:1";
    let cases: Vec<(HostCommand, &str, &[&str])> = vec![
        (world.host().without("DATABASE_URL"), "database", &["DATABASE_URL"]),
        (
            world.host().env("DATABASE_URL", "postgres://u:p@127.0.0.1:1/d"),
            "database",
            &["cannot connect", "127.0.0.1:1"],
        ),
        (world.host().env("DATABASE_URL", empty.url()), "schema", &["host migrate"]),
        (world.host().without("AWS_REGION"), "aws", &["AWS_REGION"]),
        (world.host().without("AWS_ACCESS_KEY_ID"), "aws", &["credentials"]),
        (world.host().without("SOURCE_BUCKET"), "source bucket", &["SOURCE_BUCKET"]),
        (world.host().env("SOURCE_BUCKET", "not-there"), "source bucket", &["not-there"]),
        (world.host().env("ARTIFACT_BUCKET", "not-there"), "artifact bucket", &["not-there", "s3:PutObject"]),
        (world.host().env("AWS_SECRET_ACCESS_KEY", "wrong"), "source bucket", &["s3:GetObject"]),
        (world.host().env("AWS_ENDPOINT_URL_TEXTRACT", nobody), "textract", &["textract"]),
        (world.host().env("WORKER_COMPONENT", "/no/such.wasm"), "component", &["/no/such.wasm"]),
    ];
    for (host, broken, words) in cases {
        let (code, checks) = doctor(host).await;
        assert_eq!(code, Some(1), "{broken}: {checks:?}");
        let (.., detail) =
            checks.iter().find(|(name, ok, _)| name == broken && !ok).unwrap_or_else(|| panic!("{broken}: {checks:?}"));
        for word in words {
            assert!(detail.contains(word), "{broken}: {word:?} is not in {detail}");
        }
    }
    world.execute("ALTER TABLE receipts DISABLE TRIGGER receipts_enqueue").await;
    let (code, checks) = doctor(world.host()).await;
    assert!(
        code == Some(1)
            && checks.iter().any(|(name, ok, detail)| name == "rights" && !ok && detail.contains("receipts_enqueue")),
        "{checks:?}"
    );
}

#[tokio::test]
async fn doctor_names_missing_textract_rights() {
    let world = World::new().await;
    world.textract.faults().always(Fault::error("AccessDeniedException", 400));
    let (code, checks) = doctor(world.host()).await;
    let textract = checks.iter().find(|(name, ..)| name == "textract").unwrap();
    assert!(code == Some(1) && !textract.1 && textract.2.contains("textract:DetectDocumentText"), "{textract:?}");
}
