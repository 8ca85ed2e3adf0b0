//! What must be true afterwards, whatever was hit.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use tests::wire::Wire;
use tests::{Finished, World, events};

use crate::story::Receipt;

/// Where cases differ.
#[derive(Debug)]
pub(crate) struct Expected {
    /// Hosts that were killed.
    pub(crate) killed: u32,
    /// Receipts that were done once before the watch began.
    pub(crate) done_before: i64,
    /// Dead letters.
    pub(crate) dead: RangeInclusive<u32>,
    /// Attempts that were charged in vain though nobody was killed.
    pub(crate) charged: u32,
    /// OCR calls beyond one for each image, at most.
    pub(crate) paid_again: u32,
    pub(crate) max_attempts: i32,
}

/// Notes every lease and every end of a receipt from here on.
pub(crate) async fn watch(world: &World) {
    world
        .execute(
            "CREATE TABLE leases (n bigint GENERATED ALWAYS AS IDENTITY, receipt uuid, token bigint, worker text);
             CREATE FUNCTION note_lease() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 INSERT INTO leases (receipt, token, worker) VALUES (NEW.receipt_id, NEW.lease_token, NEW.leased_by);
                 RETURN NULL;
             END $$;
             CREATE TRIGGER note_lease AFTER UPDATE ON receipt_queue FOR EACH ROW
                 WHEN (NEW.lease_token IS NOT NULL AND NEW.lease_token IS DISTINCT FROM OLD.lease_token)
                 EXECUTE FUNCTION note_lease();
             CREATE TABLE ends (receipt uuid);
             CREATE FUNCTION note_end() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN INSERT INTO ends VALUES (NEW.id); RETURN NULL; END $$;
             CREATE TRIGGER note_end AFTER UPDATE ON receipts FOR EACH ROW
                 WHEN (NEW.status IN ('ocr_done', 'ocr_failed')) EXECUTE FUNCTION note_end()",
        )
        .await;
}

pub(crate) async fn check(wire: &Wire, receipts: &[Receipt], expected: &Expected, ends: &[Finished]) {
    let log = ends.iter().map(|end| end.stderr.as_str()).collect::<Vec<_>>().join("\n");
    let world = &wire.world;
    settled_once(world, receipts, expected).await;
    attempts(world, expected, &log).await;
    leases(world).await;
    artifacts(world, receipts).await;
    bill(wire, receipts, expected);
    booked_once(world, expected, ends).await;
}

async fn settled_once(world: &Arc<World>, receipts: &[Receipt], expected: &Expected) {
    world.assert_settled(i64::try_from(receipts.len()).unwrap()).await;
    let dead = world.count("receipt_queue_dlq").await;
    assert!(expected.dead.contains(&u32::try_from(dead).unwrap()), "{dead} dead, not {:?}", expected.dead);
    let twice = "(SELECT receipt FROM ends GROUP BY receipt HAVING count(*) > 1) AS twice";
    assert_eq!(world.count(twice).await, 0, "receipts that ended twice");
    assert_eq!(world.count("ends").await, i64::try_from(receipts.len()).unwrap());
}

async fn attempts(world: &World, expected: &Expected, log: &str) {
    let charged = "SELECT attempts, receipt_id::text, (
            SELECT string_agg(worker, ' ' ORDER BY n) FROM leases WHERE receipt = receipt_id
        ) FROM (
            SELECT attempts, receipt_id FROM receipt_queue UNION ALL SELECT attempts, receipt_id FROM receipt_queue_dlq
        ) AS jobs WHERE attempts > 1";
    let mut in_vain = 0;
    let mut culprits = BTreeSet::new();
    for row in world.client.query(charged, &[]).await.unwrap() {
        let (attempts, workers): (i32, String) = (row.get(0), row.get(2));
        assert!(attempts <= expected.max_attempts.min(2), "{attempts} attempts by {workers}:\n{log}");
        in_vain += 1;
        culprits.extend(workers.split(' ').next().map(str::to_owned));
    }
    if expected.killed == 0 {
        assert_eq!(in_vain, expected.charged, "attempts charged though nobody was killed:\n{log}");
    } else {
        assert!(culprits.len() <= 1, "jobs of {culprits:?} were charged, and one was killed:\n{log}");
    }
}

async fn leases(world: &World) {
    let sunk = "leases a JOIN leases b ON a.receipt = b.receipt AND a.n < b.n AND a.token >= b.token";
    assert_eq!(world.count(sunk).await, 0, "fencing tokens that did not grow");
}

async fn artifacts(world: &World, receipts: &[Receipt]) {
    let done = "SELECT ocr_s3_key, total_amount::text FROM receipts WHERE image_url = $1 AND status = 'ocr_done'";
    for receipt in receipts {
        let Some(row) = world.client.query_opt(done, &[&receipt.key]).await.unwrap() else { continue };
        let (key, total): (String, String) = (row.get(0), row.get(1));
        assert_eq!(total, receipt.total, "{}", receipt.key);
        let said = world.textract.body_for(&receipt.digest).unwrap();
        assert!(world.artifact(&key).await == said, "{key} is not what Textract sent");
    }
}

fn bill(wire: &Wire, receipts: &[Receipt], expected: &Expected) {
    wire.assert_paid_once_stored();
    let calls = wire.world.textract.calls_by_image();
    let mut again = 0;
    for receipt in receipts {
        let calls = calls.get(&receipt.digest).copied().unwrap_or(0);
        assert!(calls <= 2, "{calls} calls for {}", receipt.key);
        again += u32::from(calls == 2);
    }
    assert!(again <= expected.paid_again, "{again} images were paid for again, of at most {}", expected.paid_again);
}

/// What the hosts say that they did is what was done, each thing once: a settle whose reply was lost is booked by the
/// host that sent it. One that was killed says nothing.
async fn booked_once(world: &World, expected: &Expected, ends: &[Finished]) {
    let booked = |name: &str| ends.iter().map(|end| number_of(name, &end.stderr)).sum::<i64>();
    let log = || ends.iter().map(|end| end.stderr.as_str()).collect::<Vec<_>>().join("\n");
    assert_eq!(booked("lost="), 0, "leases lost though their worker lived:\n{}", log());
    for (name, table, before) in
        [("processed=", "receipts WHERE status = 'ocr_done'", expected.done_before), ("dead=", "receipt_queue_dlq", 0)]
    {
        let (booked, done) = (booked(name), before + world.count(table).await);
        assert!(booked == done || (expected.killed > 0 && booked < done), "{name}{booked}, not {done}:\n{}", log());
    }
}

fn number_of(name: &str, log: &str) -> i64 {
    let line = events(log, "worker.stopped").pop().unwrap_or_else(|| panic!("no last line:\n{log}"));
    let (_, rest) = line.split_once(name).unwrap_or_else(|| panic!("no {name} in {line:?}"));
    rest.split_whitespace().next().unwrap().parse().unwrap()
}
