//! Many swaps under load. What they cost in memory is measured by `make load`.

use std::time::Duration;

use host::storage::digest_of;
use tests::candidates;

use super::{Bench, switched};

/// Each is compiled in a debug build, which is what takes the time. `SWAPS=200` takes some minutes.
fn swaps() -> u32 {
    std::env::var("SWAPS").ok().and_then(|swaps| swaps.parse().ok()).unwrap_or(8)
}

#[tokio::test(flavor = "multi_thread")]
async fn many_swaps_lose_nothing_and_repeat_nothing() {
    let swaps = swaps();
    let bench = Bench::new().await;
    let mut host = bench.start(&["--probation", "3", "--batch-size", "3"]).await;
    let mut receipts = 0;
    for number in 1..=swaps {
        let next = candidates::honest(number);
        bench.replace(&next);
        // Work goes on while it is compared, and while it takes over.
        for _ in 0..6 {
            bench.receipts(1).await;
            receipts += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        switched(&mut host, &next).await;
    }
    bench.assert_all_done(receipts, 1).await;
    assert_eq!(bench.world.textract.calls(), u64::try_from(receipts).unwrap());
    let (last, _) = bench.world.receipt("last.jpg").await;
    bench.world.becomes(&last, "ocr_done").await;
    let decided = bench.world.text("SELECT ocr_component FROM receipts WHERE id::text = $1", &[&last]).await;
    assert_eq!(decided, digest_of(&candidates::honest(swaps)));
    let finished = host.stop().await;
    assert!(!finished.logged("swap.refused") && !finished.logged("swap.rolled_back"), "{}", finished.stderr);
    finished.ok();
}
