//! `host lambda`: what invokes it, and what it answers. ministack proves that it speaks Lambda's runtime API, and what becomes of it
//! when it is frozen, killed or too slow; it asks for no rights here, and freezes nothing by itself.

use serde_json::{Value, json};
use tests::{Ministack, World, eventually};

pub(crate) fn schedule() -> Value {
    json!({
        "version": "0", "id": "1", "source": "aws.events", "detail-type": "Scheduled Event", "region": "us-east-1",
        "resources": ["arn:aws:events:us-east-1:000000000000:rule/every-minute"], "detail": {},
    })
}

/// An invocation is over: no lease, no session, and no connection but the one to Lambda.
pub(crate) async fn nothing_is_left(world: &World, aws: &Ministack, function: &str) {
    assert_eq!(world.count("receipt_queue WHERE leased_by IS NOT NULL AND NOT processed").await, 0, "leases");
    // The server takes a moment to see that a client is gone.
    let sessions = "pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'receipt-worker%'";
    eventually("no session is left", async || (world.count(sessions).await == 0).then_some(())).await;
    assert_eq!(aws.process_of(function).unwrap().connections(), 0, "connections");
}

#[tokio::test]
async fn each_kind_of_event_works_the_queue() {
    let (world, aws) = tokio::join!(World::new(), Ministack::start());
    aws.function("worker", world.host(), 60).await;

    // The queue is empty.
    let body = aws.works("worker", &json!({})).await;
    assert_eq!((&body["processed"], &body["dead"]), (&json!(0), &json!(0)), "{body}");
    nothing_is_left(&world, &aws, "worker").await;

    // Somebody's call, with whatever in it.
    world.receipts_from(0, 3).await;
    let body = aws.works("worker", &json!({ "httpMethod": "POST", "body": "work" })).await;
    assert_eq!((&body["processed"], &body["retried"], &body["dead"]), (&json!(3), &json!(0), &json!(0)), "{body}");
    assert!(body["component"].as_str().is_some_and(|digest| digest.len() == 64), "{body}");
    nothing_is_left(&world, &aws, "worker").await;

    // A schedule; one receipt of the two has no photo.
    world.receipts_from(3, 1).await;
    world.insert("nowhere.jpg").await;
    let body = aws.works("worker", &schedule()).await;
    assert_eq!((&body["processed"], &body["dead"]), (&json!(1), &json!(1)), "{body}");
    nothing_is_left(&world, &aws, "worker").await;

    // Messages, straight from a queue of SQS.
    world.receipts_from(4, 2).await;
    let queue = aws.call("sqs", "create_queue", json!({ "QueueName": "wake" })).await;
    let url = queue["QueueUrl"].as_str().unwrap();
    let wanted = json!({ "QueueUrl": url, "AttributeNames": ["QueueArn"] });
    let attributes = aws.call("sqs", "get_queue_attributes", wanted).await;
    let mapping = json!({
        "FunctionName": "worker", "EventSourceArn": attributes["Attributes"]["QueueArn"],
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
    });
    aws.call("lambda", "create_event_source_mapping", mapping).await;
    aws.call("sqs", "send_message", json!({ "QueueUrl": url, "MessageBody": "{}" })).await;
    eventually("the receipts are read", async || {
        (world.count("receipts WHERE status = 'pending'").await == 0).then_some(())
    })
    .await;
    let wanted = json!({ "QueueUrl": url, "AttributeNames": ["All"] });
    eventually("the message is gone", async || {
        let left = aws.call("sqs", "get_queue_attributes", wanted.clone()).await["Attributes"].take();
        let none = |name: &str| left[name] == "0";
        (none("ApproximateNumberOfMessages") && none("ApproximateNumberOfMessagesNotVisible")).then_some(())
    })
    .await;
    nothing_is_left(&world, &aws, "worker").await;

    world.assert_settled(7).await;
    assert_eq!(world.textract.calls(), 6);
}

#[tokio::test]
async fn a_scheduled_invocation_lingers_and_hears_of_what_is_inserted_meanwhile() {
    let (world, aws) = tokio::join!(World::new(), Ministack::start());
    let host = world.host().env("WORKER_LINGER", "8s").env("WORKER_EVERY", "1h");
    aws.function("worker", host, 60).await;
    // A call does not linger: it would, for longer than boto3 waits.
    aws.function("called", world.host().env("WORKER_LINGER", "1h"), 600).await;
    aws.works("called", &json!({})).await;

    let event = schedule();
    let (body, ()) = tokio::join!(aws.works("worker", &event), async {
        let listening = "pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'";
        eventually("it listens", async || (world.count(listening).await > 0).then_some(())).await;
        let (receipt, _) = world.receipt("late.jpg").await;
        world.becomes(&receipt, "ocr_done").await;
    });
    assert_eq!(body["processed"], 1, "{body}");
    assert!(body["milliseconds"].as_u64().unwrap() >= 8_000, "{body}");
    nothing_is_left(&world, &aws, "worker").await;
}

#[tokio::test]
async fn what_keeps_an_invocation_from_working_is_its_error() {
    let (world, aws) = tokio::join!(World::new(), Ministack::start());
    let (_, photo) = world.receipt("a.jpg").await;
    aws.function("no-bucket", world.host().env("SOURCE_BUCKET", "nowhere"), 60).await;
    let (answer, is_error) = aws.invoke("no-bucket", &json!({})).await;
    assert!(is_error, "{answer}");
    assert_eq!(answer["errorType"], "Worker.NotStarted");
    assert_eq!(answer["errorMessage"], "SOURCE_BUCKET: there is no bucket \"nowhere\"");

    let secret = "postgres://me:geheim@127.0.0.1:1/db";
    aws.function("no-database", world.host().env("DATABASE_URL", secret), 60).await;
    let (answer, is_error) = aws.invoke("no-database", &json!({})).await;
    assert!(is_error && answer["errorType"] == "Worker.NotStarted", "{answer}");
    let message = answer["errorMessage"].as_str().unwrap();
    assert!(message.contains("127.0.0.1") && !message.contains("geheim"), "{message}");
    assert!(!aws.log().contains("geheim"));

    aws.function("bare", tests::HostCommand::bare(), 60).await;
    let (answer, is_error) = aws.invoke("bare", &json!({})).await;
    assert!(is_error && answer["errorType"] == "Worker.NotConfigured", "{answer}");
    assert!(answer["errorMessage"].as_str().unwrap().contains("SOURCE_BUCKET"), "{answer}");

    // None of it has cost the receipt an attempt.
    aws.function("worker", world.host(), 60).await;
    assert_eq!(aws.works("worker", &json!({})).await["processed"], 1);
    assert_eq!(world.text("SELECT attempts::text FROM receipt_queue", &[]).await, "1");
    assert_eq!(world.textract.calls_by_image()[&photo.digest], 1);
}

#[tokio::test]
async fn elsewhere_the_verb_says_what_it_is_for() {
    let world = World::new().await;
    let error = world.host().arg("lambda").run().await.error();
    assert!(error.contains("AWS_LAMBDA_RUNTIME_API is not set") && error.contains("host run --once"), "{error}");
}
