//! The ledger of components that all hosts share.

use host::queue::Database;
use host::queue::components::{self, Change, LedgerEntry};
use tests::{World, eventually};

use crate::components::digest;
use crate::pump::{self, HOUR};

fn entry(worker: &str, change: Change, digest: &str, previous: Option<&str>) -> LedgerEntry {
    LedgerEntry {
        worker: worker.to_owned(),
        change,
        digest: digest.to_owned(),
        previous: previous.map(str::to_owned),
        reason: Some("as a test ordered".to_owned()),
        source: Some("file.wasm".to_owned()),
    }
}

#[tokio::test]
async fn a_digest_is_distrusted_from_its_roll_back_until_it_is_allowed() {
    let world = World::new().await;
    let (good, bad) = (digest('a'), digest('b'));
    let record = async |change, digest: &str, previous| {
        components::record(&world.client, &entry("w1", change, digest, previous)).await.unwrap();
    };
    record(Change::Started, &good, None).await;
    record(Change::Confirmed, &good, None).await;
    record(Change::Switched, &bad, Some(&good)).await;
    record(Change::Confirmed, &bad, Some(&good)).await;
    assert_eq!(components::last_confirmed(&world.client).await.unwrap(), Some(bad.clone()));
    assert_eq!(components::distrusted(&world.client, &bad).await.unwrap(), None);
    record(Change::RolledBack, &bad, Some(&good)).await;
    let distrust = components::distrusted(&world.client, &bad).await.unwrap().unwrap();
    assert_eq!((distrust.worker.as_str(), distrust.reason.as_deref()), ("w1", Some("as a test ordered")));
    assert!(components::distrusted(&world.client, &good).await.unwrap().is_none());
    assert_eq!(components::last_confirmed(&world.client).await.unwrap(), Some(good.clone()));

    let allow = async |digest: &str| world.host().args(["components", "allow", digest]).run().await;
    assert!(allow("cccccccc").await.error().contains("no component whose digest begins with cccccccc"));
    assert_eq!(allow("bbb").await.code, Some(2));
    // Nothing to allow, and nothing written.
    assert_eq!(allow(&good).await.ok(), "");
    assert_eq!(world.count("receipt_component_changes WHERE change = 'allowed'").await, 0);
    assert_eq!(allow("BBBBBBBB").await.ok().trim(), bad);
    assert!(components::distrusted(&world.client, &bad).await.unwrap().is_none());
    // Another digest with the same beginning: neither is meant.
    let other = format!("{}c", &bad[..63]);
    record(Change::RolledBack, &other, Some(&good)).await;
    assert!(allow("bbbbbbbbbbbb").await.error().contains("more than one"));
    assert!(components::distrusted(&world.client, &other).await.unwrap().is_some());
    record(Change::RolledBack, &bad, Some(&good)).await;
    assert!(components::distrusted(&world.client, &bad).await.unwrap().is_some());
}

#[tokio::test]
async fn what_runs_is_told_of_workers_that_are_there() {
    let world = World::new().await;
    let (good, bad) = (digest('a'), digest('b'));
    let pump = pump::start(&world).await;
    let record = async |worker: &str, change, digest: &str, previous| {
        components::record(&world.client, &entry(worker, change, digest, previous)).await.unwrap();
    };
    let running = async || -> Vec<String> {
        let lines = world.host().args(["components", "--json"]).run().await.json_lines();
        let running = lines.into_iter().filter(|line| line["what"] == "running");
        running.map(|line| format!("{} {} {}", line["worker"], line["digest"], line["change"])).collect()
    };
    record("ghost", Change::Started, &bad, None).await;
    assert!(running().await.is_empty(), "nobody with that name has a session");
    record(pump.worker(), Change::Started, &good, None).await;
    record(pump.worker(), Change::Switched, &bad, Some(&good)).await;
    record(pump.worker(), Change::Refused, &digest('c'), Some(&bad)).await;
    assert_eq!(running().await, [format!("{:?} {bad:?} \"switched\"", pump.worker())]);
    record(pump.worker(), Change::RolledBack, &bad, Some(&good)).await;
    assert_eq!(running().await, [format!("{:?} {good:?} \"rolled-back\"", pump.worker())]);
    let shown = world.host().arg("components").run().await.ok();
    for text in ["rolled-back", "as a test ordered", "file.wasm", "aaaaaaaaaaaa", "ghost", "refused"] {
        assert!(shown.contains(text), "no {text:?} in\n{shown}");
    }
    let history = world.host().args(["components", "--json", "--limit", "2"]).run().await.json_lines();
    let changes: Vec<_> = history.iter().filter(|line| line["what"] == "change").map(|line| &line["change"]).collect();
    assert_eq!(changes, ["rolled-back", "refused"]);
    record(pump.worker(), Change::Stopped, &good, None).await;
    assert!(running().await.is_empty());
}

