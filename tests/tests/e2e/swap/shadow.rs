//! A component in the shadow of the one that works.

use serde_json::Value;
use tests::{candidates, eventually};

use super::Bench;

#[tokio::test(flavor = "multi_thread")]
async fn it_is_counted_and_decides_nothing() {
    let bench = Bench::new().await;
    let shadow = bench.world.dir().join("shadow.wasm");
    std::fs::write(&shadow, candidates::loses_total()).unwrap();
    let host = bench.start(&["--shadow", shadow.to_str().unwrap()]).await;
    bench.receipts(6).await;
    bench.assert_all_done(6, 1).await;
    assert_eq!(bench.done_by(&candidates::honest(0)).await, 6);
    assert_eq!(bench.world.count("receipts WHERE total_amount = 4.50").await, 6);
    let ask = async || -> Value {
        let command = bench.at(bench.world.host()).env("WORKER_ADMIN", host.admin()).args(["shadow", "--json"]);
        command.run().await.json()
    };
    let report = eventually("all six are compared", async || {
        let report = ask().await;
        (report["compared"] == 6).then_some(report)
    })
    .await;
    assert_eq!((&report["same"], &report["fields"]["total"]["lost"]), (&0.into(), &6.into()), "{report}");
    assert_eq!(report["fields"]["vendor"], Value::Null, "{report}");
    host.stop().await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_fails_costs_nothing() {
    let bench = Bench::new().await;
    let shadow = bench.world.dir().join("shadow.wasm");
    std::fs::write(&shadow, candidates::traps()).unwrap();
    let host = bench.start(&["--shadow", shadow.to_str().unwrap()]).await;
    bench.receipts(4).await;
    bench.assert_all_done(4, 1).await;
    eventually("four errors", async || {
        let command = bench.at(bench.world.host()).env("WORKER_ADMIN", host.admin()).args(["shadow", "--json"]);
        (command.run().await.json()["errors"] == 4).then_some(())
    })
    .await;
    host.stop().await.ok();
}
