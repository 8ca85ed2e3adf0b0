//! What bad input gets: a named error, nothing lost, never a panic (every finished host is checked for that).

use host::ocr::local::Fault;
use tests::{ARTIFACTS, HostCommand, SOURCE, TestDatabase, World, WorldSettings, eventually};

/// Runs `host run` with one variable changed, or taken away; it must fail and name the reason.
async fn fails(world: &World, name: &str, value: Option<&str>) -> String {
    let run = world.run(&["--once"]);
    let run = match value {
        Some(value) => run.env(name, value),
        None => run.without(name),
    };
    let finished = run.run().await;
    assert_eq!(finished.stdout, "");
    finished.error()
}

#[track_caller]
fn says(error: &str, words: &[&str]) {
    for word in words {
        assert!(error.contains(word), "{word:?} is not in: {error}");
    }
}

#[tokio::test]
async fn a_missing_or_wrong_database_url_is_named() {
    let world = World::new().await;
    says(&fails(&world, "DATABASE_URL", None).await, &["no database", "DATABASE_URL"]);
    says(&fails(&world, "DATABASE_URL", Some("")).await, &["no database", "DATABASE_URL"]);
    says(&fails(&world, "DATABASE_URL", Some("mysql://u:geheim@h/d")).await, &["DATABASE_URL", "postgres://"]);
    says(&fails(&world, "DATABASE_URL", Some("postgres://u@h/d?sslmode=maybe")).await, &["sslmode", "verify-full"]);
}

#[tokio::test]
async fn a_database_that_lets_nobody_in_is_named_without_the_password() {
    let world = World::new().await;
    let url = world.db.url();
    let password = url.split([':', '@']).nth(2).unwrap();
    let wrong = url.replace(password, "falsch123");
    let error = fails(&world, "DATABASE_URL", Some(&wrong)).await;
    says(&error, &["cannot connect to the database at 127.0.0.1:", "password authentication failed"]);
    assert!(!error.contains("falsch123"), "{error}");

    let (base, _) = url.rsplit_once('/').unwrap();
    let error = fails(&world, "DATABASE_URL", Some(&format!("{base}/nowhere?sslmode=disable"))).await;
    says(&error, &["cannot connect", "nowhere", "does not exist"]);

    let error = fails(&world, "DATABASE_URL", Some("postgres://u:p@127.0.0.1:1/d?sslmode=disable")).await;
    says(&error, &["cannot connect to the database at 127.0.0.1:1/d", "refused"]);

    let error = fails(&world, "DATABASE_URL", Some(&url.replace("sslmode=disable", "sslmode=require"))).await;
    says(&error, &["cannot connect", "TLS"]);
}

#[tokio::test]
async fn a_schema_that_is_not_migrated_is_named() {
    let world = World::with(WorldSettings { db: Some(TestDatabase::empty().await), ..Default::default() }).await;
    let error = world.run(&["--once"]).run().await.error();
    says(&error, &["no receipt queue", "host migrate"]);
    for verb in [&["status"][..], &["dlq", "list"], &["dlq", "retry", "--all"], &["dlq", "discard", "--all", "--yes"]] {
        says(&world.host().args(verb).run().await.error(), &["host migrate"]);
    }
}

#[tokio::test]
async fn a_role_that_may_not_work_the_queue_is_told_so() {
    let world = World::new().await;
    world
        .execute(
            "DO $$ BEGIN
                 IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'test_stranger') THEN
                     CREATE ROLE test_stranger LOGIN PASSWORD 'secret';
                 END IF;
             END $$",
        )
        .await;
    let error = fails(&world, "DATABASE_URL", Some(&world.db.url_as("test_stranger"))).await;
    says(&error, &["permission denied"]);
}

#[tokio::test]
async fn missing_buckets_are_named() {
    let world = World::new().await;
    world.receipt("a.jpg").await;
    says(&fails(&world, "SOURCE_BUCKET", None).await, &["SOURCE_BUCKET"]);
    says(&fails(&world, "ARTIFACT_BUCKET", None).await, &["ARTIFACT_BUCKET"]);
    says(&fails(&world, "SOURCE_BUCKET", Some("not-there")).await, &["SOURCE_BUCKET", "no bucket", "not-there"]);
    says(&fails(&world, "ARTIFACT_BUCKET", Some("not-there")).await, &["ARTIFACT_BUCKET", "no bucket", "not-there"]);
    // Nothing was claimed for it.
    assert_eq!(world.count("receipt_queue WHERE claims = 0 AND attempts = 0").await, 1);
}

