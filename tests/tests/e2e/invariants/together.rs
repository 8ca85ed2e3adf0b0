//! 3. The receipt's fields and its queue row change in one transaction.

use tests::{World, eventually};

use super::everything;
use crate::pump::{claimed, complete, dead_letter};

/// Makes updates of a table fail with what passes and is no fault of the row: Postgres itself finds the table in use. What a
/// trigger raises would be the app's word on this row, by whatever code.
async fn break_updates(world: &World, table: &str, when: &str) {
    world
        .execute(&format!(
            "CREATE SEQUENCE tries;
             CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
                 BEGIN
                     PERFORM nextval('tries');
                     EXECUTE format('ALTER TABLE %I ADD COLUMN x integer', TG_TABLE_NAME);
                 END $$;
             CREATE TRIGGER refuse BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION refuse()"
        ))
        .await;
}

#[tokio::test]
async fn invariant_3_receipt_and_queue_row_change_together_or_not_at_all() {
    for (outcome, status) in [(complete("V", "1.00"), "ocr_done"), (dead_letter(), "ocr_failed")] {
        for table in ["receipts", "receipt_queue"] {
            let world = World::new().await;
            let receipt = world.insert("a.jpg").await;
            let (pump, job) = claimed(&world).await;
            let before = everything(&world).await;
            break_updates(&world, table, "true").await;
            let settle = pump.settle(&job, outcome.clone(), None);
            let watch = async {
                eventually("two tries", async || {
                    let tries: i64 = world.client.query_one("SELECT last_value FROM tries", &[]).await.unwrap().get(0);
                    (tries >= 2).then_some(())
                })
                .await;
                assert_eq!(everything(&world).await, before, "{status} with a broken {table}");
                world.execute(&format!("DROP TRIGGER refuse ON {table}")).await;
            };
            let (settled, ()) = tokio::join!(settle, watch);
            settled.unwrap();
            assert_eq!(world.status_of(&receipt).await, status);
            world.assert_settled(1).await;
        }
    }
}

#[tokio::test]
async fn invariant_3_nobody_ever_sees_one_without_the_other() {
    let world = World::new().await;
    world.receipts(12).await;
    world.insert("nowhere.jpg").await;
    let host = world.run(&["--every", "1h", "--concurrency", "2"]).spawn();
    let torn = "receipts r
        LEFT JOIN receipt_queue q ON q.receipt_id = r.id
        LEFT JOIN receipt_queue_dlq d ON d.receipt_id = r.id
        WHERE (r.status = 'pending') IS DISTINCT FROM (q.receipt_id IS NOT NULL AND NOT q.processed)
           OR (r.status = 'ocr_failed') IS DISTINCT FROM (d.receipt_id IS NOT NULL)";
    eventually("an end", async || {
        assert_eq!(world.count(torn).await, 0);
        (world.count("receipts WHERE status = 'pending'").await == 0).then_some(())
    })
    .await;
    host.stop().await.ok();
}
