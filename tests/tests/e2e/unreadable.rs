//! Answers of OCR that cannot be read: kept, named, and paid for anew when somebody asks for that.

use host::ocr::local::Fault;
use tests::{ARTIFACTS, World};

/// A receipt that was paid for, and of which this was kept.
async fn kept(world: &World, body: &[u8]) -> (String, String, String) {
    let (receipt, photo) = world.receipt("a.jpg").await;
    let key = format!("ocr/{receipt}/{}.detect.json", photo.digest);
    world.aws.s3.put_object().bucket(ARTIFACTS).key(&key).body(body.to_vec().into()).send().await.unwrap();
    world.execute("UPDATE receipt_queue SET claims = 1").await;
    (receipt, key, photo.digest)
}

/// The bytes of all artifacts of a receipt, by key.
async fn artifacts(world: &World, receipt: &str) -> Vec<(String, Vec<u8>)> {
    let listed =
        world.aws.s3.list_objects_v2().bucket(ARTIFACTS).prefix(format!("ocr/{receipt}/")).send().await.unwrap();
    let mut all = Vec::new();
    for object in listed.contents() {
        let key = object.key().unwrap().to_owned();
        all.push((key.clone(), world.artifact(&key).await));
    }
    all
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_named_and_paid_for_anew_when_that_is_asked_for() {
    for body in [&b""[..], b"{}", b"<html>", b"\xff\xfe"] {
        let world = World::new().await;
        let (receipt, key, digest) = kept(&world, body).await;
        // What is no text was never an answer: it is paid for at once.
        let text = std::str::from_utf8(body).is_ok();
        let summary = world.once().await;
        assert_eq!(summary["dead"], u64::from(text), "{body:?}: {summary}");
        if !text {
            assert_eq!(world.textract.calls(), 1);
            continue;
        }
        let message = world.text("SELECT error_message FROM receipt_queue_dlq", &[]).await;
        assert!(message.contains(&key) && message.contains("--ocr-again"), "{message}");
        // As it is, it would die of the same bytes again, and cost nothing.
        world.host().args(["dlq", "retry", &receipt]).run().await.ok();
        assert_eq!(world.once().await["dead"], 1);
        assert_eq!(world.textract.calls(), 0, "{body:?}");

        world.host().args(["dlq", "retry", &receipt, "--ocr-again"]).run().await.ok();
        // Whatever happens to the first attempt.
        world.textract.faults().next(1, Fault::throttled());
        world.once().await;
        world.execute("UPDATE receipt_queue SET available_at = now()").await;
        world.once().await;
        assert_eq!(world.status_of(&receipt).await, "ocr_done", "{body:?}");
        assert_eq!(world.textract.calls_by_image()[&digest], 1, "{body:?}");
        let artifacts = artifacts(&world, &receipt).await;
        assert_eq!(artifacts.len(), 2, "{artifacts:?}");
        for (name, bytes) in artifacts {
            let expected = if name == key { world.textract.last_body().unwrap().to_vec() } else { body.to_vec() };
            assert_eq!(bytes, expected, "{name}");
        }
        assert_eq!(world.text("SELECT ocr_s3_key FROM receipts", &[]).await, key);
        // Once there is an answer that can be read, nothing is paid for again.
        world.execute("UPDATE receipts SET status = 'pending'").await;
        world.once().await;
        assert_eq!(world.textract.calls_by_image()[&digest], 1, "{body:?}");
    }
}

#[tokio::test]
async fn of_all_dead_letters_only_those_with_an_answer_that_cannot_be_read_are_paid_for_anew() {
    let world = World::new().await;
    let (_, key, _) = kept(&world, b"{}").await;
    // Read well enough, and given up for another reason.
    let (other, photo) = world.receipt("b.jpg").await;
    world.once().await;
    world.execute("UPDATE receipts SET status = 'pending' WHERE status = 'ocr_done'").await;
    world.aws.s3.delete_object().bucket(tests::SOURCE).key("b.jpg").send().await.unwrap();
    world.once().await;
    assert_eq!(world.count("receipt_queue_dlq").await, 2);
    world.host().args(["dlq", "retry", "--all", "--ocr-again"]).run().await.ok();
    let artifact = format!("ocr/{other}/{}.detect.json", photo.digest);
    assert_eq!(world.artifact(&artifact).await, world.textract.last_body().unwrap().to_vec());
    assert_ne!(world.artifact(&key).await, b"{}");
}
