//! What CloudWatch is told, as lines of its embedded metric format. The call of PutMetricData has servers that are not ours to prove it
//! (tests/deploy).

use serde_json::Value;
use tests::World;

/// The lines of metrics among those of stdout.
fn lines(stdout: &str) -> Vec<Value> {
    let lines = stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line.get("_aws").is_some()).collect()
}

#[tokio::test]
async fn a_pass_tells_what_it_did_and_what_is_left() {
    let world = World::new().await;
    world.receipts(3).await;
    world.insert("not-there.jpg").await;
    let told = world.run(&["--once", "--cloudwatch", "emf"]).env("WORKER_PHOTO_GRACE", "0").run().await.ok();
    let [line] = lines(&told).try_into().unwrap_or_else(|lines| panic!("{lines:?}"));
    let of = |name: &str| line[name].as_f64().unwrap_or(-1.0);
    assert_eq!((of("Processed"), of("OcrPages")), (3.0, 3.0), "{line}");
    // Whichever of the two a photo that is not there is, it is told once.
    assert_eq!(of("Failed") + of("Retried"), 1.0, "{line}");
    assert_eq!(of("Backlog") + of("DLQCount"), 1.0, "{line}");
    for name in ["OcrLatency", "JobLatency"] {
        let times = line[name].as_array().unwrap_or_else(|| panic!("{name}: {line}"));
        assert!(times.len() >= 3 && times.iter().all(|time| time.as_f64().is_some_and(|time| time > 0.0)), "{line}");
    }
    let told = &line["_aws"]["CloudWatchMetrics"][0];
    assert_eq!((&told["Namespace"], &told["Dimensions"]), (&"Custom/ReceiptQueue".into(), &serde_json::json!([[]])));
}

#[tokio::test]
async fn where_nobody_asked_for_it_nothing_is_told_and_a_host_that_ends_tells_once_more() {
    let world = World::new().await;
    assert!(lines(&world.run(&["--once"]).run().await.ok()).is_empty());
    let mut host = world.run(&["--cloudwatch", "auto"]).env("AWS_LAMBDA_FUNCTION_NAME", "worker").spawn();
    host.logged("worker.started").await;
    let told = host.stop().await.ok();
    assert_eq!(lines(&told).len(), 1, "{told}");
    let wrong = world.run(&["--cloudwatch", "prometheus"]).run().await;
    assert_eq!(wrong.code, Some(2), "{}", wrong.stderr);
}
