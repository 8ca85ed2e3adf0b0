//! `host reparse`: new readings from stored OCR responses. The built-in component reads again what an older one has read,
//! whose readings are invented here: another digest, and what it could have got wrong.

use host::queue::Completion;
use host::queue::reparse::{ReparseSelection, Reparser, Reread, Written};
use rustix::process::Signal;
use serde_json::{Value, json};
use tests::{Finished, World, candidates, eventually};

const OLD: &str = "00000000000000000000000000000000000000000000000000000000000000aa";
const NEW: &str = "00000000000000000000000000000000000000000000000000000000000000bb";

/// Receipts that an older component has read, each as `fields` says.
async fn read_before(world: &World, count: usize, fields: &str) -> Vec<String> {
    let receipts = world.receipts(count).await;
    assert_eq!(world.once().await["processed"], count);
    old(world, fields).await;
    receipts.into_iter().map(|(receipt, _)| receipt).collect()
}

async fn old(world: &World, fields: &str) {
    world.execute(&format!("UPDATE receipts SET ocr_component = '{OLD}', {fields}")).await;
}

async fn reparse(world: &World, args: &[&str]) -> Finished {
    world.host().arg("reparse").args(args).run().await
}

async fn all(world: &World) -> String {
    world.text("SELECT string_agg(to_jsonb(r)::text, ';' ORDER BY id) FROM receipts r", &[]).await
}

fn differences(line: &Value) -> Vec<String> {
    let fields = line["differences"].as_array().unwrap_or_else(|| panic!("{line}"));
    fields.iter().map(|field| format!("{} {} {}", field["field"], field["old"], field["new"])).collect()
}

#[tokio::test]
async fn an_older_reading_is_replaced_without_paying_again() {
    let world = World::new().await;
    read_before(&world, 3, "vendor_text = 'Blue Bottl', total_amount = NULL").await;
    let finished = reparse(&world, &["--yes", "--json"]).await;
    let lines = finished.json_lines();
    assert_eq!(lines.len(), 3, "{}", finished.stderr);
    for line in &lines {
        let expected = vec!["\"vendor\" \"Blue Bottl\" \"Blue Bottle Cafe\"", "\"total\" null \"4.50\""];
        assert_eq!(differences(line), expected);
        assert_eq!((&line["kind"], &line["read_by"]), (&json!("changed"), &json!(OLD)));
    }
    finished.ok();
    assert_eq!(world.count("receipts WHERE vendor_text = 'Blue Bottle Cafe' AND total_amount = 4.50").await, 3);
    assert_eq!(world.count(&format!("receipts WHERE ocr_component <> '{OLD}' AND status = 'ocr_done'")).await, 3);
    assert_eq!(world.textract.calls(), 3);
    // It is this component's reading now: nothing is left to do.
    let again = reparse(&world, &["--yes", "--json"]).await;
    assert_eq!((again.code, again.stdout.as_str()), (Some(0), ""));
}

/// No invented older reading here: the built-in component reads first, then one that reads otherwise, then it again.
#[tokio::test]
async fn another_component_reads_what_the_built_in_one_has_read() {
    let world = World::new().await;
    world.receipts(2).await;
    assert_eq!(world.once().await["processed"], 2);
    let built_in = host::storage::digest_of(host::sandbox::EMBEDDED);
    let bytes = candidates::shouts();
    let another = host::storage::digest_of(&bytes);
    let file = world.dir().join("shouts.wasm");
    std::fs::write(&file, &bytes).unwrap();
    let file = file.to_str().unwrap();
    let carried = async |vendor: &str, digest: &str| {
        let sql =
            format!("receipts WHERE vendor_text = '{vendor}' AND total_amount = 4.50 AND ocr_component = '{digest}'");
        assert_eq!(world.count(&sql).await, 2, "{vendor}");
    };
    carried("Blue Bottle Cafe", &built_in).await;
    for (component, vendors, digest) in [
        (&["--component", file][..], ["Blue Bottle Cafe", "BLUE BOTTLE CAFE"], &another),
        (&[], ["BLUE BOTTLE CAFE", "Blue Bottle Cafe"], &built_in),
    ] {
        let finished = reparse(&world, &[&["--yes", "--json"], component].concat()).await;
        let [was, is] = vendors;
        for line in finished.json_lines() {
            assert_eq!(differences(&line), [format!("\"vendor\" {was:?} {is:?}")]);
        }
        assert_eq!(finished.json_lines().len(), 2, "{}", finished.stderr);
        finished.ok();
        carried(is, digest).await;
    }
    assert_eq!(world.textract.calls(), 2);
}

