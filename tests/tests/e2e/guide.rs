//! Every query of the deployment guide that operators of this pattern have, unchanged, and what the guide says to them.

use tests::{TestDatabase, World, WorldSettings};
use tokio_postgres::SimpleQueryMessage;

type Row = Vec<(String, Option<String>)>;

/// Runs a file of the guide as psql does; the rows of each statement that has some to give.
async fn guide(world: &World, file: &str) -> Vec<Vec<Row>> {
    let path = format!("{}/fixtures/guide/{file}.sql", env!("CARGO_MANIFEST_DIR"));
    let sql = std::fs::read_to_string(path).unwrap();
    let (mut answers, mut rows, mut is_query) = (Vec::new(), Vec::new(), false);
    for message in world.client.simple_query(&sql).await.unwrap() {
        match message {
            SimpleQueryMessage::RowDescription(_) => is_query = true,
            SimpleQueryMessage::Row(row) => rows.push(
                row.columns()
                    .iter()
                    .enumerate()
                    .map(|(i, column)| (column.name().to_owned(), row.get(i).map(str::to_owned)))
                    .collect(),
            ),
            SimpleQueryMessage::CommandComplete(_) if is_query => {
                answers.push(std::mem::take(&mut rows));
                is_query = false;
            }
            _ => {}
        }
    }
    answers
}

fn value<'a>(row: &'a Row, name: &str) -> Option<&'a str> {
    row.iter().find(|(column, _)| column == name).unwrap_or_else(|| panic!("no column {name}")).1.as_deref()
}

fn columns(row: &Row) -> Vec<&str> {
    row.iter().map(|(name, _)| name.as_str()).collect()
}

#[tokio::test]
async fn step_1_2_tables_trigger_and_views_are_there() {
    let world = World::with(WorldSettings { db: Some(TestDatabase::empty().await), ..Default::default() }).await;
    world.host().arg("migrate").run().await.ok();
    let answers = guide(&world, "1.2-verify").await;
    let [tables, triggers, views] = answers.as_slice() else { panic!("{answers:?}") };
    let mut names: Vec<_> = tables.iter().map(|row| value(row, "table_name").unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["receipt_queue", "receipt_queue_dlq"]);
    assert_eq!(triggers.len(), 1);
    assert_eq!(value(&triggers[0], "event_object_table"), Some("receipts"));
    assert_eq!(value(&triggers[0], "event_manipulation"), Some("INSERT"));
    let mut names: Vec<_> = views.iter().map(|row| value(row, "table_name").unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["vw_receipt_queue_backlog", "vw_receipt_queue_failures", "vw_receipt_queue_status"]);
}

#[tokio::test]
async fn step_1_3_an_inserted_receipt_is_queued() {
    let world = World::new().await;
    let answers = guide(&world, "1.3-test-trigger").await;
    let [queued] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!(queued.len(), 1);
    let id = world.text("SELECT id::text FROM receipts", &[]).await;
    assert_eq!(value(&queued[0], "receipt_id"), Some(id.as_str()));
    assert_eq!(value(&queued[0], "processed"), Some("f"));
    assert_eq!(value(&queued[0], "attempts"), Some("0"));
    assert_eq!(value(&queued[0], "s3_key"), Some("receipts/test/image.jpg"));
}

#[tokio::test]
async fn steps_3_1_to_3_4_a_receipt_goes_in_and_its_result_comes_out() {
    let world = World::new().await;
    world.photo("receipts/test-user/test.jpg").await;
    let answers = guide(&world, "3.1-insert-receipt").await;
    let [queued] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!(value(&queued[0], "processed"), Some("f"));
    assert_eq!(value(&queued[0], "attempts"), Some("0"));
    let receipt = value(&queued[0], "receipt_id").unwrap().to_owned();

    let summary = world.once().await;
    assert_eq!(summary["processed"], 1);

    let answers = guide(&world, "3.4-verify-receipt").await;
    let [done, processed] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!(done.len(), 1);
    assert_eq!(value(&done[0], "id"), Some(receipt.as_str()));
    assert_eq!(value(&done[0], "vendor_text"), Some("Blue Bottle Cafe"));
    assert_eq!(value(&done[0], "total_amount"), Some("4.50"));
    let confidence: f64 = value(&done[0], "ocr_confidence").unwrap().parse().unwrap();
    assert!((1.0..=100.0).contains(&confidence), "{confidence}");
    let key = value(&done[0], "ocr_s3_key").unwrap();
    assert_eq!(world.artifact(key).await, world.textract.last_body().unwrap());
    assert_eq!(processed.len(), 1);
    assert_eq!(value(&processed[0], "receipt_id"), Some(receipt.as_str()));
    assert!(value(&processed[0], "processed_at").is_some());

    let answers = guide(&world, "monitoring-receipts").await;
    assert_eq!(value(&answers[0][0], "status"), Some("ocr_done"));
}

