//! How a component's file comes to be, and who may write it.

use std::fs::OpenOptions;
use std::io::{Cursor, Write};
use std::time::Duration;

use minisign::KeyPair;
use tests::{candidates, events};

use super::{Bench, said, switched, was_at};

/// Longer than the host waits for a file to be quiet.
const PAUSE: Duration = Duration::from_millis(400);

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_written_slowly_is_taken_whole_or_not_at_all() {
    let bench = Bench::new().await;
    let mut host = bench.start(&["--probation", "0"]).await;
    let new = candidates::honest(1);
    let mut file = OpenOptions::new().write(true).truncate(true).open(&bench.file).unwrap();
    for part in new.chunks(new.len() / 4 + 1) {
        file.write_all(part).unwrap();
        bench.receipts(1).await;
        tokio::time::sleep(PAUSE).await;
    }
    switched(&mut host, &new).await;
    let receipts = bench.world.count("receipts").await;

    // One that stays half written is refused in the end, and never works.
    let half = candidates::truncated();
    std::fs::write(&bench.file, &half).unwrap();
    said(&mut host, &half, "swap.refused", "it is cut off").await;
    bench.receipts(2).await;
    bench.assert_all_done(receipts + 2, 1).await;
    let log = host.stop().await.stderr;
    assert_eq!(events(&log, "swap.switched").len(), 1, "{log}");
    // Nothing in between was so much as offered.
    let passed = events(&log, "swap.stage_passed");
    let offered: Vec<_> = passed.iter().filter(|line| line.contains("stage=read")).collect();
    assert_eq!(offered.len(), 2, "{offered:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_a_trusted_key_signed_comes_to_the_compiler() {
    let bench = Bench::new().await;
    let (mine, other) =
        (KeyPair::generate_unencrypted_keypair().unwrap(), KeyPair::generate_unencrypted_keypair().unwrap());
    let sign = |pair: &KeyPair, bytes: &[u8]| {
        minisign::sign(None, &pair.sk, Cursor::new(bytes), None, None).unwrap().into_string()
    };
    let signature = bench.file.with_file_name("worker.wasm.minisig");
    std::fs::write(&signature, sign(&mine, &candidates::honest(0))).unwrap();
    let mut host = bench.start(&["--trusted-key", &mine.pk.to_base64(), "--probation", "0"]).await;

    let (unsigned, wrong) = (candidates::honest(1), candidates::honest(2));
    std::fs::remove_file(&signature).unwrap();
    bench.offer(&mut host, &unsigned, "swap.refused", "it has no signature beside it").await;
    std::fs::write(&signature, sign(&other, &wrong)).unwrap();
    bench.offer(&mut host, &wrong, "swap.refused", "it is signed by another key").await;
    bench.receipts(3).await;
    bench.assert_all_done(3, 1).await;
    assert_eq!(bench.done_by(&candidates::honest(0)).await, 3);
    for refused in [&unsigned, &wrong] {
        assert!(bench.becomes("refused", refused).await.starts_with("trust: "));
        for stage in ["contract", "compile", "gate", "switch"] {
            assert!(!was_at(&host.log(), refused, stage), "{}", host.log());
        }
    }
    // The right signature, later than the component.
    std::fs::write(&signature, sign(&mine, &wrong)).unwrap();
    switched(&mut host, &wrong).await;
    host.stop().await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_pinned_component_comes_to_the_compiler() {
    let bench = Bench::new().await;
    let pins = [0, 1].map(|number| host::storage::digest_of(&candidates::honest(number))).join(",");
    let mut host = bench.start(&["--component-sha256", &pins]).await;
    bench.offer(&mut host, &candidates::honest(2), "swap.refused", "its digest is not pinned").await;
    assert!(!was_at(&host.log(), &candidates::honest(2), "compile"), "{}", host.log());
    bench.take_over(&mut host, &candidates::honest(1)).await;
    host.stop().await.ok();

    // A host does not start with one either.
    bench.replace(&candidates::honest(2));
    let error = bench.command(&["--component-sha256", &pins]).run().await.error();
    assert!(error.contains("worker.wasm is refused") && error.contains("not pinned"), "{error}");
}
