//! `host run`: when it wakes, when it ends, and what it leaves behind.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use host::ocr::local::Fault;
use rustix::process::Signal;
use tests::{World, eventually};

const LISTENERS: &str = "pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'receipt-worker%' AND query ILIKE 'LISTEN%'";

/// Waits until a host listens, so that the next insert is announced to it.
async fn listening(world: &World) {
    eventually("a listener", async || (world.count(LISTENERS).await == 1).then_some(())).await;
}

/// Waits until Textract has been asked this often.
async fn asked(world: &World, requests: u64) {
    eventually("calls to Textract", async || (world.textract.requests() >= requests).then_some(())).await;
}

#[tokio::test]
async fn one_pass_ends_with_a_summary() {
    let world = World::new().await;
    world.receipts(5).await;
    world.insert("nowhere.jpg").await;
    let finished = world.run(&["--once"]).run().await;
    let lines = finished.json_lines();
    assert_eq!(lines.len(), 1, "{}", finished.stdout);
    let summary = &lines[0];
    for (field, expected) in
        [("processed", 5), ("retried", 0), ("dead", 1), ("lost", 0), ("released", 0), ("failed_runs", 0)]
    {
        assert_eq!(summary[field], expected, "{field}: {summary}");
    }
    assert!(summary["runs"].as_u64() >= Some(1) && summary["milliseconds"].is_u64(), "{summary}");
    assert_eq!(summary["component"].as_str().map(str::len), Some(64));
    world.assert_settled(6).await;
}

#[tokio::test]
async fn one_pass_over_nothing_ends_too() {
    let world = World::new().await;
    let summary = world.once().await;
    assert_eq!((&summary["processed"], &summary["runs"]), (&0.into(), &0.into()));
}

#[tokio::test]
async fn one_pass_leaves_what_is_not_due() {
    let world = World::new().await;
    world.receipt("later.jpg").await;
    world.execute("UPDATE receipt_queue SET available_at = now() + interval '1 hour'").await;
    assert_eq!(world.once().await["processed"], 0);
    assert_eq!(world.count("receipt_queue WHERE NOT processed AND claims = 0").await, 1);
}

#[tokio::test]
async fn two_hosts_share_the_work_and_do_none_of_it_twice() {
    let world = World::new().await;
    let receipts = world.receipts(40).await;
    let (one, two) = tokio::join!(world.run(&["--once"]).run(), world.run(&["--once"]).run());
    let (one, two) = (one.json(), two.json());
    assert_eq!(one["processed"].as_i64().unwrap() + two["processed"].as_i64().unwrap(), 40, "{one} {two}");
    let calls = world.textract.calls_by_image();
    assert!(receipts.iter().all(|(_, photo)| calls[&photo.digest] == 1));
    world.assert_settled(40).await;
}

#[tokio::test]
async fn a_notification_wakes_it_long_before_the_interval() {
    let world = World::new().await;
    let host = world.run(&["--every", "1h"]).spawn();
    listening(&world).await;
    for number in 0..3 {
        let (receipt, _) = world.receipt(&format!("{number}.jpg")).await;
        world.becomes(&receipt, "ocr_done").await;
    }
    host.stop().await.ok();
}

#[tokio::test]
async fn the_interval_finds_what_nothing_announced() {
    let world = World::new().await;
    let host = world.run(&["--every", "200ms", "--no-listen"]).spawn();
    let (receipt, _) = world.receipt("a.jpg").await;
    world.becomes(&receipt, "ocr_done").await;
    assert_eq!(world.count(LISTENERS).await, 0);
    host.stop().await.ok();
}

#[tokio::test]
async fn a_lost_listening_connection_is_made_anew() {
    let world = World::new().await;
    let mut host = world.run(&["--every", "1h"]).spawn();
    listening(&world).await;
    let terminate = format!("SELECT count(pg_terminate_backend(pid)) FROM {LISTENERS}");
    world.client.query_one(&terminate, &[]).await.unwrap();
    host.logged("listen.lost").await;
    // Inserted while nobody listens: the look after the reconnection finds it.
    let (missed, _) = world.receipt("missed.jpg").await;
    world.becomes(&missed, "ocr_done").await;
    listening(&world).await;
    let (announced, _) = world.receipt("announced.jpg").await;
    world.becomes(&announced, "ocr_done").await;
    host.stop().await.ok();
}

