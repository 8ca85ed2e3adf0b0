//! `host dev`.

use std::path::Path;

use tempfile::TempDir;
use tests::{HostCommand, eventually};

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
    assert!(!second.logged("receipt.read"), "{}", second.stderr);
    assert_eq!(artifacts(), 2);
    second.ok();
}

fn count_files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).map(|entries| entries.flatten().collect::<Vec<_>>()).unwrap_or_default();
    // What tries the bucket at the start begins with a dot.
    let entries = entries.iter().filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
    entries.map(|entry| if entry.path().is_dir() { count_files(&entry.path()) } else { 1 }).sum()
}

#[tokio::test]
async fn what_a_killed_dev_left_is_nobodys_though_another_process_has_its_number() {
    let folder = open_folder();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let left = serde_json::json!({
        "folder": data, "pid": std::process::id(), "database_url": "postgres://127.0.0.1:1/receipts",
        "s3_endpoint": "http://127.0.0.1:1", "textract_endpoint": "http://127.0.0.1:1", "access_key": "a", "secret_key": "b",
        "region": "us-east-1", "source_bucket": "receipts-source", "artifact_bucket": "receipts-artifacts",
    });
    std::fs::write(data.join("dev.json"), left.to_string()).unwrap();
    let error = dev_host(folder.path()).arg("status").run().await.error();
    assert!(error.contains("no database"), "{error}");
    let mut dev = dev_host(folder.path()).arg("dev").spawn();
    dev.logged("worker.started").await;
    dev_host(folder.path()).arg("status").run().await.ok();
    assert_eq!(dev.stop().await.code, Some(0));
}

#[tokio::test]
async fn dev_stays_up_tells_what_to_type_and_the_other_verbs_find_it() {
    let folder = open_folder();
    let mut dev = dev_host(folder.path()).arg("dev").spawn();
    dev.logged("worker.started").await;
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