#[tokio::test]
async fn missing_region_and_credentials_are_named() {
    let world = World::new().await;
    says(&fails(&world, "AWS_REGION", None).await, &["no AWS region", "AWS_REGION"]);
    says(&fails(&world, "AWS_ACCESS_KEY_ID", None).await, &["no AWS credentials", "AWS_ACCESS_KEY_ID"]);
}

#[tokio::test]
async fn an_s3_that_cannot_be_reached_is_named() {
    let world = World::new().await;
    let error = fails(&world, "AWS_ENDPOINT_URL_S3", Some("http://127.0.0.1:1")).await;
    says(&error, &["SOURCE_BUCKET", "S3 cannot be reached"]);
}

#[tokio::test]
async fn a_wrong_secret_leaves_receipts_where_they_are() {
    let world = World::new().await;
    world.receipt("a.jpg").await;
    let finished = world.run(&["--once"]).env("AWS_SECRET_ACCESS_KEY", "wrong").run().await;
    // Whether it starts or not: it says what is wrong, and the receipt waits.
    assert!(finished.stderr.contains("permission") || finished.stderr.contains("access"), "{}", finished.stderr);
    assert_eq!(world.count("receipt_queue WHERE NOT processed").await, 1);
    assert_eq!(world.textract.requests(), 0);
}

