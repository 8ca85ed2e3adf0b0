//! The verbs that a person needs, as a person types them.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use host::ocr::local::Fault;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{HostCommand, TestDatabase, World, WorldSettings, answer, eventually, photo_bytes};

fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, bytes).unwrap();
    path
}

/// A host that has no environment, only a compile cache.
fn alone(world: &World) -> HostCommand {
    let usual = world.host();
    [
        "DATABASE_URL",
        "SOURCE_BUCKET",
        "ARTIFACT_BUCKET",
        "AWS_REGION",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_ENDPOINT_URL_S3",
        "AWS_ENDPOINT_URL_TEXTRACT",
    ]
    .iter()
    .fold(usual, |host, name| host.without(name))
}

// enqueue, status

#[tokio::test]
async fn enqueue_uploads_inserts_waits_and_shows() {
    let world = World::new().await;
    let one = write(world.dir(), "my photo.jpg", photo_bytes());
    let two = write(world.dir(), "two.jpg", photo_bytes());
    let worker = world.run(&["--every", "1h"]).spawn();
    let finished =
        world.host().arg("enqueue").arg(&one).arg(&two).args(["--wait", "--json", "--user-id", "me"]).run().await;
    let rows = finished.json_lines();
    finished.ok();
    assert_eq!(rows.len(), 2);
    for row in &rows {
        assert_eq!(row["status"], "ocr_done");
        assert_eq!((&row["vendor"], &row["total"]), (&json!("Blue Bottle Cafe"), &json!("4.50")));
        assert_eq!(world.status_of(row["receipt_id"].as_str().unwrap()).await, "ocr_done");
    }
    assert_eq!(world.count("receipts WHERE user_id = 'me'").await, 2);

    let finished =
        world.host().arg("enqueue").arg(write(world.dir(), "three.jpg", photo_bytes())).arg("--wait").run().await;
    let table = finished.ok();
    for word in ["three.jpg", "Blue Bottle Cafe", "4.50", "ocr_done"] {
        assert!(table.contains(word), "{table}");
    }
    worker.stop().await.ok();
}

#[tokio::test]
async fn enqueue_without_waiting_leaves_it_to_the_worker() {
    let world = World::new().await;
    let photo = write(world.dir(), "a.jpg", photo_bytes());
    let rows = world.host().arg("enqueue").arg(&photo).arg("--json").run().await.json();
    assert_eq!(rows["status"], "pending");
    assert_eq!(world.count("receipt_queue WHERE NOT processed").await, 1);
}

#[tokio::test]
async fn enqueue_says_what_died_and_fails() {
    let world = World::new().await;
    world.textract.faults().always(Fault::error("BadDocumentException", 400));
    let photo = write(world.dir(), "a.jpg", photo_bytes());
    let worker = world.run(&["--every", "1h"]).spawn();
    let finished = world.host().arg("enqueue").arg(&photo).args(["--wait", "--json"]).run().await;
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    let row = &finished.json_lines()[0];
    assert_eq!(row["status"], "ocr_failed");
    assert!(row["error"].as_str().unwrap().contains("BadDocumentException"), "{row}");
    worker.stop().await.ok();
}

#[tokio::test]
async fn enqueue_gives_up_waiting_when_nobody_works() {
    let world = World::new().await;
    let photo = write(world.dir(), "a.jpg", photo_bytes());
    let finished = world.host().arg("enqueue").arg(&photo).args(["--wait", "--timeout", "100ms", "--json"]).run().await;
    assert_eq!(finished.code, Some(1));
    assert!(finished.stderr.contains("is a worker running?"), "{}", finished.stderr);
    assert_eq!(finished.json_lines()[0]["status"], "pending");
}

#[tokio::test]
async fn enqueue_looks_at_every_file_before_it_sends_one() {
    let world = World::new().await;
    let good = write(world.dir(), "good.jpg", photo_bytes());
    let empty = write(world.dir(), "empty.jpg", b"");
    for bad in [empty, world.dir().join("missing.jpg")] {
        let error = world.host().arg("enqueue").args([&good, &bad]).run().await.error();
        assert!(error.contains(&*bad.file_name().unwrap().to_string_lossy()), "{error}");
    }
    assert_eq!(world.count("receipts").await, 0);
}

