//! PutMetricData, as two servers that are not ours take it and the AWS CLI reads it back. moto is the strict one of the two.

use tests::{World, has_event};

use crate::aws::Aws;

async fn is_told(aws: Aws) {
    let world = World::new().await;
    world.receipts(2).await;
    let host = world.run(&["--once", "--cloudwatch", "api"]).env("AWS_ENDPOINT_URL_CLOUDWATCH", &aws.endpoint);
    let finished = host.run().await;
    assert!(!has_event(&finished.stderr, "cloudwatch.untold"), "{}", finished.stderr);
    // One summary, and no line of metrics.
    finished.json();
    for (metric, statistic, expected) in [
        ("Processed", "Sum", 2.0),
        ("OcrPages", "Sum", 2.0),
        ("OcrLatency", "SampleCount", 2.0),
        ("JobLatency", "SampleCount", 2.0),
        ("Backlog", "Maximum", 0.0),
        ("DLQCount", "Maximum", 0.0),
        ("OldestAge", "Maximum", 0.0),
    ] {
        let told = aws
            .cli(&[
                "cloudwatch",
                "get-metric-statistics",
                "--namespace",
                "Custom/ReceiptQueue",
                "--metric-name",
                metric,
                "--start-time",
                "2026-01-01T00:00:00Z",
                "--end-time",
                "2100-01-01T00:00:00Z",
                "--period",
                "315360000",
                "--statistics",
                statistic,
            ])
            .await;
        let points = told["Datapoints"].as_array().unwrap();
        let values: Vec<f64> = points.iter().map(|point| point[statistic].as_f64().unwrap()).collect();
        assert_eq!(values, [expected], "{metric}: {told}");
    }
}

#[tokio::test]
async fn a_strict_server_takes_what_is_told() {
    is_told(Aws::moto().await).await;
}

#[tokio::test]
async fn another_server_takes_it_too() {
    is_told(Aws::ministack().await).await;
}

#[tokio::test]
async fn a_cloudwatch_that_is_away_costs_a_line_and_nothing_else() {
    let world = World::new().await;
    world.receipts(1).await;
    let host = world.run(&["--once", "--cloudwatch", "api"]).env("AWS_ENDPOINT_URL_CLOUDWATCH", "http://127.0.0.1:1");
    let finished = host.run().await;
    assert!(has_event(&finished.stderr, "cloudwatch.untold"), "{}", finished.stderr);
    assert_eq!(finished.json()["processed"], 1);
}
