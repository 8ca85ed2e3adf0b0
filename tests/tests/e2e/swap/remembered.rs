//! What was rolled back is remembered: by the host, by its next start, and by all hosts of the database.

use rustix::process::Signal;
use serde_json::Value;
use tests::{HostCommand, Running, candidates, events, eventually, has_event, has_event_with};

use host::storage::digest_of;

use super::{Bench, said, short, verdict};

const REPORT: [&str; 4] = ["--gate-policy", "report", "--probation", "10"];

/// A host whose component was rolled back, and is in the file still.
async fn rolled_back(bench: &Bench) -> Running {
    let mut host = bench.start(&REPORT).await;
    bench.receipts(2).await;
    bench.settled().await;
    bench.take_over(&mut host, &candidates::traps()).await;
    bench.receipts(10).await;
    said(&mut host, &candidates::traps(), "swap.rolled_back", "").await;
    bench.assert_all_done(12, 1).await;
    host
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_component_is_refused_until_somebody_allows_it() {
    let (bench, bad) = (Bench::new().await, candidates::traps());
    let host = rolled_back(&bench).await;
    let finished = bench.swap(&host, "again.wasm", &bad).run().await;
    assert_eq!(finished.code, Some(1));
    let refused = verdict(&finished);
    assert_eq!(
        (&refused["outcome"], &refused["stage"]),
        (&Value::from("refused"), &Value::from("digest")),
        "{refused}"
    );
    assert!(refused["reason"].as_str().unwrap().contains("it was rolled back at"), "{refused}");
    // By the file as well, when somebody asks for another look.
    host.signal(Signal::HUP);
    eventually("it is refused again", async || {
        let log = host.log();
        let refused = events(&log, "swap.refused");
        (refused.iter().filter(|line| line.contains("stage=digest")).count() >= 2).then_some(())
    })
    .await;

    // A second host on the same database, which never saw it.
    let other = bench.world.dir().join("other.wasm");
    std::fs::write(&other, candidates::honest(0)).unwrap();
    let mut second = bench.at(bench.world.run(&REPORT)).arg("--component").arg(&other).spawn();
    second.logged("worker.started").await;
    let finished = bench.swap(&second, "elsewhere.wasm", &bad).run().await;
    assert_eq!((finished.code, &verdict(&finished)["stage"]), (Some(1), &Value::from("digest")));
    second.stop().await.ok();

    let components = || HostCommand::bare().env("DATABASE_URL", bench.world.db.url()).arg("components");
    let story = components().run().await.ok();
    for part in ["started", "switched", "rolled-back", "refused", "traps and limits"] {
        assert!(story.contains(part), "{part}:\n{story}");
    }
    components().args(["allow", &digest_of(&bad)]).run().await.ok();
    host.signal(Signal::HUP);
    eventually("it is let in once more", async || (events(&host.log(), "swap.switched").len() == 2).then_some(()))
        .await;
    host.stop().await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_finds_it_at_its_start_begins_with_the_one_before() {
    let bench = Bench::new().await;
    rolled_back(&bench).await.stop().await.ok();
    let mut host = bench.start(&REPORT).await;
    assert!(has_event(&host.log(), "swap.start_refused"), "{}", host.log());
    bench.receipts(3).await;
    bench.assert_all_done(15, 1).await;
    assert_eq!(bench.done_by(&candidates::honest(0)).await, 15);
    // It watches the file still.
    bench.take_over(&mut host, &candidates::honest(1)).await;
    host.stop().await.ok();

    // Another machine has nothing to begin with.
    bench.replace(&candidates::traps());
    let error =
        bench.command(&REPORT).env("WORKER_CACHE_DIR", bench.world.dir().join("elsewhere/c")).run().await.error();
    assert!(error.contains("is refused: it was rolled back") && error.contains("host components allow"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_on_probation_is_no_measure_for_the_next() {
    let bench = Bench::new().await;
    let args = ["--gate-policy", "report", "--probation", "20", "--probation-margin", "0.3"];
    let mut host = bench.start(&args).await;
    bench.receipts(8).await;
    bench.settled().await;
    // Too few jobs for a verdict, all of them bad.
    let first = candidates::numbered(candidates::gives_up(), 1);
    bench.take_over(&mut host, &first).await;
    bench.receipts(2).await;
    eventually("two were given up", async || (bench.world.count("receipt_queue_dlq").await == 2).then_some(())).await;
    bench.take_over(&mut host, &candidates::gives_up()).await;
    bench.receipts(12).await;
    said(&mut host, &candidates::gives_up(), "swap.rolled_back", "").await;
    let back_to = format!("back_to=\"{}\"", short(&candidates::honest(0)));
    assert!(has_event_with(&host.log(), "swap.rolled_back", &back_to), "{}", host.log());
    // Also what the first one gave up, of which nothing was proved either way.
    eventually("all are done", async || {
        (bench.world.count("receipts WHERE status::text = 'ocr_done'").await == 22).then_some(())
    })
    .await;
    bench.assert_all_done(22, 1).await;
    host.stop().await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_confirmed_one_is_let_in_again_without_a_gate() {
    let bench = Bench::new().await;
    let mut host = bench.start(&["--gate-policy", "report", "--probation", "50"]).await;
    bench.take_over(&mut host, &candidates::shouts()).await;
    bench.receipts(3).await;
    bench.settled().await;
    let back = verdict(&bench.swap(&host, "back.wasm", &candidates::honest(0)).run().await);
    assert_eq!(
        (&back["outcome"], &back["reason"]),
        (&Value::from("switched"), &Value::from("it was confirmed before"))
    );
    bench.receipts(3).await;
    bench.assert_all_done(6, 1).await;
    assert_eq!(bench.done_by(&candidates::honest(0)).await, 3);
    host.stop().await.ok();
}