#[tokio::test]
async fn a_worker_that_is_gone_is_not_listed_but_under_a_name_of_the_operators_nobody_knows() {
    let world = World::new().await;
    let pump = pump::start(&world).await;
    let started = entry(pump.worker(), Change::Started, &digest('a'), None);
    components::record(&world.client, &started).await.unwrap();
    let connect = async |url: String| Database::parse(&url).unwrap().connect().await.unwrap().into_driver();
    let ours = connect(world.db.url().to_owned()).await;
    assert_eq!(components::running(&ours).await.unwrap()[0].alive, Some(true));
    pump.stop_claiming();
    pump.finish(HOUR).await;
    eventually("its sessions are gone", async || components::running(&ours).await.unwrap().is_empty().then_some(()))
        .await;
    let sign = if world.db.url().contains('?') { '&' } else { '?' };
    let named = connect(format!("{}{sign}application_name=shop", world.db.url())).await;
    let running = components::running(&named).await.unwrap();
    assert_eq!((running.len(), running[0].alive), (1, None));
}

#[tokio::test]
async fn the_ledger_forgets_what_is_old_and_not_asked_for() {
    let world = World::new().await;
    let pump = pump::start(&world).await;
    let (good, bad) = (digest('a'), digest('b'));
    let record = async |worker: &str, change, digest: &str| {
        components::record(&world.client, &entry(worker, change, digest, None)).await.unwrap();
    };
    for (worker, change, digest) in [
        ("gone", Change::Started, &good),
        ("gone", Change::Confirmed, &good),
        ("gone", Change::Confirmed, &good),
        ("gone", Change::RolledBack, &bad),
        ("gone", Change::Allowed, &bad),
        ("gone", Change::RolledBack, &bad),
        ("gone", Change::Refused, &bad),
        (pump.worker(), Change::Started, &good),
    ] {
        record(worker, change, digest).await;
    }
    world.execute("UPDATE receipt_component_changes SET at = now() - interval '91 days'").await;
    record("young", Change::Stopped, &good).await;
    let left = "SELECT string_agg(change, ',' ORDER BY id) FROM receipt_component_changes";
    assert_eq!(world.text(left, &[]).await, "confirmed,rolled-back,started,stopped");
    assert!(components::distrusted(&world.client, &bad).await.unwrap().is_some());
    assert_eq!(components::last_confirmed(&world.client).await.unwrap(), Some(good));
    // Where the sessions' names tell nothing, a worker of long ago is not taken for one that runs.
    let running = components::running(&world.client).await.unwrap();
    assert_eq!(running.iter().map(|running| running.worker.as_str()).collect::<Vec<_>>(), [pump.worker()]);
}

#[tokio::test]
async fn the_apps_roles_have_no_business_in_the_ledger() {
    let world = World::new().await;
    let rights = "SELECT (coalesce(array_length(c.relacl, 1), 0) <= 1)::text
        FROM pg_class c WHERE c.oid = 'receipt_component_changes'::regclass";
    assert_eq!(world.text(rights, &[]).await, "true");
}
