//! A start that fails: it costs no receipt an attempt, however often it is repeated.

use tests::{HostCommand, World};

/// Leases given so far. A sequence that was never asked says 1, too.
async fn leases(world: &World) -> String {
    world.text("SELECT CASE WHEN is_called THEN last_value ELSE 0 END::text FROM receipt_queue_token", &[]).await
}

/// Everything that can be wrong with what a host is given, one at a time.
fn broken_starts(world: &World) -> Vec<(&'static str, HostCommand)> {
    let file = world.dir().join("a-file");
    std::fs::write(&file, "neither a folder nor a component").unwrap();
    let file = file.to_str().unwrap();
    let with = |args: &[&str]| world.run(args).env("WORKER_ADMIN", "127.0.0.1:0");
    vec![
        ("traces cannot be written", with(&["--record", file])),
        ("no component", with(&["--component", "/nowhere.wasm"])),
        ("not a component", with(&["--component", file])),
        ("a component that is not in S3", with(&["--component", "s3://receipts-source/nowhere.wasm"])),
        ("no shadow", with(&["--shadow", "/nowhere.wasm"])),
        ("no folder for the gate", with(&["--gate", "/nowhere"])),
        ("no trusted key", with(&["--trusted-key", "/nowhere.pub"])),
        ("no source bucket", with(&[]).env("SOURCE_BUCKET", "not-there")),
        ("a wrong secret", with(&[]).env("AWS_SECRET_ACCESS_KEY", "wrong")),
        ("no artifact bucket", with(&[]).env("ARTIFACT_BUCKET", "not-there")),
    ]
}

#[tokio::test]
async fn a_start_that_fails_claims_nothing() {
    let world = World::new().await;
    world.receipts(8).await;
    for (name, host) in broken_starts(&world) {
        let finished = host.run().await;
        // A key that is none is wrong usage.
        let expected = if name == "no trusted key" { 2 } else { 1 };
        assert_eq!(finished.code, Some(expected), "{name}: {}", finished.stderr);
        assert_eq!(leases(&world).await, "0", "{name}: {}", finished.stderr);
    }
    assert_eq!(world.count("receipt_queue WHERE attempts = 0 AND lease_token IS NULL AND NOT processed").await, 8);
    assert_eq!(world.once().await["processed"], 8);
}

#[tokio::test]
async fn a_development_host_that_fails_while_it_works_gives_back_what_it_holds() {
    let world = World::new().await;
    // A photo that nobody can read, given to it after it has begun to work: showing it fails, working goes on.
    let folder = tempfile::TempDir::new().unwrap();
    let photo = folder.path().join("photo.jpg");
    std::fs::write(&photo, tests::photo_bytes()).unwrap();
    world.receipts(30).await;
    // What shows the photos cannot insert them; what works the queue can do all of its work.
    world
        .execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 PERFORM pg_sleep(0.3);
                 RAISE EXCEPTION 'no more receipts';
             END $$;
             CREATE TRIGGER refuse BEFORE INSERT ON receipts FOR EACH ROW EXECUTE FUNCTION refuse()",
        )
        .await;
    let host = world
        .host()
        .args(["dev", "--admin", "off", "--data-dir"])
        .arg(folder.path().join("data"))
        .arg("--receipts")
        .arg(&photo);
    let error = host.run().await.error();
    assert!(error.contains("no more receipts"), "{error}");
    assert_eq!(world.count("receipt_queue WHERE leased_by IS NOT NULL AND NOT processed").await, 0, "leases are left");
}
