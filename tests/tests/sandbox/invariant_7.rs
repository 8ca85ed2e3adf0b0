//! Invariant 7: a guest that traps, loops or eats memory loses its instance, charges only the job it was working on, and
//! takes no other job and no host with it.

use host::sandbox::Limits;
use tests::components::component;
use tests::has_event_with;

use crate::limits::{BAD, tight};
use crate::support::Bench;

const OK: [&str; 4] = ["ok.1", "ok.2", "ok.3", "ok.4"];

/// Everything that can go wrong, in one batch of one instance, with jobs between that go right.
#[tokio::test(flavor = "multi_thread")]
async fn invariant_7_only_the_job_that_is_worked_is_charged() {
    let bench = Bench::new().await;
    let bad: Vec<&str> = BAD.iter().map(|bad| bad.receipt).collect();
    let ids: Vec<&str> = bad.iter().copied().enumerate().flat_map(|(n, bad)| [OK[n % 4], bad]).collect();
    let ids: Vec<String> = ids.iter().enumerate().map(|(n, id)| format!("{id}.{n}")).collect();
    bench.insert(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await;

    let (counts, runs) = bench.pass(&component("misbehaves"), tight(), 1).await;
    for id in &ids {
        if id.starts_with("ok") {
            assert_eq!(bench.done(id).await, Some((1, Some("ok".to_owned()))), "{id}");
            continue;
        }
        let bad = BAD.iter().find(|bad| id.starts_with(bad.receipt)).unwrap();
        let dead = bench.dead(id).await.unwrap_or_else(|| panic!("{id} is no dead letter"));
        assert_eq!((&*dead.kind, &*dead.code, dead.attempts), (bad.kind, bad.code, 1), "{id}: {}", dead.message);
        assert!(dead.message.contains(bad.says), "{id}: {}", dead.message);
        assert_eq!(dead.notes.as_deref(), Some("max attempts exceeded"), "{id}");
    }
    let bad = BAD.len() as u64;
    assert_eq!((counts.processed, counts.dead, counts.retried, counts.lost), (bad, bad, 0, 0));
    assert_eq!(runs.failed, bad);
}

/// The same with the real binary: it goes on, ends well, and its log names each error.
#[tokio::test(flavor = "multi_thread")]
async fn invariant_7_the_host_is_unharmed() {
    let bench = Bench::new().await;
    // One that goes right between two that go wrong: otherwise the component would fail on everything.
    let ok: Vec<String> = (0..BAD.len()).map(|number| format!("ok.{number}")).collect();
    for (bad, ok) in BAD.iter().zip(&ok) {
        bench.insert(&[bad.receipt, ok]).await;
    }
    let component = component("misbehaves");
    let mut args = vec!["run", "--once", "--max-attempts", "1", "--component", component.to_str().unwrap()];
    args.extend(["--concurrency", "1"]);
    args.extend(["--deadline", "300ms", "--run-timeout", "2s", "--max-memory", "16MiB", "--max-handles", "50"]);
    args.extend(["--max-host-call", "1MiB"]);
    let ran = bench.host().args(args).run().await.unharmed();
    for bad in BAD {
        let named = ran.stderr.lines().any(|line| line.contains(bad.receipt) && line.contains(bad.says));
        assert!(named, "the log does not name {}:\n{}", bad.receipt, ran.stderr);
    }
    for id in &ok {
        assert_eq!(bench.done(id).await, Some((1, Some("ok".to_owned()))), "{id}");
    }
    let bad = BAD.len() as u64;
    assert_eq!((ran.count("processed"), ran.count("dead"), ran.count("lost")), (bad, bad, 0));
    assert_eq!(ran.count("failed_runs"), BAD.len() as u64);
}

/// It was not told which job it was: each is worked alone then, and only the one that is to blame is charged.
#[tokio::test(flavor = "multi_thread")]
async fn invariant_7_a_trap_between_jobs_charges_nobody_else() {
    let bench = Bench::new().await;
    let ids = ["ok.1", "trap-untouched.1", "ok.2", "settle-twice.1", "ok.3", "trap-untouched.2", "ok.4"];
    bench.insert(&ids).await;
    let (counts, _) = bench.pass(&component("misbehaves"), tight(), 1).await;
    for id in OK {
        assert_eq!(bench.done(id).await, Some((1, Some("ok".to_owned()))), "{id}");
    }
    for id in ["trap-untouched.1", "trap-untouched.2"] {
        let dead = bench.dead(id).await.unwrap_or_else(|| panic!("{id} is no dead letter"));
        assert_eq!((&*dead.code, dead.attempts), ("component.Trap", 1), "{id}");
    }
    // Its first settle counts; the second, with a handle that was taken away, is a trap and changes nothing.
    assert_eq!(bench.done("settle-twice.1").await, Some((1, Some("once".to_owned()))));
    assert_eq!((counts.processed, counts.dead, counts.lost), (5, 2, 0));
}

/// A trap after a settle is nobody's but the component's: the one job that is left is innocent.
#[tokio::test(flavor = "multi_thread")]
async fn invariant_7_a_trap_after_a_settle_does_not_charge_the_next_job() {
    let bench = Bench::new().await;
    bench.insert(&["settle-twice.1", "ok.1"]).await;
    bench.pass(&component("misbehaves"), tight(), 1).await;
    assert_eq!(bench.done("settle-twice.1").await, Some((1, Some("once".to_owned()))));
    assert_eq!(bench.done("ok.1").await, Some((1, Some("ok".to_owned()))));
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_7_a_trap_after_the_last_job_undoes_nothing() {
    let bench = Bench::new().await;
    bench.insert(&["ok.1", "trap-at-the-end.1", "ok.2"]).await;
    let (counts, runs) = bench.pass(&component("misbehaves"), tight(), 1).await;
    for id in ["ok.1", "ok.2", "trap-at-the-end.1"] {
        assert!(bench.done(id).await.is_some(), "{id}");
    }
    assert_eq!((counts.processed, runs.runs, runs.failed), (3, 1, 1));
}

/// A receipt on which an attempt failed gets its other attempts, with what the first one has paid for.
#[tokio::test(flavor = "multi_thread")]
async fn invariant_7_the_next_attempt_goes_on() {
    let bench = Bench::new().await;
    bench.insert(&["trap-once.1", "trap-after-store.1"]).await;
    for _ in 0..2 {
        bench.pass(&component("misbehaves"), tight(), 5).await;
        bench.client.execute("UPDATE receipt_queue SET available_at = now() WHERE NOT processed", &[]).await.unwrap();
    }
    assert_eq!(bench.done("trap-once.1").await, Some((2, Some("trap-once".to_owned()))));
    assert_eq!(bench.done("trap-after-store.1").await, Some((2, Some("trap-after-store".to_owned()))));
    assert_eq!(bench.textract.calls(), 2, "each is paid for once");
}

/// While one instance computes for ever the others work, and a drain gives its job back uncharged.
#[tokio::test(flavor = "multi_thread")]
async fn invariant_7_other_instances_go_on() {
    let bench = Bench::new().await;
    let component = component("misbehaves");
    let args = ["run", "--component", component.to_str().unwrap(), "--batch-size", "1", "--concurrency", "2"];
    let command = bench.host().args(args).args(["--deadline", "1h", "--drain-timeout", "200ms"]);
    bench.insert(&["loop.1"]).await;
    let host = command.spawn();
    bench.until("loop.1 is worked", "SELECT count(leased_by) = 1 FROM receipt_queue").await;
    bench.insert(&OK).await;
    bench
        .until("the others are done", "SELECT count(*) = 4 FROM receipts WHERE status = 'ocr_done' AND id LIKE 'ok%'")
        .await;
    let leased: i64 = bench
        .client
        .query_one("SELECT count(leased_by) FROM receipt_queue WHERE NOT processed", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(leased, 1, "loop.1 is still being worked");

    let log = host.stop().await.unharmed().stderr;
    assert_eq!(bench.waits("loop.1").await, Some((0, None)), "{log}");
}

/// Unsettled, whether dropped or kept: back in the queue, uncharged, with a word in the log; the neighbours are done.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_not_settled_goes_back_uncharged() {
    let bench = Bench::new().await;
    bench.insert(&["keep.1", "abandon.1", "ok.1", "keep.2"]).await;
    let component = component("misbehaves");
    let args = ["run", "--once", "--component", component.to_str().unwrap(), "--concurrency", "1"];
    let ran = bench.host().args(args).run().await.unharmed();
    assert_eq!(bench.done("ok.1").await, Some((1, Some("ok".to_owned()))));
    for id in ["keep.1", "abandon.1", "keep.2"] {
        assert_eq!(bench.waits(id).await, Some((0, None)), "{id}");
        let named = ran.logged_with("job.left_unsettled", id);
        assert!(named, "the log does not name {id}:\n{}", ran.stderr);
    }
    assert_eq!((ran.count("lost"), ran.count("dead"), ran.count("retried")), (0, 0, 0));
}

/// An error from `run` is a failed run, and nobody's attempt.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_from_run_gives_its_jobs_back() {
    let bench = Bench::new().await;
    bench.insert(&["ok.1", "error.1", "ok.2"]).await;
    let component = component("misbehaves");
    let args = ["run", "--once", "--component", component.to_str().unwrap(), "--concurrency", "2"];
    let ran = bench.host().args(args).run().await.unharmed();
    assert_eq!(bench.waits("error.1").await, Some((0, None)), "{}", ran.stderr);
    assert!(ran.stderr.contains("run gives up"), "{}", ran.stderr);
    assert!(ran.count("failed_runs") >= 1);
    assert!(bench.done("ok.1").await.is_some());
}

/// The component decides when to try again, the host how often.
#[tokio::test(flavor = "multi_thread")]
async fn retrying_for_ever_ends_at_the_hosts_limit() {
    let bench = Bench::new().await;
    bench.insert(&["retry.1", "ok.1"]).await;
    let component = component("misbehaves");
    let host = bench.run(&["--max-attempts", "3", "--component"]).arg(&component).spawn();
    bench.until("retry.1 is dead", "SELECT count(*) = 1 FROM receipt_queue_dlq").await;
    bench.until("ok.1 is done", "SELECT count(*) = 1 FROM receipts WHERE status = 'ocr_done'").await;
    let dead = bench.dead("retry.1").await.unwrap();
    assert_eq!((&*dead.kind, &*dead.code, dead.attempts), ("internal", "test.Ordered", 3));
    assert_eq!(dead.notes.as_deref(), Some("max attempts exceeded"));
    let log = host.stop().await.unharmed().stderr;
    assert!(has_event_with(&log, "worker.stopped", "processed=1 retried=2 dead=1"), "{log}");
}

/// A retry at no cost costs nothing, and no job is put away for longer than a day.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_cannot_be_put_away_for_ever() {
    let bench = Bench::new().await;
    bench.insert(&["retry-free.1"]).await;
    bench.pass(&component("misbehaves"), Limits::default(), 1).await;
    let (attempts, error) = bench.waits("retry-free.1").await.unwrap();
    assert_eq!((attempts, error), (0, Some(("internal".to_owned(), "again, at no cost".to_owned()))));
    let days = "SELECT available_at BETWEEN now() AND now() + interval '1 day' FROM receipt_queue";
    assert!(bench.client.query_one(days, &[]).await.unwrap().get::<_, bool>(0));
}

/// A component that dies before it takes a job charges no job, and is no busy loop.
#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_never_takes_a_job_charges_nobody() {
    let bench = Bench::new().await;
    // Two: with a third failure in a row the pass would be given up.
    bench.insert(&["ok.1", "ok.2"]).await;
    for name in ["traps_before_claiming", "traps_on_start"] {
        let ran = bench.run(&["--once", "--component", component(name).to_str().unwrap()]).run().await.unharmed();
        assert!(ran.logged_with("component.failed_without_job", "unreachable"), "{name}: {}", ran.stderr);
        assert!((1..=2).contains(&ran.count("failed_runs")), "{name}: {}", ran.stdout);
        for id in ["ok.1", "ok.2"] {
            assert_eq!(bench.waits(id).await, Some((0, None)), "{name} {id}");
        }
        bench.client.execute("UPDATE receipt_queue SET available_at = now()", &[]).await.unwrap();
    }
    let ran = bench.run(&["--once", "--component", component("misbehaves").to_str().unwrap()]).run().await.unharmed();
    assert_eq!(ran.count("processed"), 2);
}
