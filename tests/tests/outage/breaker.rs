//! A component that fails on everything: the host backs off, says so, and goes on by itself or with another component.

use host::storage::digest_of;
use serde_json::Value;
use tests::{HostCommand, Running, World, candidates, events, eventually, photo_bytes};

use crate::poison::{component, world};
use crate::{charged, claims};

const OPENED: &str = "breaker.opened";
const TRIED: &str = "breaker.half_opened";
const CLOSED: &str = "breaker.closed";

fn host(world: &World, bytes: &[u8], args: &[&str]) -> HostCommand {
    world
        .run(&["--every", "300ms", "--probation", "0", "--gate-policy", "report"])
        .args(args)
        .env("WORKER_ADMIN", "127.0.0.1:0")
        .env("NO_COLOR", "1")
        .arg("--component")
        .arg(component(world, bytes))
}

/// Waits until the log has this event so often.
async fn logged(host: &Running, event: &str, times: usize) {
    eventually(&format!("{event} {times} times"), async || (events(&host.log(), event).len() >= times).then_some(()))
        .await;
}

/// What a GET of the admin endpoint answers, over a plain connection.
pub(crate) async fn admin(world: &World, host: &Running, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let address = host.admin();
    let port = address.rsplit(':').next().unwrap();
    let token = walk(world.dir()).into_iter().find(|file| file.contains("admin") && file.contains(port));
    let token = token.map(|file| std::fs::read_to_string(file).unwrap()).unwrap_or_default();
    let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
        token.trim()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

fn walk(folder: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path.to_str().unwrap().to_owned()] }).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_traps_on_everything_costs_two_attempts_at_most_until_it_is_swapped() {
    let world = world(&[]).await;
    world.receipts(40).await;
    let mut host = host(&world, &candidates::traps(), &["--max-attempts", "3"]).spawn();
    logged(&host, OPENED, 1).await;
    // It stays there while it fails, and tries ever more rarely.
    logged(&host, TRIED, 3).await;
    // Of three failures in a row two may be charged: until the third it might have been those receipts.
    let cost = charged(&world).await;
    assert!(cost <= 2, "{cost} attempts charged");
    assert_eq!(world.count("receipt_queue_dlq").await, 0);
    let claimed = claims(&world).await;
    assert!(claimed < 40, "{claimed} claims");

    // The operator sees it from another machine, and a monitor by its metrics.
    let status = world.host().arg("status").run().await.ok();
    assert!(status.contains("claims nothing for now: the component fails on everything"), "{status}");
    assert!(status.contains("unreachable"), "{status}");
    let lines = world.host().args(["status", "--json"]).run().await.json_lines();
    let paused: Vec<&Value> = lines.iter().filter(|line| line["paused"].is_string()).collect();
    assert_eq!(paused.len(), 1, "{lines:?}");
    assert_eq!(paused[0]["component"], digest_of(&candidates::traps()));
    let metrics = admin(&world, &host, "/metrics").await;
    assert!(metrics.contains("receipt_worker_breaker_openings_total{breaker=\"component\"} 1"), "{metrics}");
    assert!(!metrics.contains("receipt_worker_breaker_state{breaker=\"component\"} 0"), "{metrics}");
    assert!(metrics.contains("receipt_worker_breaker_state{breaker=\"services\"} 0"), "{metrics}");
    let components: Value = serde_json::from_str(&admin(&world, &host, "/components").await).unwrap();
    assert_ne!(components["breakers"]["component"]["state"], "closed", "{components}");
    assert!(components["breakers"]["component"]["why"].as_str().unwrap().contains("unreachable"), "{components}");

    // Another one begins with a clean slate, and at once.
    component(&world, &candidates::honest(1));
    host.logged(CLOSED).await;
    eventually("all are done", async || {
        world
            .execute("UPDATE receipt_queue SET available_at = now() WHERE NOT processed AND lease_token IS NULL")
            .await;
        (world.count("receipts WHERE status::text = 'ocr_done'").await == 40).then_some(())
    })
    .await;
    world.assert_settled(40).await;
    let status = world.host().arg("status").run().await.ok();
    assert!(!status.contains("claims nothing"), "{status}");
    let metrics = admin(&world, &host, "/metrics").await;
    assert!(metrics.contains("receipt_worker_breaker_state{breaker=\"component\"} 0"), "{metrics}");
    host.stop().await.ok();
    let ledger = "SELECT string_agg(change, ' ' ORDER BY id) FROM receipt_component_changes
                  WHERE change IN ('paused', 'resumed')";
    assert_eq!(world.text(ledger, &[]).await, "paused resumed");
    assert!(world.textract.calls_by_image().values().all(|calls| *calls == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_never_takes_a_job_is_left_alone_and_a_drain_ends_it() {
    let world = world(&[]).await;
    world.receipts(20).await;
    let host = host(&world, &candidates::idles(), &[]).spawn();
    logged(&host, OPENED, 1).await;
    logged(&host, TRIED, 1).await;
    let finished = host.stop().await;
    assert!(finished.logged_with("breaker.opened", "it settles nothing"), "{}", finished.stderr);
    finished.ok();
    assert_eq!((charged(&world).await, world.textract.calls()), (0, 0));
    // Whatever was claimed went back.
    assert_eq!(world.count("receipt_queue WHERE attempts = 0 AND lease_token IS NULL AND NOT processed").await, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_closes_by_itself_when_one_receipt_goes_well() {
    let photos: Vec<Vec<u8>> = (0..4).map(|_| photo_bytes()).collect();
    let poisons: Vec<_> = photos.iter().map(|photo| ("POISON TRAP", photo.as_slice())).collect();
    let world = world(&poisons).await;
    for (number, photo) in photos.iter().enumerate() {
        let name = format!("poison-{number}.jpg");
        world.put(&name, photo.clone()).await;
        world.insert(&name).await;
    }
    // Nothing but poison: it cannot be told from a component that is broken.
    let mut host = host(&world, &candidates::poisoned(), &["--max-attempts", "2"]).spawn();
    logged(&host, OPENED, 1).await;
    world.receipts(10).await;
    host.logged(CLOSED).await;
    eventually("the good ones are done, and the bad ones dead", async || {
        world
            .execute(
                "UPDATE receipt_queue SET available_at = now()
                 WHERE NOT processed AND lease_token IS NULL AND available_at > now()",
            )
            .await;
        (world.count("receipts WHERE status::text = 'pending'").await == 0).then_some(())
    })
    .await;
    world.assert_settled(14).await;
    assert_eq!(world.count("receipt_queue_dlq WHERE attempts = 2 AND error_code = 'component.Trap'").await, 4);
    host.stop().await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_pass_gives_up_and_says_why() {
    let world = world(&[]).await;
    world.receipts(20).await;
    let host = host(&world, &candidates::traps(), &["--once", "--max-attempts", "1"]);
    let error = host.run().await.error();
    assert!(error.contains("the component fails on everything") && error.contains("unreachable"), "{error}");
    let dead = world.count("receipt_queue_dlq").await;
    assert!(dead <= 2, "{dead} dead");
    assert_eq!(world.count("receipt_queue WHERE attempts = 0 AND lease_token IS NULL").await, 20 - dead);
}
