//! Nobody waits for whoever reads the log: not the work, not a signal, not the end of a verb.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::{Output, Stdio};
use std::time::Duration;

use host::ocr::local::Fault;
use rustix::process::{Pid, Signal, kill_process};
use tests::{HostCommand, PATIENCE, World, eventually};
use tokio::process::{Child, Command};

fn full_disk() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(child.id().unwrap().cast_signed()).unwrap(), signal).unwrap();
}

async fn code(mut child: Child) -> Option<i32> {
    tokio::time::timeout(PATIENCE, child.wait()).await.expect("it does not end").unwrap().code()
}

/// A worker that says all that it can, to a pipe that is held here and read by nobody.
fn unread(world: &World, args: &[&str], admin: u16) -> (Child, OwnedFd) {
    let host = world.run(args).env("WORKER_LOG", "trace").env("WORKER_ADMIN", format!("127.0.0.1:{admin}"));
    let mut child = host.into_inner().spawn().unwrap();
    let stderr = child.stderr.take().unwrap().into_owned_fd().unwrap();
    (child, stderr)
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits until the pipe takes no more. How many bytes that are depends on how they were written.
async fn full(stderr: &OwnedFd) {
    let waiting = || rustix::io::ioctl_fionread(stderr).unwrap();
    eventually("a full pipe", async || {
        let before = waiting();
        tokio::time::sleep(Duration::from_secs(1)).await;
        (before > 30_000 && waiting() == before).then_some(())
    })
    .await;
}

/// What tokio's `output` would do with other pipes than its own.
async fn output(command: &mut Command) -> Output {
    command.spawn().unwrap().wait_with_output().await.unwrap()
}

async fn all_done(world: &World, receipts: i64) {
    eventually("all receipts", async || {
        (world.count("receipts WHERE status = 'ocr_done'").await == receipts).then_some(())
    })
    .await;
}

async fn lines_dropped(admin: u16) -> u64 {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", admin)).await.unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:{admin}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let line = answer.lines().find_map(|line| line.strip_prefix("receipt_worker_log_lines_dropped_total "));
    line.unwrap_or_else(|| panic!("{answer}")).parse().unwrap()
}

#[tokio::test]
async fn a_log_on_a_full_disk_stops_nothing() {
    let world = World::new().await;
    world.receipts(5).await;
    let output = output(world.run(&["--once"]).into_inner().stderr(full_disk())).await;
    assert_eq!(output.status.code(), Some(0));
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["processed"], 5, "{summary}");
    world.assert_settled(5).await;
}

#[tokio::test]
async fn a_reader_of_the_log_that_dies_stops_nothing_and_what_is_lost_is_counted() {
    let world = World::new().await;
    let admin = free_port();
    let (child, stderr) = unread(&world, &["--every", "200ms"], admin);
    world.receipts(3).await;
    all_done(&world, 3).await;
    drop(stderr);
    world.receipts_from(3, 5).await;
    all_done(&world, 8).await;
    eventually("a count", async || (lines_dropped(admin).await > 0).then_some(())).await;
    signal(&child, Signal::TERM);
    assert_eq!(code(child).await, Some(0));
    world.assert_settled(8).await;
    assert_eq!(world.textract.calls(), 8);
}

#[tokio::test]
async fn a_reader_of_the_log_that_stops_reading_stops_no_work_and_no_drain() {
    let world = World::new().await;
    let (child, stderr) = unread(&world, &["--concurrency", "2", "--batch-size", "1", "--every", "200ms"], free_port());
    world.receipts(20).await;
    all_done(&world, 20).await;
    full(&stderr).await;
    // Work that begins when nothing can be said any more.
    world.textract.faults().always(Fault::Delay(Duration::from_millis(500)));
    let before = world.textract.requests();
    world.receipts_from(20, 8).await;
    eventually("calls", async || (world.textract.requests() >= before + 2).then_some(())).await;
    signal(&child, Signal::TERM);
    assert_eq!(code(child).await, Some(0));
    let done = world.count("receipts WHERE status = 'ocr_done'").await;
    assert!((22..28).contains(&done), "{done}");
    let rest = "receipt_queue WHERE NOT processed AND attempts = 0 AND lease_token IS NULL AND available_at <= now()";
    assert_eq!(world.count(rest).await, 28 - done);
}

#[tokio::test]
async fn a_second_signal_stops_at_once_though_nobody_reads_the_log() {
    let world = World::new().await;
    let (child, stderr) = unread(&world, &["--drain-timeout", "1h", "--every", "200ms"], free_port());
    world.receipts(20).await;
    all_done(&world, 20).await;
    full(&stderr).await;
    world.textract.faults().always(Fault::Delay(Duration::from_secs(3600)));
    let before = world.textract.requests();
    world.receipts_from(20, 1).await;
    eventually("a call", async || (world.textract.requests() > before).then_some(())).await;
    signal(&child, Signal::TERM);
    tokio::time::sleep(Duration::from_secs(1)).await;
    signal(&child, Signal::TERM);
    assert_eq!(code(child).await, Some(143));
}

/// What a verb cannot say does not change how it ends, and data that cannot be written is an error.
#[tokio::test]
async fn full_disks_under_stdout_and_stderr_are_met_by_every_verb() {
    let world = World::new().await;
    world.receipt("a.jpg").await;
    world.once().await;
    let wasm = world.dir().join("worker.wasm");
    std::fs::write(&wasm, host::sandbox::EMBEDDED).unwrap();
    let answer = world.dir().join("answer.json");
    std::fs::write(&answer, tests::answer("Corner Shop", "1.25", "2024-05-06")).unwrap();
    let (wasm, answer) = (wasm.to_str().unwrap(), answer.to_str().unwrap());
    for args in [
        &["--help"][..],
        &["--version"],
        &["run", "--help"],
        &["run", "--once"],
        &["status"],
        &["status", "--json"],
        &["dlq", "list"],
        &["components"],
        &["prune", "--dry-run"],
        &["rights"],
        &["doctor"],
        &["inspect", wasm],
        &["parse", answer],
        &["completions", "bash"],
    ] {
        let host = || HostCommand::into_inner(world.host().args(args));
        let (mut usual, mut quiet, mut unwritten, mut neither) = (host(), host(), host(), host());
        let (usual, quiet, unwritten, neither) = tokio::join!(
            output(&mut usual),
            output(quiet.stderr(full_disk())),
            output(unwritten.stdout(full_disk())),
            output(neither.stdout(full_disk()).stderr(full_disk())),
        );
        assert_eq!(quiet.status.code(), usual.status.code(), "{args:?} without stderr");
        let said = String::from_utf8(unwritten.stderr).unwrap();
        assert_eq!(unwritten.status.code(), Some(1), "{args:?} {said}");
        assert!(said.lines().any(|line| line.starts_with("error: cannot write to stdout: No space left")), "{said}");
        assert_eq!(neither.status.code(), Some(1), "{args:?} without both");
    }
    for args in
        [&["nonsense"][..], &["run", "--lease", "x"], &["migrate", "--database-url", "x"], &["dlq", "show", "x"]]
    {
        let usual = world.host().args(args).run().await;
        let quiet = world.host().args(args).into_inner().stderr(full_disk()).status().await.unwrap();
        assert!(quiet.code() == usual.code && quiet.code() > Some(0), "{args:?} {:?} {quiet:?}", usual.code);
    }
}