#[tokio::test]
async fn status_shows_the_view() {
    let world = World::new().await;
    world.receipts(2).await;
    world.insert("nowhere.jpg").await;
    world.once().await;
    world.receipt("waits.jpg").await;
    let finished = world.host().args(["status", "--json"]).run().await;
    let counts: Vec<(Value, Value)> =
        finished.json_lines().into_iter().map(|row| (row["status"].clone(), row["count"].clone())).collect();
    assert_eq!(counts, [(json!("pending"), json!(1)), (json!("processed"), json!(2)), (json!("dlq"), json!(1))]);
    let table = world.host().arg("status").run().await.ok();
    for word in ["status", "count", "pending", "processed", "dlq"] {
        assert!(table.contains(word), "{table}");
    }
}

// dlq

#[tokio::test]
async fn dead_letters_are_listed_shown_retried_and_discarded() {
    let world = World::new().await;
    let dead = [world.insert("one.jpg").await, world.insert("two.jpg").await, world.insert("three.jpg").await];
    world.once().await;
    let dlq = |args: &[&str]| world.host().arg("dlq").args(args);

    let listed = dlq(&["list", "--json"]).run().await.json_lines();
    assert_eq!(listed.len(), 3);
    assert_eq!(dlq(&["list", "--json", "--limit", "2"]).run().await.json_lines().len(), 2);
    let table = dlq(&["list"]).run().await.ok();
    assert!(dead.iter().all(|id| table.contains(id.as_str())) && table.contains("not-found"), "{table}");

    let letter = dlq(&["show", &dead[0], "--json"]).run().await.json();
    for (field, expected) in [
        ("receipt_id", json!(dead[0])),
        ("s3_key", json!("one.jpg")),
        ("error_kind", json!("not-found")),
        ("error_code", json!("s3.NoSuchKey")),
        ("attempts", json!(1)),
        ("deaths", json!(1)),
        ("notes", json!("permanent failure")),
    ] {
        assert_eq!(letter[field], expected, "{letter}");
    }
    assert_eq!(letter["component"].as_str().map(str::len), Some(64));
    assert!(dlq(&["show", &dead[0]]).run().await.ok().contains("s3.NoSuchKey"));

    // Retried: fresh attempts, and a memory of having been dead.
    world.photo("one.jpg").await;
    assert_eq!(dlq(&["retry", &dead[0]]).run().await.ok().trim(), dead[0]);
    assert_eq!(world.status_of(&dead[0]).await, "pending");
    let row = format!(
        "SELECT concat_ws('|', attempts, deaths, processed) FROM receipt_queue WHERE receipt_id = '{}'",
        dead[0]
    );
    assert_eq!(world.text(&row, &[]).await, "0|1|f");
    assert_eq!(dlq(&["retry", &dead[1]]).run().await.ok().trim(), dead[1]);
    world.once().await;
    assert_eq!(world.status_of(&dead[0]).await, "ocr_done");
    let letter = dlq(&["show", &dead[1], "--json"]).run().await.json();
    assert_eq!((&letter["deaths"], &letter["attempts"]), (&json!(2), &json!(1)));
    assert!(letter["notes"].as_str().unwrap().contains("was dead 1 time"), "{letter}");
    world.assert_settled(3).await;

    // What is not dead cannot be retried, and is named.
    let error = dlq(&["retry", &dead[0], "no-such-receipt"]).run().await.error();
    assert!(error.contains(&dead[0]) && error.contains("no-such-receipt"), "{error}");
    assert!(dlq(&["show", &dead[0]]).run().await.error().contains("no dead letter"));

    // Discarding asks; without a terminal the answer is no.
    assert!(dlq(&["discard", &dead[2]]).run().await.error().contains("--yes"));
    assert_eq!(world.count("receipt_queue_dlq").await, 2);
    assert_eq!(dlq(&["discard", &dead[2], "--yes"]).run().await.ok().trim(), dead[2]);
    assert_eq!(world.status_of(&dead[2]).await, "ocr_failed");
    dlq(&["discard", "--all", "--yes"]).run().await.ok();
    assert_eq!(world.count("receipt_queue_dlq").await, 0);
    assert_eq!(dlq(&["list", "--json"]).run().await.ok(), "");
}

#[tokio::test]
async fn all_dead_letters_are_retried_at_once() {
    let world = World::new().await;
    for number in 0..5 {
        world.insert(&format!("{number}.jpg")).await;
    }
    world.once().await;
    for number in 0..5 {
        world.photo(&format!("{number}.jpg")).await;
    }
    assert_eq!(world.host().args(["dlq", "retry", "--all"]).run().await.ok().lines().count(), 5);
    world.once().await;
    assert_eq!(world.count("receipts WHERE status = 'ocr_done'").await, 5);
    world.assert_settled(5).await;
    assert_eq!(world.host().args(["dlq", "retry", "--all"]).run().await.ok(), "");
}

// parse, replay

