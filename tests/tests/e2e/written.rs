//! What the app's triggers and column types make of a result, looked at after it was written.

use host::ocr::local::{Reader, Recordings, sha256};
use tests::{TestDatabase, World, WorldSettings, answer, photo_bytes};

/// A world with this table and trigger body; `odd.jpg` is one photo of nine.
async fn world(columns: &str, trigger: &str) -> World {
    let db = TestDatabase::empty().await;
    let schema = format!(
        "CREATE TABLE receipts (id bigserial PRIMARY KEY, image_url text, status text NOT NULL DEFAULT 'pending', {columns});
         CREATE FUNCTION app() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {trigger} RETURN NEW; END $$;
         CREATE TRIGGER app BEFORE UPDATE ON receipts FOR EACH ROW EXECUTE FUNCTION app()"
    );
    db.connect().await.batch_execute(&schema).await.unwrap();
    let odd = photo_bytes();
    let recordings = Recordings::new()
        .with_default(answer("Cafe", "4.50", "2024-03-15"))
        .with_image(sha256(&odd), answer("Cafe", "1234.57", "2024-03-16"));
    let world = World::with(WorldSettings { db: Some(db), reader: Some(Reader::Recorded(recordings)) }).await;
    world.host().arg("migrate").run().await.ok();
    world.put("odd.jpg", odd).await;
    world.photo("usual.jpg").await;
    world
        .execute(
            "INSERT INTO receipts (image_url)
             SELECT CASE n WHEN 4 THEN 'odd.jpg' ELSE 'usual.jpg' END FROM generate_series(1, 9) n",
        )
        .await;
    world
}

/// The row said "processed", the receipt was pending for ever, and the log that a person had edited it.
#[tokio::test]
async fn a_trigger_that_skips_the_update_makes_nobody_done() {
    for skip in ["RETURN NULL;", "RETURN OLD;", "NEW.status := OLD.status;"] {
        let world = world("note text", &format!("IF OLD.image_url = 'odd.jpg' THEN {skip} END IF;")).await;
        let summary = world.once().await;
        assert_eq!((&summary["processed"], &summary["dead"]), (&8.into(), &0.into()), "{skip}: {summary}");
        assert_eq!(world.count("receipts WHERE status = 'ocr_done' AND vendor_text = 'Cafe'").await, 8, "{skip}");
        let waits =
            "SELECT concat_ws('|', attempts, last_error_code, last_error) FROM receipt_queue WHERE NOT processed";
        let waits = world.text(waits, &[]).await;
        assert!(
            waits.starts_with("0|queue.NotWritten|") && waits.contains("RETURN NULL, RETURN OLD"),
            "{skip}: {waits}"
        );
        // Nothing of it stayed.
        let row = "receipts WHERE image_url = 'odd.jpg' AND status = 'pending' AND vendor_text IS NULL AND ocr_s3_key IS NULL";
        assert_eq!(world.count(row).await, 1, "{skip}");
        world.execute("DROP TRIGGER app ON receipts; UPDATE receipt_queue SET available_at = now()").await;
        world.once().await;
        world.assert_settled(9).await;
        assert_eq!(world.count("receipt_queue_dlq").await, 0, "{skip}");
        assert_eq!(world.textract.calls(), 9, "{skip}");
    }
}

