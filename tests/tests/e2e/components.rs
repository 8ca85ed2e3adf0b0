//! Which component decided what: on receipts, in the history of attempts, and in the ledger that all hosts share.

use host::queue::{Lease, take_back};
use tests::World;

use crate::pump::{self, HOUR, complete, dead_letter, give_back, retry, take};

/// A digest that no component has.
pub fn digest(digit: char) -> String {
    std::iter::repeat_n(digit, 64).collect()
}

async fn component_of(world: &World, receipt: &str) -> String {
    world.text("SELECT coalesce(ocr_component, 'none') FROM receipts WHERE id::text = $1", &[&receipt]).await
}

/// A receipt that a component with this digest has read.
async fn read_by(world: &World, component: &str) -> String {
    let receipt = world.insert("a.jpg").await;
    let (pump, job) = pump::claimed(world).await;
    pump.settle(&job, complete("V", "1.00"), Some(component.to_owned())).await.unwrap();
    receipt
}

#[tokio::test]
async fn a_receipt_carries_the_digest_of_its_reading_until_somebody_edits_it() {
    let world = World::new().await;
    for (edit, left) in [
        ("vendor_text = 'Mine'", "none"),
        ("total_amount = 2", "none"),
        ("currency = NULL", "none"),
        ("receipt_date = '2024-03-01'", "none"),
        ("vendor_text = vendor_text, total_amount = 1.0", &digest('a')[..]),
        ("user_id = 'else', status = 'approved'", &digest('a')),
        ("status = 'ocr_failed'", "none"),
        ("status = 'pending'", "none"),
        ("image_url = 'another.jpg'", "none"),
    ] {
        let receipt = read_by(&world, &digest('a')).await;
        assert_eq!(component_of(&world, &receipt).await, digest('a'));
        world.execute(&format!("UPDATE receipts SET {edit} WHERE id = '{receipt}'")).await;
        assert_eq!(component_of(&world, &receipt).await, left, "{edit}");
        world.execute("DELETE FROM receipts").await;
    }
}

#[tokio::test]
async fn the_same_components_second_reading_counts_again() {
    let world = World::new().await;
    let receipt = read_by(&world, &digest('a')).await;
    world.execute("UPDATE receipts SET status = 'pending'").await;
    let (pump, job) = pump::claimed(&world).await;
    pump.settle(&job, complete("W", "2.00"), Some(digest('a'))).await.unwrap();
    assert_eq!(component_of(&world, &receipt).await, digest('a'));
}

#[tokio::test]
async fn what_a_person_wrote_meanwhile_is_no_components_reading() {
    let world = World::new().await;
    let receipt = world.insert("a.jpg").await;
    let (pump, job) = pump::claimed(&world).await;
    world.execute("UPDATE receipts SET vendor_text = 'Mine'").await;
    pump.settle(&job, complete("V", "1.00"), Some(digest('a'))).await.unwrap();
    assert_eq!(world.status_of(&receipt).await, "ocr_done");
    assert_eq!(component_of(&world, &receipt).await, "none");
}

#[tokio::test]
async fn a_dead_letter_that_is_put_back_by_hand_ends_done() {
    let world = World::new().await;
    let (receipt, _) = world.receipt("a.jpg").await;
    let (pump, job) = pump::claimed(&world).await;
    pump.settle(&job, dead_letter(), None).await.unwrap();
    assert_eq!(world.status_of(&receipt).await, "ocr_failed");
    world
        .execute(
            "INSERT INTO receipt_queue (receipt_id, s3_key) SELECT receipt_id, s3_key FROM receipt_queue_dlq;
             DELETE FROM receipt_queue_dlq",
        )
        .await;
    assert_eq!(world.once().await["processed"], 1);
    world.assert_settled(1).await;
    assert_eq!(world.text("SELECT vendor_text FROM receipts", &[]).await, "Blue Bottle Cafe");
}