#[tokio::test]
async fn parse_prints_one_line_a_file_in_order() {
    let world = World::new().await;
    let folder = world.dir().join("recorded");
    for number in 0..12 {
        write(&folder, &format!("{number:02}.json"), answer("Corner Shop", &format!("{number}.25"), "2024-05-06"));
    }
    write(&folder, "deeper/page.json", answer("Corner Shop", "99.25", "2024-05-06"));
    write(&folder, "notes.txt", "not a recording");
    let finished = alone(&world).arg("parse").arg(&folder).args(["--jobs", "4"]).run().await;
    let lines = finished.json_lines();
    finished.ok();
    let totals: Vec<&str> = lines.iter().map(|line| line["total"].as_str().unwrap()).collect();
    let expected: Vec<String> = (0..12).chain([99]).map(|number| format!("{number}.25")).collect();
    assert_eq!(totals, expected);
    let keys: Vec<&String> = lines[0].as_object().unwrap().keys().collect();
    assert_eq!(keys.len(), 6, "{keys:?}");
    for key in ["file", "vendor", "total", "currency", "date", "confidence"] {
        assert!(lines[0].get(key).is_some(), "{key}");
    }
    assert_eq!(lines[0]["vendor"], "Corner Shop");
    assert_eq!(lines[0]["date"], "2024-05-06");
    assert!(lines[0]["file"].as_str().unwrap().ends_with("00.json"));
}

#[tokio::test]
async fn parse_says_which_file_is_no_response_and_reads_the_others() {
    let world = World::new().await;
    let good = write(world.dir(), "b.json", answer("Corner Shop", "1.25", "2024-05-06"));
    let broken = write(world.dir(), "a.json", b"{\"Blocks\": [");
    let other = write(world.dir(), "c.json", b"{\"hello\": \"world\"}");
    let binary = write(world.dir(), "d.json", b"\xff\xfe\x00");
    let empty_page = write(world.dir(), "e.json", br#"{"DocumentMetadata":{"Pages":1},"Blocks":[]}"#);
    let finished = alone(&world).arg("parse").args([&broken, &good, &other, &binary, &empty_page]).run().await;
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    let lines = finished.json_lines();
    assert_eq!(lines.len(), 5);
    assert!(lines[0]["error"].as_str().unwrap().contains("JSON") && lines[0]["total"].is_null(), "{}", lines[0]);
    assert!(lines[1]["error"].is_null() && lines[1]["total"] == "1.25", "{}", lines[1]);
    assert!(lines[2]["error"].as_str().unwrap().contains("Textract"), "{}", lines[2]);
    assert!(lines[3]["error"].as_str().unwrap().contains("UTF-8"), "{}", lines[3]);
    assert!(
        lines[4]["error"].is_null() && lines[4]["vendor"].is_null(),
        "a page without text is a result: {}",
        lines[4]
    );

    let error = alone(&world).arg("parse").arg(world.dir().join("nowhere")).run().await.error();
    assert!(error.contains("nowhere"), "{error}");
}

#[tokio::test]
async fn replay_tells_every_difference_field_by_field() {
    let world = World::new().await;
    let folder = world.dir().join("recorded");
    write(&folder, "a.json", answer("Corner Shop", "1.25", "2024-05-06"));
    write(&folder, "b.json", answer("Corner Shop", "2.25", "2024-05-06"));
    let replay = |args: &[&str]| alone(&world).arg("replay").arg(&folder).args(args);

    let finished = replay(&[]).run().await;
    assert_eq!(finished.code, Some(1));
    assert_eq!(finished.stdout.matches("no expectation").count(), 2, "{}", finished.stdout);

    replay(&["--bless"]).run().await.ok();
    assert!(folder.join("a.expected.json").exists());
    assert!(replay(&[]).run().await.ok().starts_with("2 as expected, 0 not"));
    assert!(replay(&["--bless"]).run().await.ok().starts_with("2 unchanged"));

    let mut expected: Value = serde_json::from_slice(&std::fs::read(folder.join("b.expected.json")).unwrap()).unwrap();
    expected["vendor"] = json!("Another Shop");
    expected["total"] = json!("2.26");
    write(&folder, "b.expected.json", expected.to_string());
    let finished = replay(&[]).run().await;
    assert_eq!(finished.code, Some(1));
    let lines: Vec<&str> = finished.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].contains("b.json: vendor: expected \"Another Shop\", found \"Corner Shop\""), "{}", lines[0]);
    assert!(lines[1].contains("b.json: total: expected \"2.26\", found \"2.25\""), "{}", lines[1]);
    assert!(lines[2].starts_with("1 as expected, 1 not"), "{}", lines[2]);

    write(&folder, "b.expected.json", "{");
    assert!(replay(&[]).run().await.error().contains("b.expected.json"));
    write(&folder, "b.json", "no JSON");
    assert_eq!(replay(&["--bless"]).run().await.code, Some(1));
    let empty = TempDir::new().unwrap();
    assert!(alone(&world).arg("replay").arg(empty.path()).run().await.error().contains("no recorded response"));
}