#[tokio::test]
async fn what_is_no_component_is_named() {
    let world = World::new().await;
    let file = |name: &str, bytes: &[u8]| {
        let path = world.dir().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let built_in = host::sandbox::EMBEDDED;
    let cases = [
        (world.dir().join("missing.wasm"), "cannot read the component"),
        (world.dir().to_owned(), "cannot read the component"),
        (file("empty.wasm", b""), "is empty"),
        (file("text.wasm", b"I am a text file\n"), "no WebAssembly"),
        (file("cut.wasm", &built_in[..built_in.len() / 2]), "cut off or damaged"),
        (file("core.wasm", b"\0asm\x01\0\0\0"), "core WebAssembly module, not a component"),
        (file("nothing.wasm", b"\0asm\x0d\0\x01\0"), "does not export"),
    ];
    for (path, reason) in cases {
        let error = world.run(&["--once", "--component"]).arg(&path).run().await.error();
        says(&error, &[reason, &path.display().to_string()]);
    }
    // One byte of it changed, anywhere in its code: refused, or run, but never a panic of the host.
    let mut damaged = built_in.to_vec();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0xff;
    world.run(&["--once", "--component"]).arg(file("damaged.wasm", &damaged)).run().await;
}

#[tokio::test]
async fn a_component_for_another_contract_version_is_named() {
    let world = World::new().await;
    let path = world.dir().join("newer.wasm");
    let mut bytes = host::sandbox::EMBEDDED.to_vec();
    let version = b"@0.2.0";
    for at in 0..bytes.len() {
        // A name of the contract: the version is a few letters behind the package.
        let name = bytes[at..].starts_with(b"snapceit:receipts/").then(|| &bytes[at..(at + 60).min(bytes.len())]);
        if let Some(behind) = name.and_then(|name| name.windows(version.len()).position(|text| text == version)) {
            bytes[at + behind..at + behind + version.len()].copy_from_slice(b"@0.9.0");
        }
    }
    std::fs::write(&path, bytes).unwrap();
    let error = world.run(&["--once", "--component"]).arg(&path).run().await.error();
    says(&error, &["snapceit:receipts@0.9.0", "0.2.0 and 0.1.0"]);
}

#[tokio::test]
async fn wrong_flags_are_wrong_usage() {
    for args in [
        &["run", "--every", "0"][..],
        &["run", "--every", "soon"],
        &["run", "--concurrency", "0"],
        &["run", "--max-attempts", "0"],
        &["run", "--lease", "10ms"],
        &["run", "--textract-tps", "-1"],
        &["run", "--textract-source", "carrier-pigeon"],
        &["run", "--ocr-api", "oracle"],
        &["run", "--max-memory", "lots"],
        &["run", "--log", "host=shout=loud"],
        &["dlq", "retry"],
        &["enqueue"],
        &["no-such-verb"],
        &[],
    ] {
        let finished = HostCommand::bare().args(args).run().await;
        assert_eq!(finished.code, Some(2), "{args:?}: {}", finished.stderr);
        assert!(finished.stdout.is_empty() && !finished.stderr.is_empty(), "{args:?}");
    }
}

/// A receipt with this image_url dies of this, and says so.
async fn dies(world: &World, image_url: &str, kind: &str, code: &str, message: &str) {
    let receipt = world.insert(image_url).await;
    let before = world.textract.requests();
    world.once().await;
    assert_eq!(world.status_of(&receipt).await, "ocr_failed", "{image_url}");
    let sql =
        "SELECT concat_ws('|', error_kind, error_code, attempts) FROM receipt_queue_dlq WHERE receipt_id::text = $1";
    assert_eq!(world.text(sql, &[&receipt]).await, format!("{kind}|{code}|1"), "{image_url}");
    let said = world.text("SELECT error_message FROM receipt_queue_dlq WHERE receipt_id::text = $1", &[&receipt]).await;
    assert!(said.contains(message), "{image_url}: {said}");
    assert_eq!(world.textract.requests(), before, "{image_url}: Textract was asked");
}

#[tokio::test]
async fn an_image_that_cannot_be_read_is_a_dead_letter_that_says_so() {
    let world = World::new().await;
    world.put("empty.jpg", Vec::new()).await;
    world.put("text.jpg", b"This is a text that is named .jpg\n".to_vec()).await;
    let mut large = b"\xff\xd8\xff\xe0".to_vec();
    large.resize(11 * 1024 * 1024, 0);
    world.put("large.jpg", large).await;
    let foreign = format!("s3://{ARTIFACTS}/a.jpg");
    for (image_url, kind, code, message) in [
        ("nowhere.jpg", "not-found", "s3.NoSuchKey", "nowhere.jpg"),
        ("empty.jpg", "bad-document", "image.Empty", "0 bytes"),
        ("text.jpg", "unsupported-document", "image.UnsupportedFormat", "neither JPEG"),
        ("large.jpg", "document-too-large", "image.TooLarge", "11534336 bytes"),
        (&foreign, "bad-location", "image.ForeignBucket", SOURCE),
        ("http://receipts-source.s3.amazonaws.com/a.jpg", "bad-location", "image.UnsupportedUrl", "only a key"),
        ("https://evil.example/a.jpg", "bad-location", "image.ForeignHost", "other hosts"),
        ("https://169.254.169.254/latest/meta-data/", "bad-location", "image.ForeignHost", "other hosts"),
        ("../../etc/passwd", "bad-location", "image.BadKey", "not followed"),
        ("data:image/png;base64,AAAA", "bad-location", "image.UnsupportedUrl", "data: URL"),
    ] {
        dies(&world, image_url, kind, code, message).await;
    }
    world.assert_settled(10).await;
}

#[tokio::test]
async fn every_way_to_name_an_image_that_is_there_works() {
    let world = World::new().await;
    world.photo("a b/é+c%20.jpg").await;
    for image_url in [
        "a b/é+c%20.jpg".to_owned(),
        format!("s3://{SOURCE}/a b/é+c%20.jpg"),
        format!("https://{SOURCE}.s3.amazonaws.com/a%20b/%C3%A9%2Bc%2520.jpg"),
        format!("https://{SOURCE}.s3.us-east-1.amazonaws.com/a%20b/%C3%A9+c%2520.jpg?X-Amz-Expires=60"),
        format!("https://s3.us-east-1.amazonaws.com/{SOURCE}/a%20b/%C3%A9%2Bc%2520.jpg"),
    ] {
        let receipt = world.insert(&image_url).await;
        world.once().await;
        assert_eq!(world.status_of(&receipt).await, "ocr_done", "{image_url}");
    }
}

#[tokio::test]
async fn a_receipt_that_is_deleted_while_it_is_worked_leaves_nothing() {
    let world = World::new().await;
    world.textract.faults().always(Fault::Held);
    world.receipt("a.jpg").await;
    let host = world.run(&["--once"]).spawn();
    eventually("the call", async || (world.textract.requests() == 1).then_some(())).await;
    world.execute("DELETE FROM receipts").await;
    world.textract.faults().clear();
    let summary = host.wait().await.json();
    assert_eq!((&summary["lost"], &summary["processed"]), (&1.into(), &0.into()), "{summary}");
    assert_eq!(world.count("receipt_queue").await + world.count("receipt_queue_dlq").await, 0);
}
