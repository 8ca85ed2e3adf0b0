//! More photos than there is memory for.

use std::time::Duration;

use host::ocr::local::Fault;
use tests::{World, eventually};

const MIB: u64 = 1 << 20;

/// The highest resident memory of a process so far, in bytes.
fn peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

/// What a host needs that works this photo 64 times at a time while OCR is slow, beyond what it needs for tiny ones.
async fn costs(size: usize, budget: &str) -> u64 {
    let world = World::new().await;
    let receipts = 130;
    let mut peaks = Vec::new();
    for size in [100, size] {
        let mut photo = b"\xff\xd8\xff\xe0".to_vec();
        photo.resize(size, 7);
        world.put("photo.jpg", photo).await;
        world.textract.faults().always(Fault::Delay(Duration::from_millis(300)));
        let args = ["--admin", "off", "--concurrency", "64", "--batch-size", "1", "--image-memory", budget];
        let host = world.run(&args).spawn();
        for _ in 0..receipts {
            world.insert("photo.jpg").await;
        }
        eventually("all are done", async || {
            (world.count("receipts WHERE status::text = 'pending'").await == 0).then_some(())
        })
        .await;
        peaks.push(peak(host.pid()));
        host.stop().await.ok();
    }
    world.assert_settled(2 * receipts).await;
    assert_eq!(world.count("receipts WHERE status::text = 'ocr_done'").await, 2 * receipts);
    println!("{size} bytes, --image-memory {budget}: {} MiB, with tiny photos {} MiB", peaks[1] / MIB, peaks[0] / MIB);
    peaks[1].saturating_sub(peaks[0])
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn photos_of_10_mb_stay_within_their_budget() {
    let more = costs(10_000_000, "64MiB").await;
    assert!(more < 192 * MIB, "{} MiB", more / MIB);
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn photos_that_travel_in_requests_stay_within_their_budget() {
    let more = costs(5 << 20, "64MiB").await;
    assert!(more < 192 * MIB, "{} MiB", more / MIB);
}