// inspect

#[tokio::test]
async fn inspect_shows_what_a_component_is() {
    let world = World::new().await;
    let file = write(world.dir(), "worker.wasm", host::sandbox::EMBEDDED);
    let built_in = alone(&world).args(["inspect", "--json"]).run().await.json();
    let from_file = alone(&world).arg("inspect").arg(&file).arg("--json").run().await.json();
    assert_eq!(built_in, from_file);
    assert_eq!(built_in["sha256"], json!(host::storage::digest_of(host::sandbox::EMBEDDED)));
    assert_eq!(built_in["size"], json!(host::sandbox::EMBEDDED.len()));
    assert_eq!(
        (&built_in["contract"], &built_in["runs"], &built_in["reason"]),
        (&json!("0.1.0"), &json!(true), &json!(null))
    );
    let names = |field: &str| built_in[field].to_string();
    for export in ["worker", "parser", "policy"] {
        assert!(names("exports").contains(&format!("snapceit:receipts/{export}@0.1.0")), "{}", names("exports"));
    }
    for import in ["queue", "objects", "textract"] {
        assert!(names("imports").contains(&format!("snapceit:receipts/{import}@0.1.0")), "{}", names("imports"));
    }
    for forbidden in ["sockets", "filesystem/types@0.3", "http"] {
        assert!(!names("imports").contains(forbidden), "{}", names("imports"));
    }
    let text = alone(&world).arg("inspect").run().await.ok();
    assert!(text.contains(built_in["sha256"].as_str().unwrap()) && text.contains("would run   yes"), "{text}");
}

#[tokio::test]
async fn inspect_says_no_and_why() {
    let world = World::new().await;
    for (bytes, reason) in
        [(&b"text"[..], "no WebAssembly"), (b"\0asm\x01\0\0\0", "core WebAssembly module"), (b"", "empty")]
    {
        let file = write(world.dir(), "it.wasm", bytes);
        let finished = alone(&world).arg("inspect").arg(&file).arg("--json").run().await;
        assert_eq!(finished.code, Some(1), "{}", finished.stderr);
        let report = &finished.json_lines()[0];
        assert_eq!(report["runs"], false);
        assert!(report["reason"].as_str().unwrap().contains(reason), "{report}");
    }
    assert!(alone(&world).args(["inspect", "/no/such.wasm"]).run().await.error().contains("/no/such.wasm"));
}

// doctor, completions, migrate, help

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
        ["component", "database", "schema", "rights", "clock", "aws", "source bucket", "artifact bucket", "textract"]
    );
    assert_eq!(world.textract.calls(), 0, "it costs nothing");
    let text = world.host().arg("doctor").run().await.ok();
    assert_eq!(text.lines().filter(|line| line.starts_with("ok")).count(), 9, "{text}");
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

#[tokio::test]
async fn completions_and_help_are_there() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = HostCommand::bare().args(["completions", shell]).run().await.ok();
        assert!(script.contains("enqueue") && script.contains("doctor"), "{shell}");
    }
    let help = HostCommand::bare().arg("--help").run().await.ok();
    for verb in
        ["run", "dev", "migrate", "enqueue", "status", "dlq", "parse", "replay", "inspect", "doctor", "completions"]
    {
        assert!(help.contains(verb), "{verb}: {help}");
        let help = HostCommand::bare().args([verb, "--help"]).run().await.ok();
        assert!(help.contains("Examples:"), "{verb} has no examples");
    }
    assert!(HostCommand::bare().arg("--version").run().await.ok().starts_with("host 0."));
}

#[tokio::test]
async fn migrate_says_what_it_did() {
    let world = World::with(WorldSettings { db: Some(TestDatabase::empty().await), ..Default::default() }).await;
    let finished = world.host().arg("migrate").run().await;
    assert!(finished.stderr.contains("20261101000000_receipt_queue"), "{}", finished.stderr);
    assert_eq!(finished.ok(), "");
    let finished = world.host().arg("migrate").run().await;
    assert!(finished.stderr.contains("nothing to do"), "{}", finished.stderr);
    finished.ok();
}