#[tokio::test]
async fn a_number_or_a_day_that_comes_back_different_is_that_receipts_failure() {
    for (columns, trigger, what) in [
        (
            "note text",
            "IF NEW.total_amount > 100 THEN NEW.total_amount := round(NEW.total_amount, 1); END IF;",
            "1234.57 came back as 1234.6",
        ),
        ("note text", "IF NEW.total_amount > 100 THEN NEW.total_amount := NULL; END IF;", "1234.57 came back as null"),
        (
            "note text",
            "IF NEW.total_amount > 100 THEN NEW.receipt_date := '2024-03-01'; END IF;",
            "2024-03-16 came back as 2024-03-01",
        ),
        // Six digits are all that it holds.
        (
            "total_amount real",
            "NEW.total_amount := CASE WHEN NEW.total_amount > 100 THEN NEW.total_amount * 1000 ELSE NEW.total_amount END;",
            "1234.57 came back as",
        ),
    ] {
        let world = world(columns, trigger).await;
        let summary = world.once().await;
        assert_eq!((&summary["processed"], &summary["dead"]), (&8.into(), &1.into()), "{what}: {summary}");
        world.assert_settled(9).await;
        let dead = "SELECT concat_ws('|', error_code, notes, error_message) FROM receipt_queue_dlq";
        let dead = world.text(dead, &[]).await;
        assert!(dead.starts_with("queue.ValueChanged|the database refused the result|"), "{dead}");
        assert!(dead.contains(what), "{dead}");
    }
}

/// Statuses, and how texts are spelled, are the app's.
#[tokio::test]
async fn an_apps_own_status_and_spelling_are_its_right_and_said_once() {
    let world = world(
        "note text",
        "IF NEW.status = 'ocr_done' THEN NEW.status := 'to_review'; NEW.vendor_text := upper(NEW.vendor_text); END IF;",
    )
    .await;
    let finished = world.run(&["--once"]).run().await;
    assert_eq!(tests::events(&finished.stderr, "receipt.reworded").len(), 1, "{}", finished.stderr);
    assert!(!finished.logged("receipt.edited_meanwhile"), "{}", finished.stderr);
    assert_eq!(finished.json()["processed"], 9);
    assert_eq!(world.count("receipts WHERE status = 'to_review' AND vendor_text = 'CAFE'").await, 9);
}

#[tokio::test]
async fn a_total_that_cannot_hold_cents_is_refused_by_name() {
    for (kind, holds) in [
        ("integer", false),
        ("bigint", false),
        ("smallint", false),
        ("numeric(8)", false),
        ("numeric(8,1)", false),
        ("whole", false),
        ("numeric", true),
        ("numeric(8,2)", true),
        ("numeric(8,3)", true),
        ("double precision", true),
        ("varchar(12)", true),
        ("text", true),
        ("money", true),
    ] {
        let db = TestDatabase::empty().await;
        let schema = format!(
            "CREATE DOMAIN whole AS integer;
             CREATE TABLE receipts (id bigserial PRIMARY KEY, image_url text, status text DEFAULT 'pending', total_amount {kind})"
        );
        db.connect().await.batch_execute(&schema).await.unwrap();
        let world = World::with(WorldSettings { db: Some(db), ..Default::default() }).await;
        let migrated = world.host().arg("migrate").run().await;
        if holds {
            migrated.ok();
            world.photo("a.jpg").await;
            world.execute("INSERT INTO receipts (image_url) VALUES ('a.jpg')").await;
            assert_eq!(world.once().await["processed"], 1, "{kind}");
            assert_eq!(world.count("receipts WHERE total_amount::text ~ '4[.]50*$'").await, 1, "{kind}");
            // The app's schema moves on.
            world.execute("ALTER TABLE receipts ALTER COLUMN total_amount TYPE integer USING 4").await;
            let doctor = world.host().arg("doctor").run().await;
            assert!(
                doctor.stdout.contains("total_amount has the type integer, which cannot hold cents"),
                "{}",
                doctor.stdout
            );
            assert_eq!(doctor.code, Some(1), "{kind}");
        } else {
            let error = migrated.error();
            let name = if kind == "numeric(8)" { "numeric(8,0)" } else { kind };
            assert!(error.contains(&format!("has the type {name}, which cannot hold cents")), "{error}");
            assert!(error.contains("ALTER TABLE"), "{error}");
            world.execute("ALTER TABLE receipts ALTER COLUMN total_amount TYPE numeric(12, 2)").await;
            world.host().arg("migrate").run().await.ok();
        }
    }
}

