//! What stands in the queue and is none of ours: text that is no text, and times without a calendar. No verb fails of it.

use host::queue::migrate::migrate;
use tests::{TestDatabase, World, WorldSettings};

/// As a database in SQL_ASCII takes it.
const BAD: &str = "convert_from('\\xe9', 'SQL_ASCII')";
const OLD: &str = "00000000000000000000000000000000000000000000000000000000000000aa";

/// A queue of receipts whose ids may be any text, in a database that takes any bytes for one.
pub(crate) async fn ids_of_text() -> World {
    let db = TestDatabase::encoded("SQL_ASCII").await;
    db.connect().await.batch_execute("CREATE TABLE receipts (id text PRIMARY KEY, image_url text)").await.unwrap();
    migrate(&mut db.database().connect().await.unwrap()).await.unwrap();
    let world = World::with(WorldSettings { db: Some(db), ..Default::default() }).await;
    world.photo("a.jpg").await;
    world
}

async fn insert(world: &World, id: &str) {
    world.execute(&format!("INSERT INTO receipts (id, image_url) VALUES ({id}, 'a.jpg')")).await;
}

/// What a verb prints.
async fn says(world: &World, args: &[&str]) -> String {
    world.host().args(args).run().await.ok()
}

#[tokio::test]
async fn dead_letters_whose_texts_are_none_are_listed_retried_and_discarded() {
    let world = ids_of_text().await;
    for id in ["'gone'", BAD] {
        world.execute(&format!("INSERT INTO receipts (id, image_url) VALUES ({id}, 'gone.jpg')")).await;
    }
    let once = async || world.run(&["--once", "--photo-grace", "0s"]).run().await.json();
    assert_eq!(once().await["dead"], 2);
    world
        .execute(&format!(
            "UPDATE receipt_queue_dlq SET
                 error_kind = {BAD}, error_code = {BAD}, error_message = {BAD}, component = {BAD}, notes = {BAD},
                 history = jsonb_build_array({BAD})"
        ))
        .await;
    let listed = world.host().args(["dlq", "list", "--json"]).run().await.json_lines();
    assert_eq!(listed.len(), 2, "{listed:?}");
    for letter in &listed {
        for field in ["error_kind", "error_code", "error_message", "component", "notes"] {
            assert_eq!(letter[field], "\\xe9", "{letter}");
        }
    }
    says(&world, &["dlq", "list"]).await;
    assert!(says(&world, &["dlq", "show", "\\xe9"]).await.contains("gone.jpg"));

    // By the name that is shown, and all of them.
    assert_eq!(says(&world, &["dlq", "retry", "\\xe9"]).await, "\\xe9\n");
    assert_eq!(once().await["dead"], 1);
    let mut retried: Vec<String> = says(&world, &["dlq", "retry", "--all"]).await.lines().map(str::to_owned).collect();
    retried.sort();
    assert_eq!(retried, ["\\xe9", "gone"]);
    assert_eq!(once().await["dead"], 2);
    assert_eq!(says(&world, &["dlq", "discard", "\\xe9", "--yes"]).await, "\\xe9\n");
    assert_eq!(says(&world, &["dlq", "discard", "--all", "--yes"]).await, "gone\n");
    assert_ne!(world.host().args(["dlq", "retry", "\\xe8"]).run().await.code, Some(0));
}