#[tokio::test]
async fn a_backlog_is_drained_without_waiting() {
    let world = World::new().await;
    world.receipts(60).await;
    // Each wake-up of this host is an hour apart, and a run takes two: only going on at once gets through.
    let host = world.run(&["--every", "1h", "--no-listen", "--concurrency", "2", "--batch-size", "2"]).spawn();
    eventually("the end of the backlog", async || {
        (world.count("receipts WHERE status = 'ocr_done'").await == 60).then_some(())
    })
    .await;
    host.stop().await.ok();
}

#[tokio::test]
async fn a_retry_is_worked_when_it_is_due_not_when_the_interval_is() {
    let world = World::new().await;
    // Charged: within five seconds.
    world.textract.faults().next(1, Fault::error("UnheardOfException", 400));
    let (receipt, _) = world.receipt("a.jpg").await;
    let host = world.run(&["--every", "1h", "--no-listen"]).spawn();
    world.becomes(&receipt, "ocr_done").await;
    assert_eq!(world.text("SELECT attempts::text FROM receipt_queue", &[]).await, "2");
    host.stop().await.ok();
}

#[tokio::test]
async fn a_job_that_falls_due_is_worked_without_a_notification() {
    let world = World::new().await;
    let (receipt, _) = world.receipt("a.jpg").await;
    world.execute("UPDATE receipt_queue SET available_at = now() + interval '1500 milliseconds'").await;
    let host = world.run(&["--every", "1h", "--no-listen"]).spawn();
    world.becomes(&receipt, "ocr_done").await;
    host.stop().await.ok();
}

#[tokio::test]
async fn what_a_long_transaction_commits_late_is_not_overlooked() {
    let world = World::new().await;
    world.photo("late.jpg").await;
    let slow = world.db.connect().await;
    slow.batch_execute("BEGIN; INSERT INTO receipts (image_url) VALUES ('late.jpg')").await.unwrap();
    // Others come and go meanwhile: the watermark is past the late one.
    let host = world.run(&["--every", "1h"]).spawn();
    listening(&world).await;
    for number in 0..3 {
        let (receipt, _) = world.receipt(&format!("{number}.jpg")).await;
        world.becomes(&receipt, "ocr_done").await;
    }
    slow.batch_execute("COMMIT").await.unwrap();
    eventually("the late one", async || (world.count("receipts WHERE status = 'ocr_done'").await == 4).then_some(()))
        .await;
    host.stop().await.ok();
}

#[tokio::test]
async fn sigterm_ends_what_was_begun_and_gives_back_the_rest() {
    let world = World::new().await;
    world.textract.faults().always(Fault::Delay(Duration::from_millis(700)));
    world.receipts(10).await;
    let host = world.run(&["--concurrency", "2", "--batch-size", "1"]).spawn();
    asked(&world, 2).await;
    let finished = host.stop().await;
    assert!(finished.logged("worker.draining"), "{}", finished.stderr);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let done = world.count("receipts WHERE status = 'ocr_done'").await;
    assert!((2..=4).contains(&done), "{done} were begun");
    // The rest is as it was before: uncharged, not leased, due.
    let rest = "receipt_queue WHERE NOT processed AND attempts = 0 AND lease_token IS NULL AND available_at <= now()";
    assert_eq!(world.count(rest).await, 10 - done);
    world.textract.faults().clear();
    world.once().await;
    world.assert_settled(10).await;
    assert_eq!(world.textract.calls(), 10);
}