#[tokio::test]
async fn every_attempt_that_failed_is_told_with_its_component() {
    let world = World::new().await;
    let receipt = world.insert("a.jpg").await;
    let pump = pump::start(&world).await;
    for (outcome, component) in [
        (retry(std::time::Duration::ZERO, true), Some(digest('a'))),
        (give_back(), None),
        (retry(std::time::Duration::ZERO, false), Some(digest('b'))),
        (dead_letter(), Some(digest('c'))),
    ] {
        let job = take(&pump).await;
        pump.settle(&job, outcome, component).await.unwrap();
    }
    let letter = world.host().args(["dlq", "show", receipt.as_str(), "--json"]).run().await.json();
    let told: Vec<_> = letter["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|past| format!("{} {} {} {}", past["attempt"], past["component"], past["outcome"], past["code"]))
        .collect();
    assert_eq!(
        told,
        [
            format!("1 \"{}\" \"retry\" \"test.Retry\"", digest('a')),
            format!("2 \"{}\" \"uncharged\" \"test.Retry\"", digest('b')),
            format!("2 \"{}\" \"dead-letter\" \"test.Dead\"", digest('c')),
        ]
    );
    let shown = world.host().args(["dlq", "show", receipt.as_str()]).run().await.ok();
    assert!(shown.contains("dead-letter bad-document test.Dead by cccccccccccc"), "{shown}");
    // Revived, it keeps what happened; done and queued anew, it begins without.
    world.host().args(["dlq", "retry", receipt.as_str()]).run().await.ok();
    let count = "SELECT jsonb_array_length(history)::text FROM receipt_queue";
    assert_eq!(world.text(count, &[]).await, "3");
    pump.stop_claiming();
    pump.finish(HOUR).await;
    let (pump, job) = pump::claimed(&world).await;
    pump.settle(&job, complete("V", "1.00"), None).await.unwrap();
    world.execute("UPDATE receipts SET status = 'pending'").await;
    assert_eq!(world.text(count, &[]).await, "0");
}

#[tokio::test]
async fn the_history_keeps_the_last_twenty() {
    let world = World::new().await;
    world.insert("a.jpg").await;
    let pump = pump::start(&world).await;
    for number in 0..23 {
        let job = take(&pump).await;
        pump.settle(&job, retry(std::time::Duration::ZERO, false), Some(number.to_string())).await.unwrap();
    }
    let kept = "SELECT concat_ws('|', jsonb_array_length(history), history -> 0 ->> 'component', history -> -1 ->> 'component')
        FROM receipt_queue";
    assert_eq!(world.text(kept, &[]).await, "20|3|22");
}

#[tokio::test]
async fn what_a_bad_component_decided_is_taken_back_and_nothing_else() {
    let world = World::new().await;
    let mut client = world.db.connect().await;
    let mut leases = Vec::new();
    let mut settle = async |name: &str, outcome| {
        let receipt = world.insert(name).await;
        let lease = claim_one(&world).await;
        settle_with(&world, lease, outcome).await;
        leases.push(lease);
        receipt
    };
    let charged = settle("charged.jpg", retry(HOUR, true)).await;
    // It had failed before, under another one.
    world.execute("UPDATE receipt_queue SET attempts = 3").await;
    let uncharged = settle("uncharged.jpg", retry(HOUR, false)).await;
    let buried = settle("buried.jpg", dead_letter()).await;
    let done = settle("done.jpg", complete("V", "1.00")).await;
    let others = settle("others.jpg", retry(HOUR, true)).await;
    let leased = settle("leased.jpg", retry(HOUR, true)).await;
    let archived = settle("archived.jpg", dead_letter()).await;
    world.execute(&format!("UPDATE receipts SET status = 'archived' WHERE id = '{archived}'")).await;
    // Somebody else has decided on it since, and somebody works on the other one.
    world
        .execute(&format!(
            "UPDATE receipt_queue SET settled_token = nextval('receipt_queue_token') WHERE receipt_id = '{others}';
             UPDATE receipt_queue SET lease_token = nextval('receipt_queue_token') WHERE receipt_id = '{leased}'"
        ))
        .await;
    // All but the attempts, which are given back to whoever has them now.
    let rest = async |receipt: &str| {
        let sql =
            "SELECT (to_jsonb(q) - 'attempts' - 'history')::text FROM receipt_queue q WHERE receipt_id::text = $1";
        world.text(sql, &[&receipt]).await
    };
    let untouched = [rest(&others).await, rest(&leased).await];
    let finished = [world.row("receipt_queue", &done).await, world.row("receipts", &done).await];

    assert_eq!(take_back(&mut client, &leases).await.unwrap(), 5);

    let state = async |receipt: &str| {
        let sql = "SELECT concat_ws('|', r.status, q.attempts, q.available_at <= now())
            FROM receipts r JOIN receipt_queue q ON q.receipt_id = r.id WHERE r.id::text = $1";
        world.text(sql, &[&receipt]).await
    };
    assert_eq!(state(&charged).await, "pending|2|t");
    assert_eq!(state(&uncharged).await, "pending|0|t");
    assert_eq!(state(&buried).await, "pending|0|t");
    assert_eq!((state(&others).await, state(&leased).await), ("pending|0|f".to_owned(), "pending|0|f".to_owned()));
    assert_eq!([rest(&others).await, rest(&leased).await], untouched);
    // The app gave it another status meanwhile: it is no longer to be read.
    assert_eq!(world.text("SELECT receipt_id::text FROM receipt_queue_dlq", &[]).await, archived);
    assert_eq!([world.row("receipt_queue", &done).await, world.row("receipts", &done).await], finished);
    // Once more, as when the reply to the first was lost: no attempt is given back twice, and nothing queued anew.
    let before = world.row("receipt_queue", &buried).await;
    take_back(&mut client, &leases).await.unwrap();
    assert_eq!(state(&charged).await, "pending|2|t");
    assert_eq!(world.row("receipt_queue", &buried).await, before);
}

#[tokio::test]
async fn every_attempt_that_a_bad_component_charged_is_given_back_once() {
    let world = World::new().await;
    let mut client = world.db.connect().await;
    let receipt = world.insert("a.jpg").await;
    let mut leases = Vec::new();
    for (whose, charge) in [("good", true), ("bad", true), ("bad", false), ("bad", true), ("good", true)] {
        let lease = claim_one(&world).await;
        settle_with(&world, lease, retry(HOUR, charge)).await;
        world.execute("UPDATE receipt_queue SET available_at = now() - interval '1 second'").await;
        if whose == "bad" {
            leases.push(lease);
        }
    }
    let attempts = "SELECT attempts::text FROM receipt_queue";
    let outcomes = "SELECT string_agg(past ->> 'outcome', ',' ORDER BY place)
        FROM receipt_queue, jsonb_array_elements(history) WITH ORDINALITY AS h (past, place)";
    let row = world.row("receipt_queue", &receipt).await;
    // The tokens are another job's: nothing is known of them here.
    let elsewhere: Vec<Lease> = leases.iter().map(|lease| Lease { job: lease.job + 1, token: lease.token }).collect();
    assert_eq!(take_back(&mut client, &elsewhere).await.unwrap(), 0);
    assert_eq!(world.row("receipt_queue", &receipt).await, row);

    // A good one works on it already.
    claim_one(&world).await;
    assert_eq!(world.text(attempts, &[]).await, "5");
    for _ in 0..2 {
        take_back(&mut client, &leases).await.unwrap();
        assert_eq!(world.text(attempts, &[]).await, "3");
        assert_eq!(world.text(outcomes, &[]).await, "retry,taken-back,taken-back,taken-back,retry");
    }
    assert_eq!(world.count("receipt_queue WHERE lease_token IS NOT NULL AND available_at > now()").await, 1);
    // Queued anew, it is charged nothing, and so nothing is given back.
    world.execute("UPDATE receipts SET status = 'new'; UPDATE receipts SET status = 'pending'").await;
    claim_one(&world).await;
    take_back(&mut client, &leases).await.unwrap();
    assert_eq!(world.text(attempts, &[]).await, "1");
}

/// Leases the only job that is due, by hand.
async fn claim_one(world: &World) -> Lease {
    let sql = "UPDATE receipt_queue SET attempts = attempts + 1, claims = claims + 1,
            lease_token = nextval('receipt_queue_token'), available_at = now() + interval '1 hour'
        WHERE NOT processed AND available_at <= now() RETURNING id, lease_token";
    let row = world.client.query_one(sql, &[]).await.unwrap();
    Lease { job: row.get(0), token: row.get(1) }
}

async fn settle_with(world: &World, lease: Lease, outcome: host::queue::JobOutcome) {
    use host::queue::JobOutcome;
    let (ids, tokens) = (vec![lease.job], vec![lease.token]);
    let text = |text: &str| vec![Some(text.to_owned())];
    let rows = match outcome {
        JobOutcome::Retry { delay, charge, .. } => {
            let sql = include_str!("../../../host/src/queue/sql/retry.sql");
            let delay = vec![i64::try_from(delay.as_millis()).unwrap()];
            let (kind, code, message) = (text("unavailable"), text("c"), text("m"));
            let parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)] =
                &[&ids, &tokens, &delay, &vec![charge], &kind, &code, &message, &text("bad")];
            world.client.query(sql, parameters).await
        }
        JobOutcome::DeadLetter { .. } => {
            let sql = include_str!("../../../host/src/queue/sql/dead_letter.sql");
            let (kind, code, message) = (text("unavailable"), text("c"), text("m"));
            let parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)] =
                &[&ids, &tokens, &kind, &code, &message, &text("bad"), &text("notes")];
            world.client.query(sql, parameters).await
        }
        JobOutcome::Complete(read) => {
            let sql = include_str!("../../../host/src/queue/sql/complete.sql");
            let confidence = vec![read.confidence];
            let fields = [read.vendor, read.total, read.currency, read.date].map(|field| vec![field]);
            let [vendor, total, currency, date] = &fields;
            let key = vec![read.artifact_key];
            let parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)] =
                &[&ids, &tokens, vendor, total, currency, date, &confidence, &key, &text("bad")];
            world.client.query(sql, parameters).await
        }
    };
    assert!(rows.unwrap()[0].get::<_, bool>("settled"));
}