#[tokio::test]
async fn jobs_whose_texts_are_none_are_hurried_and_end() {
    let world = ids_of_text().await;
    insert(&world, "'spent'").await;
    world.execute(&format!("UPDATE receipt_queue SET attempts = 5, last_error_kind = {BAD}, last_error_code = {BAD}, last_error = {BAD}")).await;
    insert(&world, "'one'").await;
    insert(&world, BAD).await;
    let put_off = format!(
        "UPDATE receipt_queue SET available_at = now() + interval '1 hour', last_error_code = {BAD}, last_error = {BAD}
         WHERE receipt_id <> 'spent'"
    );
    world.execute(&put_off).await;
    assert_eq!(says(&world, &["hurry", "\\xe9"]).await, "\\xe9\n");
    world.execute(&put_off).await;
    let hurried = world.host().args(["hurry", "--all", "--json"]).run().await.json_lines();
    assert_eq!(hurried.len(), 2, "{hurried:?}");
    assert_eq!(hurried[0]["error"], "\\xe9");

    let summary = world.once().await;
    assert_eq!(summary["processed"], 1, "{summary}");
    let dead = "SELECT string_agg(error_code, ' ' ORDER BY receipt_id = 'spent') FROM receipt_queue_dlq";
    assert_eq!(world.text(dead, &[]).await, "queue.UnreadableId queue.AttemptsExhausted");
    let spent = world.host().args(["dlq", "show", "spent", "--json"]).run().await.json();
    assert!(spent["error_message"].as_str().unwrap().contains("\\xe9"), "{spent}");
}

#[tokio::test]
async fn receipts_whose_texts_are_none_are_reconciled_and_named_where_they_cannot_be_read_again() {
    let world = ids_of_text().await;
    // More than a slice, so that one of them is where the next begins; and a component that read them, with the triggers off.
    world
        .execute(&format!(
            "SET session_replication_role = replica;
             INSERT INTO receipts (id, image_url, status) SELECT {BAD} || n, 'a.jpg', 'kept' FROM generate_series(1, 1500) AS n;
             INSERT INTO receipts (id, image_url) VALUES ('one', 'a.jpg'), ({BAD}, 'a.jpg'), ({BAD} || 'z', 'a.jpg');
             RESET session_replication_role"
        ))
        .await;
    let status = says(&world, &["status"]).await;
    assert!(status.contains("3 receipts are pending and were never queued"), "{status}");
    let found = world.host().args(["reconcile", "--json"]).run().await.json();
    assert_eq!((&found["looked"], &found["queued"]), (&1503.into(), &3.into()), "{found}");
    assert_eq!(world.once().await["processed"], 1);

    insert(&world, "'two'").await;
    world.once().await;
    world
        .execute(&format!(
            "SET session_replication_role = replica;
             UPDATE receipts SET ocr_component = '{OLD}' WHERE id IN ('one', 'two');
             UPDATE receipts SET vendor_text = {BAD} WHERE id = 'one';
             UPDATE receipts SET status = 'ocr_done', ocr_component = {BAD}, ocr_s3_key = {BAD}, vendor_text = {BAD}
             WHERE id IN ({BAD}, {BAD} || 'z');
             RESET session_replication_role"
        ))
        .await;
    let read = world.host().args(["reparse", "--yes", "--json", "--batch", "1"]).run().await;
    let lines = read.json_lines();
    let by =
        |id: &str| lines.iter().find(|line| line["receipt"] == id).unwrap_or_else(|| panic!("{id}: {}", read.stderr));
    for id in ["\\xe9", "\\xe9z"] {
        assert!(by(id)["error"].as_str().unwrap().contains("is no artifact of this receipt"), "{lines:?}");
    }
    assert_eq!(by("one")["differences"][0]["old"], "\\xe9", "{lines:?}");
    assert_eq!(world.count(&format!("receipts WHERE id IN ('one', 'two') AND ocr_component <> '{OLD}'")).await, 2);
    assert_eq!(world.count("receipts WHERE vendor_text = 'Blue Bottle Cafe'").await, 2);
}

#[tokio::test]
async fn a_ledger_with_a_text_that_is_none_is_read() {
    let world = ids_of_text().await;
    let entry = |change: &str, digest: &str| {
        format!(
            "INSERT INTO receipt_component_changes (worker, change, digest, previous, reason, source, host_version)
             VALUES ({BAD}, '{change}', {digest}, {BAD}, {BAD}, {BAD}, {BAD})"
        )
    };
    world.execute(&entry("rolled-back", &format!("'{OLD}'"))).await;
    world.execute(&entry("paused", BAD)).await;
    world.execute(&entry("confirmed", BAD)).await;
    let lines = world.host().args(["components", "--json"]).run().await.json_lines();
    let changes: Vec<_> = lines.iter().filter(|line| line["what"] == "change").collect();
    assert_eq!((changes.len(), &changes[0]["reason"]), (3, &"\\xe9".into()), "{lines:?}");
    says(&world, &["components"]).await;
    says(&world, &["status"]).await;
    insert(&world, "'one'").await;
    assert_eq!(world.once().await["processed"], 1);
}

