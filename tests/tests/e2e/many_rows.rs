//! Statements of the app that change very many rows, in a session that has changed one before: no join of theirs compares each
//! with each. Told by the executor's own count, not by time.

use std::sync::{Arc, Mutex};

use tests::{TestDatabase, World};
use tokio_postgres::{AsyncMessage, Client, NoTls};

const MANY: usize = 5_000;

/// A session in which the server says how each statement inside the triggers was executed; nothing where that is not installed.
async fn explained(db: &TestDatabase) -> Option<(Client, Arc<Mutex<Vec<String>>>)> {
    let (client, mut connection) = tokio_postgres::connect(db.url(), NoTls).await.unwrap();
    let plans: Arc<Mutex<Vec<String>>> = Arc::default();
    let told = Arc::clone(&plans);
    tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notice(notice) = message {
                told.lock().unwrap().push(notice.message().to_owned());
            }
        }
    });
    client.batch_execute("LOAD 'auto_explain'").await.ok()?;
    client
        .batch_execute(
            "SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on;
             SET auto_explain.log_analyze = on; SET auto_explain.log_timing = off; SET auto_explain.log_level = notice",
        )
        .await
        .unwrap();
    Some((client, plans))
}

/// Rows that joins looked at and dropped, and the plan that dropped most.
fn compared(plans: &Arc<Mutex<Vec<String>>>) -> (u64, String) {
    let plans = std::mem::take(&mut *plans.lock().unwrap());
    let removed = |plan: &str| -> u64 {
        let lines = plan.lines().filter_map(|line| line.trim().strip_prefix("Rows Removed by Join Filter: "));
        lines.map(|count| count.parse::<u64>().unwrap()).sum()
    };
    plans.into_iter().map(|plan| (removed(&plan), plan)).max().unwrap_or_default()
}

#[tokio::test]
async fn a_session_that_changes_one_row_and_then_many_joins_nothing_quadratically() {
    let world = World::new().await;
    let Some((app, plans)) = explained(&world.db).await else { return };
    let run = async |sql: &str| app.batch_execute(sql).await.unwrap();
    // Each plan is made while there is one row in every table.
    run("INSERT INTO receipts (image_url) VALUES ('first')").await;
    let told = plans.lock().unwrap().join("\n");
    assert!(
        told.contains("receipt_queue") && told.contains("rows="),
        "the server does not say how it executes: {told}"
    );
    let bury = "WITH gone AS (DELETE FROM receipt_queue RETURNING *)
        INSERT INTO receipt_queue_dlq
            (receipt_id, s3_key, error_kind, error_code, error_message, attempts, claims, enqueued_at, settled_token, deaths)
        SELECT receipt_id, s3_key, 'internal', 'c', 'm', 1, 1, now(), 1, 1 FROM gone";
    let each = [
        "UPDATE receipts SET image_url = image_url || '+'",
        "UPDATE receipts SET status = 'ocr_failed'",
        bury,
        "UPDATE receipts SET status = 'pending'",
        bury,
        "UPDATE receipts SET status = 'ocr_done'",
        "UPDATE receipts SET image_url = image_url || '+'",
    ];
    for _ in 0..7 {
        for sql in each {
            run(sql).await;
        }
    }
    run(&format!("INSERT INTO receipts (image_url) SELECT 'p-' || n FROM generate_series(1, {MANY}) n")).await;
    for sql in each {
        compared(&plans);
        run(sql).await;
        let (removed, plan) = compared(&plans);
        assert!(removed <= 4 * MANY as u64, "{removed} rows were compared in vain by {sql}:\n{plan}");
    }
    let settled = "SELECT concat_ws(' ', (SELECT count(*) FROM receipt_queue WHERE NOT processed), (SELECT count(*) FROM receipt_queue_dlq))";
    assert_eq!(world.text(settled, &[]).await, format!("{} 0", MANY + 1));
}

/// What the verb sends, and what its trigger does.
#[tokio::test]
async fn a_retry_of_all_dead_letters_joins_nothing_quadratically() {
    let world = World::new().await;
    world
        .execute(&format!(
            "INSERT INTO receipts (image_url) SELECT 'p-' || n FROM generate_series(1, {MANY}) n;
             WITH gone AS (DELETE FROM receipt_queue RETURNING *)
             INSERT INTO receipt_queue_dlq
                 (receipt_id, s3_key, error_kind, error_code, error_message, attempts, claims, enqueued_at, settled_token, deaths)
             SELECT receipt_id, s3_key, 'internal', 'c', 'm', 1, 1, now(), 1, 1 FROM gone;
             UPDATE receipts SET status = 'ocr_failed' WHERE image_url <> 'p-1'"
        ))
        .await;
    let Some((mut client, plans)) = explained(&world.db).await else { return };
    let which = host::queue::dead_letters::DeadLetterSelection::All;
    assert_eq!(host::queue::dead_letters::retry(&mut client, &which).await.unwrap().len(), MANY);
    assert!(plans.lock().unwrap().iter().any(|plan| plan.contains("INSERT INTO public.receipt_queue")));
    let (removed, plan) = compared(&plans);
    assert!(removed <= 4 * MANY as u64, "{removed} rows were compared in vain:\n{plan}");
    assert_eq!(world.count("receipt_queue WHERE NOT processed AND deaths = 1").await, MANY as i64);
}