#[tokio::test]
async fn sigterm_ends_a_run_between_its_jobs() {
    // A run that has taken ten jobs is not begun with nine of them.
    let world = World::new().await;
    world.textract.faults().always(Fault::Delay(Duration::from_millis(400)));
    world.receipts(10).await;
    let host = world.run(&["--concurrency", "1", "--batch-size", "10", "--drain-timeout", "2s"]).spawn();
    asked(&world, 1).await;
    host.stop().await.ok();
    let rest = world.count("receipt_queue WHERE NOT processed").await;
    let free = "receipt_queue WHERE NOT processed AND attempts = 0 AND lease_token IS NULL AND available_at <= now()";
    assert_eq!(world.count(free).await, rest);
    world.textract.faults().clear();
    world.once().await;
    world.assert_settled(10).await;
}

#[tokio::test]
async fn a_drain_that_takes_too_long_gives_back_what_it_holds() {
    let world = World::new().await;
    world.textract.faults().always(Fault::Delay(Duration::from_secs(3600)));
    world.receipts(3).await;
    let host =
        world.run(&["--concurrency", "3", "--batch-size", "1", "--drain-timeout", "300ms", "--lease", "1h"]).spawn();
    asked(&world, 3).await;
    let finished = host.stop().await;
    assert!(finished.logged("worker.drain_timed_out"), "{}", finished.stderr);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert_eq!(
        world.count("receipt_queue WHERE attempts = 0 AND lease_token IS NULL AND available_at <= now()").await,
        3
    );
    world.textract.faults().clear();
    world.once().await;
    world.assert_settled(3).await;
}

#[tokio::test]
async fn a_second_signal_stops_at_once_and_loses_nothing() {
    let world = World::new().await;
    world.textract.faults().always(Fault::Delay(Duration::from_secs(3600)));
    world.receipts(6).await;
    let mut host =
        world.run(&["--concurrency", "2", "--batch-size", "1", "--drain-timeout", "1h", "--lease", "1s"]).spawn();
    asked(&world, 2).await;
    host.signal(Signal::TERM);
    host.logged("worker.draining").await;
    // At the same moment it would be the same signal.
    tokio::time::sleep(Duration::from_millis(700)).await;
    host.signal(Signal::INT);
    let finished = host.wait().await;
    assert_eq!(finished.code, Some(143), "{}", finished.stderr);
    world.textract.faults().clear();
    let other = world.run(&["--every", "100ms", "--lease", "1s"]).spawn();
    eventually("all of them", async || (world.count("receipts WHERE status = 'ocr_done'").await == 6).then_some(()))
        .await;
    other.stop().await.ok();
    world.assert_settled(6).await;
}

#[tokio::test]
async fn a_signal_before_there_is_anything_to_do_ends_it() {
    let world = World::new().await;
    for signal in [Signal::TERM, Signal::INT] {
        let mut host = world.run(&[]).spawn();
        host.logged("worker.started").await;
        host.signal(signal);
        let finished = host.wait().await;
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        assert_eq!(finished.stdout, "");
    }
}

#[tokio::test]
async fn a_database_that_goes_away_and_comes_back_is_no_end() {
    let world = World::new().await;
    let host = world.run(&["--every", "100ms"]).spawn();
    let (before, _) = world.receipt("before.jpg").await;
    world.becomes(&before, "ocr_done").await;
    // No new connections, and the old ones cut.
    let admin = world.db.connect().await;
    let name: String = admin.query_one("SELECT current_database()::text", &[]).await.unwrap().get(0);
    admin.batch_execute(&format!("ALTER DATABASE {name} CONNECTION LIMIT 0")).await.unwrap();
    let (during, _) = world.receipt("during.jpg").await;
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name LIKE 'receipt-worker%'";
    world.client.query_one(cut, &[]).await.unwrap();
    admin.batch_execute(&format!("ALTER DATABASE {name} CONNECTION LIMIT -1")).await.unwrap();
    world.becomes(&during, "ocr_done").await;
    host.stop().await.ok();
    world.assert_settled(2).await;
}