#[tokio::test]
async fn nothing_changes_in_a_dry_run_or_where_nobody_can_be_asked() {
    let world = World::new().await;
    read_before(&world, 2, "vendor_text = 'Old'").await;
    let before = all(&world).await;
    let dry = reparse(&world, &["--dry-run"]).await;
    assert!(dry.stdout.contains("vendor     Old → Blue Bottle Cafe"), "{}", dry.stdout);
    dry.ok();
    assert_eq!(all(&world).await, before);
    let error = reparse(&world, &[]).await.error();
    assert!(error.contains("nothing was written"), "{error}");
    assert_eq!(all(&world).await, before);
}

#[tokio::test]
async fn what_a_person_edited_is_left_alone() {
    let world = World::new().await;
    let receipts = read_before(&world, 3, "vendor_text = 'Old'").await;
    world.execute(&format!("UPDATE receipts SET total_amount = 9 WHERE id = '{}'", receipts[0])).await;
    world.execute(&format!("UPDATE receipts SET status = 'approved' WHERE id = '{}'", receipts[1])).await;
    let before = [world.row("receipts", &receipts[0]).await, world.row("receipts", &receipts[1]).await];
    let finished = reparse(&world, &["--yes", "--receipt", &receipts[0], "--receipt", &receipts[1]]).await;
    assert!(finished.logged_with("reparse.left_out", "a person edited it"), "{}", finished.stderr);
    assert!(finished.logged_with("reparse.left_out", "its status is approved"), "{}", finished.stderr);
    finished.ok();
    reparse(&world, &["--yes"]).await.ok();
    assert_eq!([world.row("receipts", &receipts[0]).await, world.row("receipts", &receipts[1]).await], before);
    let third = world.text("SELECT vendor_text FROM receipts WHERE id::text = $1", &[&receipts[2]]).await;
    assert_eq!(third, "Blue Bottle Cafe");
}

#[tokio::test]
async fn a_reading_that_is_the_same_gets_the_digest_only() {
    let world = World::new().await;
    read_before(&world, 1, "user_id = user_id").await;
    let finished = reparse(&world, &["--yes", "--json"]).await;
    assert!(finished.logged_with("reparse.finished", "same=1"), "{}", finished.stderr);
    assert_eq!(finished.ok(), "");
    assert_eq!(world.count(&format!("receipts WHERE ocr_component <> '{OLD}'")).await, 1);
}

#[tokio::test]
async fn a_field_that_is_lost_is_shown_as_such() {
    let world = World::new().await;
    let receipts = read_before(&world, 1, "vendor_text = vendor_text").await;
    // As if the older component had found what this one does not: a page without text.
    let key = world.text("SELECT ocr_s3_key FROM receipts", &[]).await;
    let empty = br#"{"DocumentMetadata":{"Pages":1},"Blocks":[]}"#.to_vec();
    world.aws.s3.put_object().bucket(tests::ARTIFACTS).key(key).body(empty.into()).send().await.unwrap();
    let finished = reparse(&world, &["--yes"]).await;
    assert!(finished.stdout.starts_with(&receipts[0]), "{}", finished.stdout);
    assert!(finished.stdout.contains("vendor     Blue Bottle Cafe → -  (lost)"), "{}", finished.stdout);
    assert!(finished.logged_with("reparse.finished", "lost=1"), "{}", finished.stderr);
    finished.ok();
    assert_eq!(world.count("receipts WHERE vendor_text IS NULL AND status = 'ocr_done'").await, 1);
}

#[tokio::test]
async fn a_receipt_that_cannot_be_read_stays_and_is_named() {
    let world = World::new().await;
    let receipts = read_before(&world, 4, "vendor_text = 'Old'").await;
    let key =
        async |receipt: &str| world.text("SELECT ocr_s3_key FROM receipts WHERE id::text = $1", &[&receipt]).await;
    let (missing, broken) = (key(&receipts[0]).await, key(&receipts[1]).await);
    world.aws.s3.delete_object().bucket(tests::ARTIFACTS).key(missing).send().await.unwrap();
    let body = b"no json".to_vec().into();
    world.aws.s3.put_object().bucket(tests::ARTIFACTS).key(broken).body(body).send().await.unwrap();
    // The app's own rule refuses this one.
    world
        .execute(&format!(
            "ALTER TABLE receipts ADD CONSTRAINT rule CHECK (id <> '{}' OR vendor_text <> 'Blue Bottle Cafe')",
            receipts[2]
        ))
        .await;
    let finished = reparse(&world, &["--yes", "--json"]).await;
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    let lines = finished.json_lines();
    let error = |receipt: &str| {
        let line = lines.iter().find(|line| line["receipt"] == receipt && !line["error"].is_null());
        line.unwrap_or_else(|| panic!("{lines:?}"))["error"].as_str().unwrap().to_owned()
    };
    assert!(error(&receipts[0]).contains("NoSuchKey"), "{}", error(&receipts[0]));
    assert!(error(&receipts[1]).contains("is no JSON"), "{}", error(&receipts[1]));
    assert!(error(&receipts[2]).contains("rule"), "{}", error(&receipts[2]));
    assert!(
        finished.logged_with("reparse.finished", "changed=1") && finished.logged_with("reparse.finished", "failed=3"),
        "{}",
        finished.stderr
    );
    assert_eq!(world.count(&format!("receipts WHERE vendor_text = 'Old' AND ocr_component = '{OLD}'")).await, 3);
}

