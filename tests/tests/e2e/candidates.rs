//! That the candidates are what they claim to be: a test about a bad one proves nothing when it is good, and the other
//! way round.

use std::collections::BTreeSet;
use std::time::Duration;

use host::sandbox::{Limits, Refusal, Sandbox, inspect};
use host::storage::digest_of;
use tests::{World, answer, candidates};

fn sandbox() -> Sandbox {
    let limits = Limits { deadline: Duration::from_secs(1), ..Limits::default() };
    Sandbox::new(limits, 1, None).unwrap()
}

async fn vendor(sandbox: &Sandbox, component: &[u8]) -> Result<String, String> {
    let program = sandbox.load_bytes("a candidate", component).unwrap();
    let json = String::from_utf8(answer("Blue Bottle Cafe", "4.50", "2024-03-15")).unwrap();
    let receipt = sandbox.parse(&program, &json).await.map_err(|error| error.to_string())?;
    Ok(receipt.unwrap().vendor.unwrap().value)
}

#[tokio::test(flavor = "multi_thread")]
async fn good_ones_read_and_bad_ones_fail_each_in_its_way() {
    let sandbox = sandbox();
    for good in [candidates::honest(0), candidates::rewritten(), candidates::slow(), candidates::traps_on_some()] {
        assert_eq!(vendor(&sandbox, &good).await.as_deref(), Ok("Blue Bottle Cafe"));
    }
    for (bad, says) in [
        (candidates::traps(), "unreachable"),
        (candidates::loops(), "--deadline"),
        (candidates::eats_memory(), "--max-memory"),
    ] {
        let error = vendor(&sandbox, &bad).await.unwrap_err();
        assert!(error.contains(says), "{says}: {error}");
    }
}

#[test]
fn others_are_refused_by_their_outside() {
    let refusal = |component: &[u8]| inspect(component).1.unwrap_err();
    assert_eq!(refusal(&candidates::wrong_version()), Refusal::ContractVersion { found: "0.3.0".to_owned() });
    assert!(
        matches!(refusal(&candidates::wants_sockets()), Refusal::ForbiddenImport(name) if name.contains("sockets"))
    );
    assert_eq!(refusal(&candidates::core_module()), Refusal::CoreModule);
    assert!(matches!(refusal(&candidates::truncated()), Refusal::Damaged(_)));
}

#[test]
fn no_two_have_the_same_digest() {
    let mut all: Vec<Vec<u8>> = (0..200).map(candidates::honest).collect();
    all.extend([host::sandbox::EMBEDDED.to_vec(), candidates::rewritten(), candidates::traps(), candidates::loops()]);
    all.extend([candidates::traps_on_some(), candidates::eats_memory(), candidates::slow()]);
    let digests: BTreeSet<String> = all.iter().map(|component| digest_of(component)).collect();
    assert_eq!(digests.len(), all.len());
    assert!(all.iter().all(|component| inspect(component).1.is_ok()));
}

/// A whole run in the real host, which is where jobs are at stake.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_traps_on_some_completes_the_others() {
    let world = World::new().await;
    // Two of twelve, so that the breaker stays closed in whatever order they come.
    for number in 0..12 {
        let key = format!("{number}.jpg");
        world.photo(&key).await;
        let last = if [3, 8].contains(&number) { 'b' } else { 'a' };
        let sql = format!(
            "INSERT INTO receipts (id, image_url) VALUES ('00000000-0000-4000-8000-0000000000{number:x}{last}', '{key}')"
        );
        world.execute(&sql).await;
    }
    let file = world.dir().join("some.wasm");
    std::fs::write(&file, candidates::traps_on_some()).unwrap();
    let summary = world.run(&["--once", "--max-attempts", "1", "--component"]).arg(&file).run().await.json();
    assert_eq!(summary["processed"], 10, "{summary}");
    assert_eq!(world.count("receipts WHERE status::text = 'ocr_done'").await, 10);
}