#[tokio::test]
async fn times_without_a_calendar_stop_no_verb() {
    let times = ["-infinity", "infinity", "4713-01-01 BC", "1969-12-31", "294276-12-31"];
    let world = World::new().await;
    for time in times {
        for kind in ["done", "dead", "waiting"] {
            world.receipt(&format!("{kind} {time}.jpg")).await;
        }
        world.aws.s3.delete_object().bucket(tests::SOURCE).key(format!("dead {time}.jpg")).send().await.unwrap();
    }
    world.execute("UPDATE receipt_queue SET available_at = 'infinity' WHERE s3_key LIKE 'waiting%'").await;
    let summary = world.run(&["--once", "--photo-grace", "0s"]).run().await.json();
    assert_eq!((&summary["processed"], &summary["dead"]), (&5.into(), &5.into()), "{summary}");
    for time in times {
        // Each beside the others: an age is a difference of two.
        world
            .execute(&format!(
                "UPDATE receipt_queue SET enqueued_at = '{time}' WHERE s3_key LIKE '% {time}.jpg';
                 UPDATE receipt_queue_dlq SET enqueued_at = '{time}', failed_at = '{time}' WHERE s3_key LIKE '% {time}.jpg'"
            ))
            .await;
    }
    for time in times {
        world.execute(&format!("UPDATE receipt_queue SET processed_at = '{time}' WHERE processed")).await;
        let status = world.host().args(["status", "--json"]).run().await.json_lines();
        let counts: Vec<_> = status.iter().filter_map(|line| line["count"].as_i64()).collect();
        assert_eq!(counts, [5, 5, 5], "{time}: {status:?}");
        says(&world, &["status"]).await;
        world.host().arg("doctor").run().await.ok();
        says(&world, &["prune", "--dry-run", "--dlq", "1h"]).await;
    }
    let listed = world.host().args(["dlq", "list", "--json"]).run().await.json_lines();
    let mut failed: Vec<_> = listed.iter().map(|letter| letter["failed_at"].as_str().unwrap()).collect();
    failed.sort_unstable();
    let expected =
        ["-infinity", "1969-12-31T00:00:00Z", "294276-12-31 00:00:00+00", "4713-01-01 00:00:00+00 BC", "infinity"];
    assert_eq!(failed, expected);
    says(&world, &["dlq", "list"]).await;
    says(&world, &["dlq", "show", listed[0]["receipt_id"].as_str().unwrap()]).await;
    says(&world, &["reconcile"]).await;

    // What waits is worked, and its photo is not waited for for ever.
    world.execute("UPDATE receipt_queue SET available_at = now() WHERE NOT processed").await;
    world.aws.s3.delete_object().bucket(tests::SOURCE).key("waiting 294276-12-31.jpg").send().await.unwrap();
    let summary = world.once().await;
    assert_eq!((&summary["processed"], &summary["dead"]), (&4.into(), &1.into()), "{summary}");
    says(&world, &["dlq", "retry", "--all"]).await;
    assert_eq!(world.run(&["--once", "--photo-grace", "0s"]).run().await.json()["dead"], 6);
    says(&world, &["prune", "--dlq", "1h"]).await;
    world.host().arg("doctor").run().await.ok();
}

#[tokio::test]
async fn a_photo_is_waited_for_by_how_far_its_row_is_from_now() {
    let world = World::new().await;
    for (time, dead) in [("infinity", 1), ("290000-01-01", 1), ("-infinity", 1)] {
        world.insert("gone.jpg").await;
        world.execute(&format!("UPDATE receipt_queue SET enqueued_at = '{time}'")).await;
        assert_eq!(world.once().await["dead"], dead, "{time}");
    }
}