/// `host parse … | head -1`
#[tokio::test]
async fn a_reader_that_goes_away_is_no_error() {
    let world = World::new().await;
    let folder = world.dir().join("recorded");
    for number in 0..300 {
        write(&folder, &format!("{number}.json"), answer("Corner Shop", "1.25", "2024-05-06"));
    }
    for args in
        [vec!["parse".to_owned(), folder.display().to_string()], vec!["completions".to_owned(), "bash".to_owned()]]
    {
        let mut child = alone(&world).args(args).into_inner().stdout(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().await.unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && !log.contains("error:") && !log.contains("panicked"),
            "{:?} {log}",
            output.status
        );
    }
}

#[tokio::test]
async fn logs_can_be_json() {
    let world = World::new().await;
    world.receipt("a.jpg").await;
    let finished = world.run(&["--once", "--log-format", "json"]).run().await;
    let lines: Vec<Value> = finished.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(
        lines.iter().any(|line| line["message"] == "read" && line["vendor"] == "Blue Bottle Cafe"),
        "{}",
        finished.stderr
    );
}

#[tokio::test]
async fn no_log_and_no_error_tells_a_secret() {
    let world = World::new().await;
    world.receipt("a.jpg").await;
    let finished = world.run(&["--once", "--log", "trace"]).run().await;
    let password = world.db.url().split([':', '@']).nth(2).unwrap();
    for secret in [password, world.s3.secret_key()] {
        assert!(!finished.stderr.contains(secret), "a secret is in the log at level trace");
    }
    finished.ok();
}

// dev

fn dev_host(folder: &Path) -> HostCommand {
    HostCommand::bare().env("HOME", folder).env("WORKER_DATA_DIR", folder.join("data"))
}

/// Where also the user who runs Postgres for root may pass.
fn open_folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    folder
}

#[tokio::test]
async fn dev_works_the_photos_and_goes_on_with_what_was_there() {
    let folder = open_folder();
    let photos = folder.path().join("photos");
    let receipts = Path::new(env!("CARGO_MANIFEST_DIR")).join("receipts");
    for name in ["X51005337872.jpg", "X51005442341.jpg"] {
        std::fs::create_dir_all(&photos).unwrap();
        std::fs::copy(receipts.join(name), photos.join(name)).unwrap();
    }
    let once = async || dev_host(folder.path()).args(["dev", "--once", "--receipts"]).arg(&photos).run().await;
    let first = once().await;
    let table = first.stdout.clone();
    for word in
        ["receipt", "vendor", "total", "confidence", "ms", "X51005337872.jpg", "X51005442341.jpg", "SYL ROASTED"]
    {
        assert!(table.contains(word), "{word}: {table}\n{}", first.stderr);
    }
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    let artifacts = || count_files(&folder.path().join("data/s3/receipts-artifacts/ocr"));
    assert_eq!(artifacts(), 2);

    // Nothing is sent, read or paid again.
    let second = once().await;
    assert_eq!(second.stdout, table, "{}", second.stderr);
    assert!(!second.stderr.contains(" read receipt"), "{}", second.stderr);
    assert_eq!(artifacts(), 2);
    second.ok();
}

fn count_files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).map(|entries| entries.flatten().collect::<Vec<_>>()).unwrap_or_default();
    entries.iter().map(|entry| if entry.path().is_dir() { count_files(&entry.path()) } else { 1 }).sum()
}

#[tokio::test]
async fn dev_stays_up_tells_what_to_type_and_the_other_verbs_find_it() {
    let folder = open_folder();
    let mut dev = dev_host(folder.path()).arg("dev").spawn();
    dev.logged("working").await;
    let state = folder.path().join("data/dev.json");
    eventually("the state of the running host", async || state.exists().then_some(())).await;
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&state).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    // A second one is refused; the others need no configuration.
    let error = dev_host(folder.path()).arg("dev").run().await.error();
    assert!(error.contains("another `host dev`"), "{error}");
    let photo = Path::new(env!("CARGO_MANIFEST_DIR")).join("receipts/X51005337872.jpg");
    let row = dev_host(folder.path()).arg("enqueue").arg(photo).args(["--wait", "--json"]).run().await.json();
    assert_eq!(row["status"], "ocr_done");
    dev_host(folder.path()).arg("doctor").run().await.ok();
    let finished = dev.stop().await;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    for word in ["enqueue photo.jpg --wait", "status --watch", "psql", "receipts-source", "receipts-artifacts"] {
        assert!(finished.stdout.contains(word), "{word}: {}", finished.stdout);
    }
    assert!(!state.exists());
    let error = dev_host(folder.path()).arg("status").run().await.error();
    assert!(error.contains("no database"), "{error}");
}
