//! Many swaps under load.

use std::time::Duration;

use host::storage::digest_of;
use tests::candidates;

use super::{Bench, said};

/// Swaps, of which the first quarter is for everything to reach its size. `SWAPS=200` is the whole test; it takes some
/// minutes in a debug build, and the default has the same shape: fifteen after the first quarter tell a leak from an accident.
fn swaps() -> u32 {
    std::env::var("SWAPS").ok().and_then(|swaps| swaps.parse().ok()).unwrap_or(20)
}

/// What resident memory may differ by between two moments: the allocator's, the pages of files, a compilation's leftovers.
/// One component that is not let go costs some
/// 4 MiB, measured by keeping each: 60 MiB more after 15 swaps.
const ALLOWANCE_KIB: u64 = 48 << 10;

#[tokio::test(flavor = "multi_thread")]
async fn many_swaps_lose_nothing_repeat_nothing_and_keep_no_memory() {
    let swaps = swaps();
    let bench = Bench::new().await;
    // glibc keeps what each thread compiled with in an arena of that thread; with as many as there are cores times eight, how
    // much lies in them is a matter of luck.
    let command = bench.command(&["--probation", "3", "--batch-size", "3"]).env("MALLOC_ARENA_MAX", "2");
    let mut host = command.spawn();
    host.logged("admin endpoint").await;
    let mut receipts = 0;
    let mut early = 0;
    for number in 1..=swaps {
        let next = candidates::honest(number);
        bench.replace(&next);
        // Work goes on while it is compared, and while it takes over.
        for _ in 0..6 {
            bench.receipts(1).await;
            receipts += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        said(&mut host, &next, "switch: ").await;
        if number == swaps / 4 {
            early = resident(host.pid());
        }
    }
    bench.assert_all_done(receipts, 1).await;
    let late = resident(host.pid());
    eprintln!("{swaps} swaps: {early} KiB after a quarter, {late} KiB at the end");
    assert!(late <= early + ALLOWANCE_KIB, "{early} KiB after {} swaps, {late} KiB after {swaps}", swaps / 4);
    assert_eq!(bench.world.textract.calls(), u64::try_from(receipts).unwrap());
    let (last, _) = bench.world.receipt("last.jpg").await;
    bench.world.becomes(&last, "ocr_done").await;
    let decided = bench.world.text("SELECT ocr_component FROM receipts WHERE id::text = $1", &[&last]).await;
    assert_eq!(decided, digest_of(&candidates::honest(swaps)));
    let finished = host.stop().await;
    assert!(!finished.stderr.contains("refused") && !finished.stderr.contains("rolled back"), "{}", finished.stderr);
    finished.ok();
}

/// Memory that the process has, in KiB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
