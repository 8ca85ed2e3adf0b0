//! What users trip over.

use std::time::Duration;

use serde_json::json;
use tests::{HostCommand, TestDatabase, World, WorldSettings, candidates, eventually};

#[tokio::test]
async fn a_negative_value_is_the_flags_and_a_key_that_is_none_is_wrong_usage() {
    let world = World::new().await;
    for (args, says) in [
        (&["--every", "-5s"][..], "--every"),
        (&["--lease", "-1"], "--lease"),
        (&["--image-memory", "-1Gi"], "--image-memory"),
        (&["--concurrency", "-4"], "--concurrency"),
        (&["--probation-margin", "-0.1"], "--probation-margin"),
        (&["--component-sha256", "abc"], "abc"),
        (&["--trusted-key", "/nowhere/key.pub"], "/nowhere/key.pub"),
    ] {
        let finished = world.run(&["--once"]).args(args).run().await;
        assert_eq!(finished.code, Some(2), "{args:?} {}", finished.stderr);
        assert!(finished.stderr.contains(says), "{args:?} {}", finished.stderr);
        assert!(!finished.stderr.contains("unexpected argument"), "{}", finished.stderr);
    }
    world.run(&["--once", "--every", "1m30s", "--lease", "30sec", "--image-memory", "1.5Gi"]).run().await.ok();
}

#[tokio::test]
async fn an_empty_list_says_so_and_no_line_is_padded() {
    let world = World::new().await;
    assert_eq!(world.host().args(["dlq", "list"]).run().await.ok(), "there are no dead letters\n");
    let none = world.host().arg("components").run().await.ok();
    assert!(none.contains("no worker runs") && none.contains("no component was ever changed here"), "{none}");
    assert_eq!(world.host().args(["dlq", "list", "--json"]).run().await.ok(), "");
    world.insert("nowhere.jpg").await;
    world.execute("UPDATE receipt_queue SET enqueued_at = now() - interval '1 day'").await;
    world.once().await;
    for verb in [&["dlq", "list"][..], &["components"], &["status"]] {
        let shown = world.host().args(verb).run().await.ok();
        assert!(shown.lines().all(|line| !line.ends_with(' ')), "{shown}");
    }
}

#[tokio::test]
async fn verbs_that_change_something_tell_it_as_json() {
    let empty = World::with(WorldSettings { db: Some(TestDatabase::empty().await), ..Default::default() }).await;
    let applied = empty.host().args(["migrate", "--json"]).run().await.json();
    assert!(applied["applied"].as_array().unwrap().len() >= 5, "{applied}");
    let again = empty.host().args(["migrate", "--json"]).run().await.json();
    assert_eq!(again["applied"], json!([]), "{again}");
    let rights = HostCommand::bare().args(["rights", "--role", "worker", "--json"]).run().await.json();
    assert_eq!(rights["role"], "worker");
    assert!(rights["sql"].as_str().unwrap().contains("GRANT"), "{rights}");

    let world = World::new().await;
    let (one, two) = (world.insert("nowhere.jpg").await, world.insert("neither.jpg").await);
    world.execute("UPDATE receipt_queue SET enqueued_at = now() - interval '1 day'").await;
    world.once().await;
    assert_eq!(
        world.host().args(["dlq", "retry", &one, "--json"]).run().await.json(),
        json!({ "receipt": one, "done": "retried" })
    );
    assert_eq!(
        world.host().args(["dlq", "discard", &two, "--yes", "--json"]).run().await.json(),
        json!({ "receipt": two, "done": "discarded" })
    );
}

#[tokio::test]
async fn who_watches_the_status_goes_on_when_the_database_does() {
    let world = World::new().await;
    let mut host = world.host().args(["status", "--watch", "--json", "--interval", "100ms"]).spawn();
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name LIKE 'receipt-worker%'
            AND backend_start < now() - interval '1 second'";
    eventually("a session that is watching", async || {
        (world.client.query_one(cut, &[]).await.unwrap().get::<_, i64>(0) > 0).then_some(())
    })
    .await;
    host.logged("status.unreachable").await;
    eventually("another session", async || {
        let sql = "pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'receipt-worker%'";
        (world.count(sql).await > 0).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!host.has_ended(), "{}", host.log());
}

#[tokio::test]
async fn a_component_in_s3_that_is_not_there_is_not_waited_for_at_the_start() {
    let world = World::new().await;
    let error = world.run(&["--once", "--component", "s3://receipts-source/none.wasm"]).run().await.error();
    assert!(error.contains("it is not there") && !error.contains("waiting"), "{error}");
}

/// A path with a blank in it, and an error of the component's: each value is one, wherever it stands.
#[tokio::test]
async fn errors_in_the_log_are_quoted_like_all_else() {
    let world = World::new().await;
    world.receipt("a.jpg").await;
    let file = super::write(world.dir(), "my component.wasm", candidates::traps());
    let finished = world.run(&["--once", "--component"]).arg(&file).run().await;
    assert!(finished.logged_with("component.failed_on_job", "error=\""), "{}", finished.stderr);
}