/// A new reading goes the same way.
#[tokio::test]
async fn a_new_reading_that_comes_back_different_is_not_written() {
    let world =
        world("note text", "IF NEW.note = 'round' THEN NEW.total_amount := round(NEW.total_amount); END IF;").await;
    assert_eq!(world.once().await["processed"], 9);
    world
        .execute(
            "UPDATE receipts SET vendor_text = 'Old', ocr_component = 'older';
             UPDATE receipts SET note = 'round', total_amount = 1235 WHERE image_url = 'odd.jpg'",
        )
        .await;
    world.execute("UPDATE receipts SET ocr_component = 'older' WHERE image_url = 'odd.jpg'").await;
    let finished = world.host().args(["reparse", "--yes", "--json"]).run().await;
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    assert!(finished.stdout.contains("1234.57 came back as 1235"), "{}", finished.stdout);
    assert_eq!(world.count("receipts WHERE vendor_text = 'Cafe'").await, 8);
}

/// In a column of text a day has the same words, whatever a session's DateStyle is.
#[tokio::test]
async fn a_day_in_a_column_of_text_is_iso_8601() {
    let db = TestDatabase::empty().await;
    db.connect()
        .await
        .batch_execute("CREATE TABLE receipts (id bigserial PRIMARY KEY, receipt_date text)")
        .await
        .unwrap();
    let world = World::with(WorldSettings { db: Some(db), ..Default::default() }).await;
    let name = world.text("SELECT current_database()::text", &[]).await;
    world.execute(&format!("ALTER DATABASE {name} SET DateStyle = 'SQL, DMY'")).await;
    world.host().arg("migrate").run().await.ok();
    world.photo("a.jpg").await;
    world.execute("INSERT INTO receipts (image_url) VALUES ('a.jpg'); INSERT INTO receipts (image_url, currency) VALUES ('a.jpg', 'EUR')").await;
    assert_eq!(world.once().await["processed"], 2);
    assert_eq!(world.count("receipts WHERE receipt_date = '2024-03-15'").await, 2);
}

/// Columns of the app's may have a collation in which no pattern can be looked for, each its own.
#[tokio::test]
async fn columns_of_any_collation_are_written() {
    let db = TestDatabase::empty().await;
    let client = db.connect().await;
    let collation = "CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)";
    if client.batch_execute(collation).await.is_err() {
        // Not every Postgres is built with ICU.
        return;
    }
    client
        .batch_execute(
            "CREATE TABLE receipts (id text COLLATE nocase PRIMARY KEY DEFAULT gen_random_uuid()::text,
                 status text COLLATE nocase NOT NULL DEFAULT 'pending', image_url text COLLATE \"C\", s3_key text COLLATE nocase,
                 vendor_text text COLLATE nocase, total_amount text COLLATE nocase, receipt_date text COLLATE nocase,
                 currency text COLLATE \"C\", ocr_s3_key text COLLATE nocase, ocr_component text COLLATE nocase)",
        )
        .await
        .unwrap();
    let world = World::with(WorldSettings { db: Some(db), ..Default::default() }).await;
    world.host().arg("migrate").run().await.ok();
    world.photo("a.jpg").await;
    world
        .execute(
            "INSERT INTO receipts (image_url) VALUES ('a.jpg'), ('gone.jpg');
             INSERT INTO receipts (image_url, currency) VALUES ('a.jpg', 'EUR')",
        )
        .await;
    let summary = world.once().await;
    assert_eq!((&summary["processed"], &summary["dead"]), (&2.into(), &1.into()), "{summary}");
    world.execute("UPDATE receipts SET s3_key = 'a.jpg' WHERE status = 'ocr_failed'").await;
    assert_eq!(world.once().await["processed"], 1);
    assert!(world.host().arg("doctor").run().await.stdout.contains("ok    settle"));
    world.host().args(["reparse", "--yes"]).run().await.ok();
    world.assert_settled(3).await;
}
