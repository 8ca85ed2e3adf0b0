//! Objects that may not be read, among others that may: they are charged and die, and hold up nobody. A bucket of which nothing
//! may be read is another matter.

use hyper::Method;
use tests::{ARTIFACTS, Front, HostCommand, Refusal, SOURCE, World, eventually, has_event};

use crate::charged;

const PAUSED: &str = "breaker.opened";

fn host(world: &World, s3: &Front) -> HostCommand {
    world
        .run(&["--admin", "off", "--every", "300ms", "--max-attempts", "3"])
        .env("AWS_ENDPOINT_URL_S3", s3.endpoint())
        .env("NO_COLOR", "1")
}

fn is_locked(method: &Method, path: &str) -> bool {
    *method == Method::GET && path.starts_with(&format!("/{SOURCE}/locked-"))
}

async fn locked(world: &World, count: usize) {
    for number in 0..count {
        world.receipt(&format!("locked-{number}.jpg")).await;
    }
}

/// Nobody waits for the backoff.
async fn make_due(world: &World) {
    world
        .execute("UPDATE receipt_queue SET available_at = now() WHERE NOT processed AND lease_token IS NULL AND available_at > now()")
        .await;
}

async fn all_dead(world: &World, count: i64, kind: &str) {
    let dead = format!("receipt_queue_dlq WHERE error_kind = '{kind}' AND attempts = 3");
    eventually(&format!("{count} are dead: {kind}"), async || {
        make_due(world).await;
        (world.count(&dead).await == count).then_some(())
    })
    .await;
}

/// Good receipts come all the time, each is done before the next one, and the bad ones end.
async fn good_ones_go_on(refusal: Refusal, kind: &str, bad: usize) {
    let world = World::new().await;
    let s3 = Front::before(&world.s3.endpoint()).await;
    s3.refuse(move |method, path, _| is_locked(method, path).then_some(refusal));
    // One has been read before: where nothing was ever read, so many failures at once are the bucket's.
    let host = host(&world, &s3).spawn();
    let (first, _) = world.receipt("first.jpg").await;
    world.becomes(&first, "ocr_done").await;
    locked(&world, bad).await;
    let (mut good, bad) = (0, i64::try_from(bad).unwrap());
    let dead = format!("receipt_queue_dlq WHERE error_kind = '{kind}' AND attempts = 3");
    eventually("the bad ones are dead", async || {
        let (receipt, _) = world.receipt(&format!("good-{good}.jpg")).await;
        good += 1;
        world.becomes(&receipt, "ocr_done").await;
        make_due(&world).await;
        (world.count(&dead).await == bad).then_some(())
    })
    .await;
    let sql = "receipt_queue WHERE processed AND attempts <> 1";
    assert_eq!(world.count(sql).await, 0, "{kind}: a good one was charged");
    let log = host.stop().await.stderr;
    assert!(!has_event(&log, PAUSED), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_are_forbidden_hold_up_nobody_and_die() {
    good_ones_go_on(Refusal::Error(403, "AccessDenied"), "access-denied", 6).await;
    good_ones_go_on(Refusal::Error(400, "KMS.DisabledException"), "access-denied", 12).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_the_service_does_not_like_hold_up_nobody_and_die() {
    good_ones_go_on(Refusal::Error(400, "InvalidRequest"), "unavailable", 12).await;
    good_ones_go_on(Refusal::Half, "unavailable", 6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forbidden_objects_end_though_nothing_else_is_in_the_queue() {
    let world = World::new().await;
    let s3 = Front::before(&world.s3.endpoint()).await;
    s3.refuse(|method, path, _| is_locked(method, path).then_some(Refusal::Error(403, "AccessDenied")));
    locked(&world, 6).await;
    // Nothing was ever read. But the bucket says of a photo that does not exist that there is none: so it is not closed.
    let host = host(&world, &s3).spawn();
    all_dead(&world, 6, "access-denied").await;
    world.assert_settled(6).await;
    host.stop().await.ok();
}

/// Everything is refused, where something was read before and where nothing was.
async fn a_closed_bucket(warm: bool) {
    let world = World::new().await;
    let s3 = Front::before(&world.s3.endpoint()).await;
    let is_photo = |method: &Method, path: &str| *method == Method::GET && path.starts_with(&format!("/{SOURCE}/"));
    let close =
        || s3.refuse(move |method, path, _| is_photo(method, path).then_some(Refusal::Error(403, "AccessDenied")));
    if !warm {
        close();
    }
    let mut host = host(&world, &s3).spawn();
    host.logged("worker.started").await;
    if warm {
        let (receipt, _) = world.receipt("first.jpg").await;
        world.becomes(&receipt, "ocr_done").await;
        close();
    }
    world.receipts(30).await;
    host.logged(PAUSED).await;
    for _ in 0..20 {
        make_due(&world).await;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let cost = charged(&world).await;
    assert!(cost <= 2, "warm {warm}: {cost} attempts charged");
    s3.allow();
    host.logged("breaker.closed").await;
    let all = 30 + i64::from(warm);
    eventually("all are done", async || {
        make_due(&world).await;
        (world.count("receipts WHERE status::text = 'ocr_done'").await == all).then_some(())
    })
    .await;
    host.stop().await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_closed_costs_nothing_and_is_found_out() {
    a_closed_bucket(true).await;
    a_closed_bucket(false).await;
}

/// So often each of them is tried in vain; an object that is in doubt is charged after 20 times.
const ROUNDS: usize = 25;

/// A bucket is closed for very long while few receipts wait for it, to a host that has read nothing since it began.
async fn few_wait_for_a_closed_bucket(count: usize, bucket: &'static str, refusal: Refusal) {
    let world = World::new().await;
    let s3 = Front::before(&world.s3.endpoint()).await;
    let mut host = host(&world, &s3).spawn();
    host.logged("worker.started").await;
    s3.refuse(move |_, path, _| path.starts_with(&format!("/{bucket}/")).then_some(refusal));
    let receipts = world.receipts(count).await;
    // As if they had been tried before: there may be artifacts.
    world.execute("UPDATE receipt_queue SET claims = 1").await;
    let tried = format!("receipt_queue WHERE claims > {ROUNDS}");
    let all = i64::try_from(count).unwrap();
    eventually("each was tried often enough", async || {
        make_due(&world).await;
        (world.count(&tried).await == all).then_some(())
    })
    .await;
    assert_eq!(charged(&world).await, 0, "{count} receipts, {bucket}");
    s3.allow();
    eventually("all are done", async || {
        make_due(&world).await;
        (world.count("receipts WHERE status::text = 'ocr_done'").await == all).then_some(())
    })
    .await;
    assert_eq!(world.count("receipt_queue WHERE attempts > 1").await, 0);
    assert_eq!(world.textract.calls_by_image().len(), receipts.len());
    host.stop().await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn few_receipts_survive_a_bucket_that_is_closed_for_long() {
    for count in [1, 3, 7] {
        few_wait_for_a_closed_bucket(count, SOURCE, Refusal::Error(403, "AccessDenied")).await;
    }
    few_wait_for_a_closed_bucket(2, SOURCE, Refusal::Error(400, "KMS.DisabledException")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn few_receipts_survive_an_artifact_bucket_that_is_closed_for_long() {
    for count in [1, 2] {
        few_wait_for_a_closed_bucket(count, ARTIFACTS, Refusal::Error(403, "AccessDenied")).await;
    }
}
