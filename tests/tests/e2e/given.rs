//! What the app gave when it inserted a receipt is the app's, and stays; the rest is read. Whatever the session of the one that
//! inserted it makes of a value's looks.

use host::ocr::local::{Reader, Recordings, sha256};
use tests::{TestDatabase, World, WorldSettings, answer, photo_bytes};

const FIELDS: &str = "concat_ws('|', status, vendor_text, total_amount, currency, to_jsonb(receipt_date) #>> '{}')";

/// A world with this table, whose photo `euro.jpg` shows its currency; `plain.jpg` shows none.
async fn world(schema: &str) -> World {
    let db = TestDatabase::empty().await;
    db.connect().await.batch_execute(schema).await.unwrap();
    let (plain, euro) = (photo_bytes(), photo_bytes());
    let read = |sign: &str| String::from_utf8(answer("Cafe", "4.50", "2024-03-15")).unwrap().replace('$', sign);
    let recordings = Recordings::new()
        .with_image(sha256(&plain), read("").into_bytes())
        .with_image(sha256(&euro), read("EUR ").into_bytes());
    let world = World::with(WorldSettings { db: Some(db), reader: Some(Reader::Recorded(recordings)) }).await;
    world.host().arg("migrate").run().await.ok();
    world.put("plain.jpg", plain).await;
    world.put("euro.jpg", euro).await;
    world
}

async fn fields(world: &World) -> String {
    world.text(&format!("SELECT string_agg({FIELDS}, ' ' ORDER BY created_at) FROM receipts"), &[]).await
}

const USUAL: &str = "CREATE TABLE receipts (id bigserial PRIMARY KEY, image_url text, status text NOT NULL DEFAULT 'pending',
    vendor_text text, total_amount numeric, currency text, receipt_date date, created_at timestamptz DEFAULT clock_timestamp())";

#[tokio::test]
async fn what_the_app_gave_at_insert_stays_and_the_rest_is_read() {
    for (columns, values, expected) in [
        ("vendor_text", "'Typed'", "ocr_done|Typed|4.50|EUR|2024-03-15"),
        ("total_amount", "9.99", "ocr_done|Cafe|9.99|EUR|2024-03-15"),
        ("currency", "'USD'", "ocr_done|Cafe|4.50|USD|2024-03-15"),
        ("receipt_date", "'2001-01-01'", "ocr_done|Cafe|4.50|EUR|2001-01-01"),
        (
            "vendor_text, total_amount, currency, receipt_date",
            "'a', 1, 'USD', '2001-01-01'",
            "ocr_done|a|1|USD|2001-01-01",
        ),
        // Nobody gives nothing.
        ("vendor_text, total_amount, currency", "' ', 0, ''", "ocr_done|Cafe|4.50|EUR|2024-03-15"),
    ] {
        let world = world(USUAL).await;
        let insert = format!("INSERT INTO receipts (image_url, {columns}) VALUES ('euro.jpg', {values})");
        world.execute(&insert).await;
        assert_eq!(world.once().await["processed"], 1);
        assert_eq!(fields(&world).await, expected);
        // What is not a component's as a whole carries no digest: a new component leaves it alone.
        let digest = i64::from(columns.ends_with("currency") && columns.starts_with("vendor"));
        assert_eq!(world.count("receipts WHERE ocr_component IS NOT NULL").await, digest, "{columns}");
        world.execute("UPDATE receipts SET ocr_component = 'older' WHERE ocr_component IS NOT NULL").await;
        world.host().args(["reparse", "--yes"]).run().await.ok();
        assert_eq!(fields(&world).await, expected);
    }
}

