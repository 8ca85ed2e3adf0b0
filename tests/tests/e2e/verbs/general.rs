//! What all verbs have in common: help, completions, logs, pipes; and `host migrate`.

use std::process::Stdio;

use serde_json::Value;
use tests::{HostCommand, TestDatabase, World, WorldSettings, answer};

use super::{alone, write};

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
    assert!(finished.logged_with("migrate.applied", "20261101000000_receipt_queue"), "{}", finished.stderr);
    assert_eq!(finished.ok(), "");
    let finished = world.host().arg("migrate").run().await;
    assert!(finished.logged("migrate.up_to_date"), "{}", finished.stderr);
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
        lines.iter().any(|line| line["event"] == "receipt.read" && line["vendor"] == "Blue Bottle Cafe"),
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