#[tokio::test]
async fn the_status_view_counts_pending_processed_and_dead() {
    let world = World::new().await;
    let statuses = async || -> Vec<(String, i64)> {
        let answers = guide(&world, "monitoring-status").await;
        let [rows] = answers.as_slice() else { panic!("{answers:?}") };
        assert_eq!(columns(&rows[0]), ["status", "count", "avg_age_seconds", "max_age_seconds"]);
        for row in rows {
            let (avg, max): (i64, i64) = (
                value(row, "avg_age_seconds").unwrap().parse().unwrap(),
                value(row, "max_age_seconds").unwrap().parse().unwrap(),
            );
            assert!(0 <= avg && avg <= max, "{row:?}");
        }
        rows.iter()
            .map(|row| (value(row, "status").unwrap().to_owned(), value(row, "count").unwrap().parse().unwrap()))
            .collect()
    };
    let expected = |counts: [i64; 3]| {
        ["pending", "processed", "dlq"].map(str::to_owned).into_iter().zip(counts).collect::<Vec<_>>()
    };
    assert_eq!(statuses().await, expected([0, 0, 0]));

    world.receipts(3).await;
    world.insert("nowhere.jpg").await;
    assert_eq!(statuses().await, expected([4, 0, 0]));
    world.execute("UPDATE receipt_queue SET enqueued_at = now() - interval '90 seconds'").await;
    let age =
        world.text("SELECT max_age_seconds::text FROM vw_receipt_queue_status WHERE status = 'pending'", &[]).await;
    assert!((90..600).contains(&age.parse::<i64>().unwrap()), "{age}");

    world.once().await;
    assert_eq!(statuses().await, expected([0, 3, 1]));
}

#[tokio::test]
async fn the_failures_view_says_what_died_of_what() {
    let world = World::new().await;
    assert!(guide(&world, "monitoring-failures").await[0].is_empty());
    let receipt = world.insert("nowhere.jpg").await;
    world.once().await;
    let answers = guide(&world, "monitoring-failures").await;
    let row = &answers[0][0];
    assert_eq!(columns(row), ["receipt_id", "s3_key", "error_message", "attempts", "failed_at", "notes"]);
    assert_eq!(value(row, "receipt_id"), Some(receipt.as_str()));
    assert_eq!(value(row, "s3_key"), Some("nowhere.jpg"));
    assert!(value(row, "error_message").unwrap().contains("nowhere.jpg"));
    assert_eq!(value(row, "attempts"), Some("1"));
    assert_eq!(value(row, "notes"), Some("permanent failure"));

    let answers = guide(&world, "troubleshooting").await;
    assert_eq!(value(&answers[0][0], "count"), Some("0"));
    assert_eq!(value(&answers[1][0], "count"), Some("1"));
    assert!(value(&answers[2][0], "error_message").is_some());
}

#[tokio::test]
async fn attempts_that_are_used_up_are_noted_as_such() {
    let world = World::new().await;
    world.textract.faults().always(host::ocr::local::Fault::error("UnheardOfException", 400));
    world.receipt("a.jpg").await;
    world.run(&["--once", "--max-attempts", "1"]).run().await.ok();
    let answers = guide(&world, "monitoring-failures").await;
    assert_eq!(value(&answers[0][0], "notes"), Some("max attempts exceeded"));
}