#[tokio::test]
async fn receipts_are_chosen_by_age_by_id_and_by_who_read_them() {
    let world = World::new().await;
    let receipts = read_before(&world, 4, "vendor_text = 'Old'").await;
    let [aged, named, others, rest] = receipts.as_slice() else { panic!("{receipts:?}") };
    world
        .execute(&format!(
            "UPDATE receipts SET created_at = '2026-10-31 23:59:59+00' WHERE id = '{aged}';
             UPDATE receipts SET created_at = '2026-11-01 00:00:00+00' WHERE id = '{named}';
             UPDATE receipts SET ocr_component = '{NEW}', vendor_text = 'Old' WHERE id = '{others}'"
        ))
        .await;
    let read = async |args: &[&str]| -> Vec<String> {
        let finished = reparse(&world, &[&["--dry-run", "--json"], args].concat()).await;
        let mut read: Vec<String> =
            finished.json_lines().iter().map(|line| line["receipt"].as_str().unwrap().to_owned()).collect();
        finished.ok();
        read.sort_unstable();
        read
    };
    let sorted = |receipts: &[&String]| {
        let mut receipts: Vec<String> = receipts.iter().map(|receipt| (*receipt).clone()).collect();
        receipts.sort_unstable();
        receipts
    };
    assert_eq!(read(&["--batch", "1"]).await, sorted(&[aged, named, others, rest]));
    assert_eq!(read(&["--since", "2026-11-01"]).await, sorted(&[named, others, rest]));
    assert_eq!(read(&["--read-by", NEW]).await, sorted(&[others]));
    assert_eq!(read(&["--receipt", aged, "--receipt", rest]).await, sorted(&[aged, rest]));
    let error = reparse(&world, &["--receipt", "no-uuid"]).await.error();
    assert!(error.contains("no-uuid"), "{error}");
    let error = reparse(&world, &["--since", "2026-13-01"]).await.error();
    assert!(error.contains("2026-13-01"), "{error}");
}

#[tokio::test]
async fn a_pass_that_was_killed_goes_on_where_it_stopped() {
    let world = World::new().await;
    let receipts = read_before(&world, 8, "vendor_text = 'Old'").await;
    let mut sorted = receipts.clone();
    sorted.sort_unstable();
    // The fifth receipt's update waits for this test.
    world
        .execute(&format!(
            "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NEW; END $$;
             CREATE TRIGGER hold BEFORE UPDATE ON receipts FOR EACH ROW WHEN (OLD.id = '{}') EXECUTE FUNCTION hold();
             SELECT pg_advisory_lock(7)",
            sorted[4]
        ))
        .await;
    let host = world.host().args(["reparse", "--yes", "--json", "--batch", "1"]).spawn();
    let done = format!("receipts WHERE ocr_component <> '{OLD}'");
    eventually("four are done", async || (world.count(&done).await == 4).then_some(())).await;
    host.kill().await;
    let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'receipt-worker'";
    world.client.query_one(sql, &[]).await.unwrap();
    world.execute("SELECT pg_advisory_unlock(7); DROP TRIGGER hold ON receipts").await;
    assert_eq!(world.count(&done).await, 4);
    let finished = reparse(&world, &["--yes", "--json"]).await;
    assert_eq!(finished.json_lines().len(), 4, "{}", finished.stdout);
    finished.ok();
    assert_eq!(world.count(&done).await, 8);
    assert_eq!(world.textract.calls(), 8);
}