#[tokio::test]
async fn a_default_stays_only_where_nothing_is_read() {
    let world = world(
        "CREATE TABLE receipts (id bigserial PRIMARY KEY, image_url text, status text NOT NULL DEFAULT 'pending',
            vendor_text varchar(40) NOT NULL DEFAULT 'unknown', total_amount numeric(12,2) NOT NULL DEFAULT 0,
            currency char(3) NOT NULL DEFAULT 'USD', receipt_date timestamp NOT NULL DEFAULT timezone('utc'::text, now()),
            created_at timestamptz DEFAULT clock_timestamp())",
    )
    .await;
    world.execute("INSERT INTO receipts (image_url) VALUES ('plain.jpg'), ('euro.jpg')").await;
    assert_eq!(world.once().await["processed"], 2);
    let read = "ocr_done|Cafe|4.50|USD|2024-03-15T00:00:00 ocr_done|Cafe|4.50|EUR|2024-03-15T00:00:00";
    assert_eq!(fields(&world).await, read);
    assert_eq!(world.count("receipts WHERE currency = 'EUR' AND ocr_component IS NOT NULL").await, 1);
    // Read anew, with nothing in the place of what was read before: the column takes no null.
    world.execute("UPDATE receipts SET image_url = 'plain.jpg' WHERE image_url = 'euro.jpg'").await;
    assert_eq!(world.once().await["processed"], 1);
    assert_eq!(fields(&world).await, read);
}

/// A default that is evaluated for its looks alone must not do anything.
#[tokio::test]
async fn a_default_that_does_something_is_not_evaluated() {
    let world = world(
        "CREATE SEQUENCE numbers;
         CREATE TABLE receipts (id bigserial PRIMARY KEY, image_url text, status text NOT NULL DEFAULT 'pending',
            vendor_text text DEFAULT 'shop ' || nextval('numbers'), created_at timestamptz DEFAULT clock_timestamp())",
    )
    .await;
    world.execute("INSERT INTO receipts (image_url) VALUES ('euro.jpg')").await;
    assert_eq!(world.once().await["processed"], 1);
    assert_eq!(fields(&world).await, "ocr_done|shop 1|4.50|EUR|2024-03-15");
    assert_eq!(world.count("numbers WHERE last_value = 1").await, 1);
}

/// What stays, stays: through the dead letters, a replaced photo, and a second reading. What a component read is read anew.
#[tokio::test]
async fn what_the_app_gave_stays_however_often_it_is_read() {
    let world = world(USUAL).await;
    let insert = "INSERT INTO receipts (image_url, vendor_text, receipt_date) VALUES ('nowhere.jpg', 'Typed', NULL)";
    world.execute(insert).await;
    world.execute("UPDATE receipts SET image_url = 'elsewhere.jpg'").await;
    world.execute("UPDATE receipt_queue SET enqueued_at = now() - interval '1 day'").await;
    assert_eq!(world.once().await["dead"], 1);
    world.put("elsewhere.jpg", photo_bytes()).await;
    world.host().args(["dlq", "retry", "--all"]).run().await.ok();
    world.execute("UPDATE receipts SET image_url = 'plain.jpg'").await;
    assert_eq!(world.once().await["processed"], 1);
    assert_eq!(fields(&world).await, "ocr_done|Typed|4.50|2024-03-15");
    // The reading was a worse one.
    for change in ["total_amount = 1, status = 'pending'", "total_amount = 2, image_url = 'euro.jpg'"] {
        world.execute(&format!("UPDATE receipts SET {change}")).await;
        assert_eq!(world.once().await["processed"], 1);
        assert!(fields(&world).await.starts_with("ocr_done|Typed|4.50|"), "{change}");
    }
    assert_eq!(fields(&world).await, "ocr_done|Typed|4.50|EUR|2024-03-15");
}

