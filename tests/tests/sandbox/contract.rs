//! Components of the present and of the former version of the contract, side by side in one host.

use host::sandbox::{Limits, Meter, Sandbox};
use tests::components::{component, replaced};

use crate::support::{Bench, RESPONSE};

/// What the database has of a receipt: vendor, total, currency, date.
async fn read(bench: &Bench, id: &str) -> Option<[Option<String>; 4]> {
    bench.done(id).await?;
    let query = "SELECT vendor_text, total_amount::text, currency, receipt_date::text FROM receipts WHERE id = $1";
    let row = bench.client.query_one(query, &[&id]).await.unwrap();
    Some([row.get(0), row.get(1), row.get(2), row.get(3)])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_of_the_former_contract_works_receipts() {
    let bench = Bench::new().await;
    bench.insert(&["former.1", "former.2"]).await;
    bench.pass(&component("contract_0_1"), Limits::default(), 1).await;
    let expected = ["FORMER", "6.35", "MYR", "2018-03-12"].map(|value| Some(value.to_owned()));
    for id in ["former.1", "former.2"] {
        assert_eq!(read(&bench, id).await.as_ref(), Some(&expected), "{id}: {:?}", bench.dead(id).await);
    }
}

/// For some days the receipt had its new fields and the contract its former version.
#[tokio::test(flavor = "multi_thread")]
async fn a_component_of_the_former_version_with_the_present_receipt_works_receipts() {
    let bench = Bench::new().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("between.wasm");
    let mut bytes = host::sandbox::EMBEDDED.to_vec();
    for interface in ["types", "objects", "queue", "textract", "worker", "parser", "policy"] {
        bytes = replaced(bytes, format!("receipts/{interface}@0.2.0"), format!("receipts/{interface}@0.1.0"));
    }
    std::fs::write(&path, bytes).unwrap();
    bench.insert(&["between.1"]).await;
    bench.pass(&path, Limits::default(), 1).await;
    // The page shows no price: it is no bill, and has no vendor.
    assert_eq!(read(&bench, "between.1").await, Some([None, None, None, None]), "{:?}", bench.dead("between.1").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pure_functions_of_both_versions_are_called() {
    let sandbox = Sandbox::new(Limits::default(), 1, None).unwrap();
    let meter = Meter::new(Limits::default(), None).unwrap();
    let former = std::fs::read(component("contract_0_1")).unwrap();
    for (bytes, version, vendor) in [(host::sandbox::EMBEDDED, "0.2.0", None), (&former, "0.1.0", Some("FORMER"))] {
        let program = sandbox.load_bytes(version, bytes).unwrap();
        assert_eq!(program.inspection.contract.as_deref(), Some(version));
        let receipt = sandbox.parse(&program, RESPONSE).await.unwrap().unwrap();
        assert_eq!(receipt.vendor.map(|field| field.value).as_deref(), vendor);

        let program = meter.load_bytes(version, bytes).unwrap();
        let failure = host::failure::Failure::new(host::failure::FailureKind::Internal, "test", "");
        let input = host::sandbox::PolicyInput { attempt: 1, max_attempts: 5, seed: 7 };
        meter.decide(&program, &failure, input, 10_000_000).await.result.unwrap();
    }
}
