//! An artifact bucket that takes nothing, or not everything: what was paid for is kept until it is stored, and nothing is paid
//! for again.

use hyper::Method;
use tests::{ARTIFACTS, Front, HostCommand, Refusal, World, eventually};

/// What services that call themselves S3 say to a PUT that they do not like.
const REFUSALS: [(u16, &str); 8] = [
    (400, "InvalidRequest"),
    (400, "InvalidArgument"),
    (400, "XAmzContentSHA256Mismatch"),
    (400, "SomethingNew"),
    (405, "MethodNotAllowed"),
    (411, "MissingContentLength"),
    (413, "EntityTooLarge"),
    (501, "NotImplemented"),
];

fn host(world: &World, s3: &Front, args: &[&str]) -> HostCommand {
    world.run(&["--admin", "off", "--every", "300ms"]).args(args).env("AWS_ENDPOINT_URL_S3", s3.endpoint())
}

fn is_put(method: &Method, path: &str) -> bool {
    *method == Method::PUT && path.starts_with(&format!("/{ARTIFACTS}/"))
}

/// Nobody waits for the backoff.
async fn make_due(world: &World) {
    world
        .execute("UPDATE receipt_queue SET available_at = now() WHERE NOT processed AND lease_token IS NULL AND available_at > now()")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_takes_nothing_is_found_out_before_anything_is_paid_for() {
    let world = World::new().await;
    world.receipts(3).await;
    let s3 = Front::before(&world.s3.endpoint()).await;
    for (status, code) in REFUSALS {
        s3.refuse(move |method, path, _| is_put(method, path).then_some(Refusal::Error(status, code)));
        let error = host(&world, &s3, &["--once"]).run().await.error();
        for words in ["ARTIFACT_BUCKET", code] {
            assert!(error.contains(words), "{code}: {error}");
        }
        let says_what_to_do = error.contains("AWS_REQUEST_CHECKSUM_CALCULATION=when_required");
        assert!(says_what_to_do || ["SomethingNew", "EntityTooLarge"].contains(&code), "{code}: {error}");
        let doctor = world.host().arg("doctor").env("AWS_ENDPOINT_URL_S3", s3.endpoint()).run().await;
        assert!(doctor.stdout.lines().any(|line| line.starts_with("FAIL") && line.contains(code)), "{}", doctor.stdout);
    }
    assert_eq!(world.textract.calls(), 0);
    assert_eq!(world.count("receipt_queue WHERE attempts = 0 AND NOT processed").await, 3);
    s3.allow();
    assert_eq!(host(&world, &s3, &["--once"]).run().await.json()["processed"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_setting_that_other_services_than_aws_need_is_heeded() {
    let world = World::new().await;
    world.receipts(2).await;
    let s3 = Front::before(&world.s3.endpoint()).await;
    for header in ["x-amz-checksum-crc", "x-amz-sdk-checksum-"] {
        s3.refuse_header(header);
        let error = host(&world, &s3, &["--once"]).run().await.error();
        assert!(error.contains("AWS_REQUEST_CHECKSUM_CALCULATION=when_required"), "{error}");
    }
    s3.refuse_header("x-amz-checksum-crc");
    let told = host(&world, &s3, &["--once"]).env("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required");
    assert_eq!(told.run().await.json()["processed"], 2);
}

/// It took something when the host began, and takes nothing afterwards.
async fn refused_while_it_works(status: u16, code: &'static str) {
    let world = World::new().await;
    let s3 = Front::before(&world.s3.endpoint()).await;
    let mut host = host(&world, &s3, &["--concurrency", "2"]).spawn();
    host.logged("worker.started").await;
    s3.refuse(move |method, path, _| is_put(method, path).then_some(Refusal::Error(status, code)));
    let receipts = world.receipts(10).await;
    host.logged_with("breaker.opened", "breaker=\"services\"").await;
    for _ in 0..20 {
        make_due(&world).await;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let calls = world.textract.calls_by_image();
    assert!(calls.values().all(|calls| *calls == 1), "{code}: {calls:?}");
    // Those whose answers could not be stored, at the time; none was begun afterwards.
    assert!(calls.len() <= 4, "{code}: {} were paid for", calls.len());
    assert_eq!(world.count("receipt_queue_dlq").await, 0, "{code}");
    s3.allow();
    eventually("all are done", async || {
        make_due(&world).await;
        (world.count("receipts WHERE status::text = 'ocr_done'").await == 10).then_some(())
    })
    .await;
    let calls = world.textract.calls_by_image();
    assert!(receipts.iter().all(|(_, photo)| calls[&photo.digest] == 1), "{code}: {calls:?}");
    host.stop().await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_stops_taking_anything_is_paid_for_once() {
    for (status, code) in [(400, "InvalidRequest"), (405, "MethodNotAllowed"), (403, "AccessDenied"), (503, "SlowDown")]
    {
        refused_while_it_works(status, code).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_stored_is_stored_before_the_host_ends() {
    let world = World::new().await;
    let s3 = Front::before(&world.s3.endpoint()).await;
    let mut host = host(&world, &s3, &[]).spawn();
    host.logged("worker.started").await;
    s3.refuse(|method, path, _| is_put(method, path).then_some(Refusal::Error(400, "InvalidRequest")));
    let (_, photo) = world.receipt("a.jpg").await;
    let waits = "receipt_queue WHERE last_error_code = 's3.InvalidRequest' AND lease_token IS NULL";
    eventually("it waits", async || (world.count(waits).await == 1).then_some(())).await;
    s3.allow();
    host.stop().await.ok();
    make_due(&world).await;
    assert_eq!(world.once().await["processed"], 1);
    assert_eq!(world.textract.calls_by_image()[&photo.digest], 1);
}