#[tokio::test]
async fn ctrl_c_ends_it_between_batches() {
    let world = World::new().await;
    let mut receipts = read_before(&world, 4, "vendor_text = 'Old'").await;
    receipts.sort_unstable();
    world
        .execute(&format!(
            "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NEW; END $$;
             CREATE TRIGGER hold BEFORE UPDATE ON receipts FOR EACH ROW WHEN (OLD.id = '{}') EXECUTE FUNCTION hold();
             SELECT pg_advisory_lock(7)",
            receipts[1]
        ))
        .await;
    let host = world.host().args(["reparse", "--yes", "--batch", "1"]).spawn();
    let done = format!("receipts WHERE ocr_component <> '{OLD}'");
    eventually("the first is done", async || (world.count(&done).await == 1).then_some(())).await;
    let waits =
        "pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event = 'advisory'";
    eventually("it waits", async || (world.count(waits).await == 1).then_some(())).await;
    host.signal(Signal::INT);
    // The signal is there before the batch ends: only then does the host go on.
    eventually("the signal is taken", async || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", host.pid())).unwrap();
        let pending = status.lines().filter(|line| line.starts_with("SigPnd") || line.starts_with("ShdPnd"));
        pending.into_iter().all(|line| line.ends_with("0000000000000000")).then_some(())
    })
    .await;
    world.execute("SELECT pg_advisory_unlock(7)").await;
    let finished = host.wait().await;
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    assert!(finished.logged("reparse.interrupted"), "{}", finished.stderr);
    assert_eq!(world.count(&done).await, 2);
}

/// Whoever edits between the look and the write wins, and whoever holds the row is not waited for.
#[tokio::test]
async fn the_race_with_an_editor_is_lost() {
    let world = World::new().await;
    let mut receipts = read_before(&world, 4, "vendor_text = 'Old'").await;
    receipts.sort_unstable();
    let reparser = Reparser::connect(&world.db.database(), NEW).await.unwrap();
    let page = reparser.page(&ReparseSelection::default(), None, 10).await.unwrap();
    assert_eq!(page.iter().map(|seen| seen.id.clone()).collect::<Vec<_>>(), receipts);
    let edit = |receipt: &str| format!("UPDATE receipts SET vendor_text = 'Mine' WHERE id = '{receipt}'");
    world.execute(&edit(&receipts[0])).await;
    // Somebody else's pass was here, with the same reading of the fields.
    world.execute(&format!("UPDATE receipts SET ocr_component = 'other' WHERE id = '{}'", receipts[1])).await;
    let editor = world.db.connect().await;
    editor.batch_execute(&format!("BEGIN; {}", edit(&receipts[2]))).await.unwrap();
    let reading = Completion { vendor: Some("New".to_owned()), ..Completion::default() };
    let rereads: Vec<Reread> =
        page.into_iter().map(|seen| Reread { seen, reading: reading.clone(), changed: true }).collect();
    let fates = reparser.write(&rereads).await.unwrap();
    assert_eq!(fates, [Written::Edited, Written::Edited, Written::Locked, Written::Written]);
    // What is locked now is edited when the editor is done: the write that was in between saw neither.
    let write = reparser.write(&rereads[2..3]);
    let commit = async { editor.batch_execute("COMMIT").await.unwrap() };
    let (fates, ()) = tokio::join!(write, commit);
    assert_eq!(fates.unwrap(), [Written::Edited]);
    let vendors = "SELECT string_agg(vendor_text, ',' ORDER BY id) FROM receipts";
    assert_eq!(world.text(vendors, &[]).await, "Mine,Old,Mine,New");
}

#[tokio::test]
async fn an_apps_own_column_types_make_no_differences() {
    let db = tests::TestDatabase::empty().await;
    let schema = "CREATE TABLE receipts (
        id varchar(40) PRIMARY KEY DEFAULT gen_random_uuid()::text, image_url text, status text NOT NULL DEFAULT 'pending',
        vendor_text char(40), total_amount double precision, currency char(5), receipt_date timestamptz, ocr_confidence real)";
    db.connect().await.batch_execute(schema).await.unwrap();
    let world = World::with(tests::WorldSettings { db: Some(db), ..Default::default() }).await;
    world.host().arg("migrate").run().await.ok();
    world.photo("a.jpg").await;
    world.execute("INSERT INTO receipts (image_url) VALUES ('a.jpg'), ('a.jpg')").await;
    assert_eq!(world.once().await["processed"], 2);
    old(&world, "image_url = image_url").await;
    let finished = reparse(&world, &["--yes", "--json", "--batch", "1"]).await;
    assert!(finished.logged_with("reparse.finished", "same=2"), "{}{}", finished.stdout, finished.stderr);
    finished.ok();
    old(&world, "vendor_text = 'Old'").await;
    let finished = reparse(&world, &["--yes", "--json", "--batch", "1"]).await;
    assert!(finished.logged_with("reparse.finished", "changed=2"), "{}{}", finished.stdout, finished.stderr);
    finished.ok();
}