/// "A person edited it", said the worker, and dropped what it had paid for, because its session wrote the date otherwise.
#[tokio::test]
async fn what_looks_otherwise_in_another_session_is_no_edit() {
    let types = [
        ("timestamptz", "numeric"),
        ("timestamptz", "money"),
        ("timestamp", "double precision"),
        ("date", "real"),
        ("text", "double precision"),
    ];
    for (date, total) in types {
        let world = world(&format!(
            "CREATE TABLE receipts (id bigserial PRIMARY KEY, image_url text, status text NOT NULL DEFAULT 'pending',
                vendor_text text, total_amount {total}, currency text, receipt_date {date} DEFAULT now(),
                created_at timestamptz DEFAULT clock_timestamp())"
        ))
        .await;
        let app = world.db.connect().await;
        app.batch_execute(
            "SET TimeZone = 'Europe/Berlin'; SET DateStyle = 'German, DMY'; SET IntervalStyle = 'sql_standard';
             SET extra_float_digits = -5; INSERT INTO receipts (image_url) VALUES ('euro.jpg');
             INSERT INTO receipts (image_url, total_amount) VALUES ('euro.jpg', 1234.5678::numeric)",
        )
        .await
        .unwrap();
        // What a component has read, and what is to be read anew.
        app.batch_execute(
            "UPDATE receipts SET status = 'ocr_done', ocr_s3_key = 'k', total_amount = 12.3456789::numeric WHERE total_amount IS NULL;
             UPDATE receipts SET status = 'pending' WHERE status = 'ocr_done'",
        )
        .await
        .unwrap();
        let worker =
            format!("ALTER DATABASE {} SET TimeZone = 'UTC'", world.text("SELECT current_database()::text", &[]).await);
        world.execute(&worker).await;
        assert_eq!(world.once().await["processed"], 2, "{date}, {total}");
        let vendors = "receipts WHERE vendor_text = 'Cafe' AND currency = 'EUR' AND status = 'ocr_done'";
        assert_eq!(world.count(vendors).await, 2, "{date}, {total}: {}", fields(&world).await);
        let read = "receipts WHERE total_amount::text ~ '4[.]50?$' AND ocr_s3_key <> 'k'";
        assert_eq!(world.count(read).await, 1, "{date}, {total}: {}", fields(&world).await);
    }
}

/// In the queue since before it was known whose a value is, and in the words of the session that wrote it.
#[tokio::test]
async fn what_was_queued_by_the_old_rules_is_neither_lost_nor_overwritten() {
    let world = world(
        "CREATE TABLE receipts (id bigserial PRIMARY KEY, image_url text, status text NOT NULL DEFAULT 'pending',
            vendor_text text, total_amount numeric, currency text, receipt_date timestamptz,
            created_at timestamptz DEFAULT clock_timestamp())",
    )
    .await;
    world
        .execute(
            "INSERT INTO receipts (image_url, vendor_text, receipt_date) VALUES ('euro.jpg', 'Typed', '2001-01-01 00:00+00');
             INSERT INTO receipts (image_url, vendor_text) VALUES ('euro.jpg', 'Read before');
             INSERT INTO receipts (image_url, vendor_text) VALUES ('euro.jpg', NULL);
             UPDATE receipts SET ocr_s3_key = 'k' WHERE vendor_text = 'Read before';
             SET TimeZone = 'Europe/Berlin';
             UPDATE receipt_queue q
             SET receipt_whose = NULL,
                 receipt_before = jsonb_build_array(r.vendor_text, r.total_amount, r.currency, r.receipt_date)
             FROM receipts r WHERE r.id = q.receipt_id;
             SET TimeZone = 'UTC'",
        )
        .await;
    assert_eq!(world.count("receipt_queue WHERE receipt_before ->> 3 LIKE '%+01:00'").await, 1);
    assert_eq!(world.once().await["processed"], 3);
    assert_eq!(
        fields(&world).await,
        "ocr_done|Typed|4.50|EUR|2001-01-01T00:00:00+00:00 ocr_done|Cafe|4.50|EUR|2024-03-15T00:00:00+00:00 \
         ocr_done|Cafe|4.50|EUR|2024-03-15T00:00:00+00:00"
    );
}

/// As people read them, and scripts.
#[tokio::test]
async fn dates_are_iso_8601_whatever_the_databases_datestyle() {
    let world = World::new().await;
    let name = world.text("SELECT current_database()::text", &[]).await;
    world.execute(&format!("ALTER DATABASE {name} SET DateStyle = 'German, DMY'")).await;
    let photo = world.dir().join("photo.jpg");
    std::fs::write(&photo, photo_bytes()).unwrap();
    let host = world.run(&["--every", "1h"]).spawn();
    let enqueued = world.host().args(["enqueue", "--wait", "--json"]).arg(&photo).run().await;
    host.stop().await.ok();
    assert_eq!(enqueued.json()["date"], "2024-03-15");
    world.execute("UPDATE receipts SET receipt_date = '2001-02-03', ocr_component = 'older'").await;
    let reparsed = world.host().args(["reparse", "--dry-run", "--json"]).run().await;
    assert!(reparsed.stdout.contains("2001-02-03") && reparsed.stdout.contains("2024-03-15"), "{}", reparsed.stdout);
}