#[tokio::test]
async fn compiled_components_are_kept_for_this_user_alone_and_used_again() {
    let world = World::new().await;
    let cache = world.dir().join("kept/compiled");
    let once = async || world.run(&["--once"]).env("WORKER_CACHE_DIR", &cache).run().await.ok();
    once().await;
    assert_eq!(std::fs::metadata(&cache).unwrap().permissions().mode() & 0o777, 0o700);
    let files = || compiled(&cache);
    let kept = files();
    assert_eq!(kept.len(), 1);
    // Each is written to a new file, and takes its place.
    let written = std::fs::metadata(&kept[0]).unwrap().ino();
    once().await;
    assert_eq!(files(), kept);
    assert_eq!(std::fs::metadata(&kept[0]).unwrap().ino(), written);
    // It is what is loaded: a file that is none is noticed, and made anew.
    std::fs::write(&kept[0], b"no machine code").unwrap();
    let finished = world.run(&["--once"]).env("WORKER_CACHE_DIR", &cache).run().await;
    assert!(finished.logged("compile_cache.unusable"), "{}", finished.stderr);
    finished.ok();
    assert!(std::fs::metadata(&kept[0]).unwrap().len() > 1000);
    // All that is kept is in that folder, and nothing beside it.
    assert_eq!(std::fs::read_dir(cache.parent().unwrap()).unwrap().count(), 1);
}

fn compiled(cache: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "cwasm")).collect()
}

/// Machine code that is not what it was would end every start by a signal.
#[tokio::test]
async fn a_compiled_component_that_a_crash_has_damaged_is_compiled_anew() {
    let world = World::new().await;
    let cache = world.dir().join("compiled");
    let once = async || world.run(&["--once"]).env("WORKER_CACHE_DIR", &cache).run().await;
    once().await.ok();
    let file = compiled(&cache).remove(0);
    let whole = std::fs::read(&file).unwrap();
    let middle = whole.len() / 2;
    let zeroed = |from: usize, to: usize| {
        let mut bytes = whole.clone();
        bytes[from..to].fill(0);
        bytes
    };
    for damaged in [
        zeroed(whole.len() / 8, whole.len() / 8 + 4096),
        zeroed(middle, whole.len()),
        zeroed(0, whole.len()),
        whole[..middle].to_vec(),
        Vec::new(),
    ] {
        std::fs::write(&file, damaged).unwrap();
        let (receipt, _) = world.receipt("a.jpg").await;
        let finished = once().await;
        assert!(finished.logged("compile_cache.unusable"), "{}", finished.stderr);
        finished.ok();
        assert_eq!(world.status_of(&receipt).await, "ocr_done");
        assert!(!once().await.logged("compile_cache.unusable"));
    }
}

#[tokio::test]
async fn a_cache_that_others_can_write_is_not_used() {
    let world = World::new().await;
    let cache = world.dir().join("open");
    std::fs::create_dir(&cache).unwrap();
    std::fs::set_permissions(&cache, std::fs::Permissions::from_mode(0o777)).unwrap();
    let finished = world.run(&["--once"]).env("WORKER_CACHE_DIR", &cache).run().await;
    assert!(finished.logged("compile_cache.off"), "{}", finished.stderr);
    finished.ok();
    assert_eq!(std::fs::read_dir(&cache).unwrap().count(), 0);
}

#[tokio::test]
async fn a_rate_limit_is_shared_by_all_instances() {
    let world = World::new().await;
    world.receipts(6).await;
    let started = std::time::Instant::now();
    world.run(&["--once", "--concurrency", "6", "--batch-size", "1", "--textract-tps", "5"]).run().await.ok();
    // Six calls, five a second: the last one cannot come before a second has passed, on any machine.
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(world.textract.calls(), 6);
    world.assert_settled(6).await;
}

#[tokio::test]
async fn environment_variables_do_what_the_flags_do() {
    let world = World::new().await;
    world.textract.faults().always(Fault::error("UnheardOfException", 400));
    // Two: a third would be an outage, which costs nobody an attempt.
    world.receipts(2).await;
    let host = world.run(&["--once"]).env("MAX_ATTEMPTS", "1").env("BATCH_SIZE", "1").env("WORKER_CONCURRENCY", "1");
    let summary = host.run().await.json();
    assert_eq!((&summary["dead"], &summary["runs"]), (&2.into(), &2.into()), "{summary}");
}
