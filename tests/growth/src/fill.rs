//! Tables of millions of rows, within minutes: without triggers, and with the indexes made afterwards.

use host::queue::Database;

/// Fills the queue with processed rows of the last month and with waiting ones, and their receipts. As it stands after a
/// vacuum.
pub async fn fill(database: &Database, processed: i64, waiting: i64) -> anyhow::Result<()> {
    let client = database.connect().await?.into_driver();
    // Foreign keys go first and come last.
    let sql = "SELECT
            string_agg(format('ALTER TABLE %s DROP CONSTRAINT %I', c.conrelid::regclass, c.conname), ';' ORDER BY c.contype),
            string_agg(
                format('ALTER TABLE %s ADD CONSTRAINT %I %s', c.conrelid::regclass, c.conname, pg_get_constraintdef(c.oid)),
                ';' ORDER BY c.contype = 'f'
            )
        FROM pg_constraint c
        WHERE c.conrelid IN ('receipts'::regclass, 'receipt_queue'::regclass) AND c.contype IN ('p', 'u', 'f')
           OR c.confrelid = 'receipts'::regclass";
    let row = client.query_one(sql, &[]).await?;
    let (drop_constraints, add_constraints): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    let sql = "SELECT
            coalesce(string_agg(format('DROP INDEX %s', i.indexrelid::regclass), ';'), ''),
            coalesce(string_agg(pg_get_indexdef(i.indexrelid), ';'), '')
        FROM pg_index i
        WHERE i.indrelid = 'receipt_queue'::regclass
          AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid)";
    let row = client.query_one(sql, &[]).await?;
    let (drop_indexes, create_indexes): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    // Truncated and filled in one transaction: Postgres writes no log of it (wal_level = minimal).
    client
        .batch_execute(&format!(
            "BEGIN;
             SET LOCAL session_replication_role = replica;
             SET LOCAL maintenance_work_mem = '512MB';
             {drop_constraints};
             {drop_indexes};
             TRUNCATE receipts, receipt_queue, receipt_queue_dlq;
             INSERT INTO receipts (status, image_url, vendor_text)
             SELECT
                 CASE WHEN n <= {processed} THEN 'ocr_done' ELSE 'pending' END,
                 'receipts/' || n || '.jpg',
                 CASE WHEN n <= {processed} THEN 'BOOK TAK (TAMAN DAYA) SDN BHD' END
             FROM generate_series(1, {processed} + {waiting}) AS n;
             INSERT INTO receipt_queue (
                 receipt_id, s3_key, attempts, processed, enqueued_at, processed_at, available_at, claims, settled_token,
                 receipt_before, component
             )
             SELECT
                 id, image_url, done::integer, done,
                 now() - (random() * interval '30 days') * done::integer,
                 CASE WHEN done THEN now() END,
                 clock_timestamp(),
                 done::integer,
                 CASE WHEN done THEN nextval('receipt_queue_token') END,
                 '[null, null, null, null]',
                 CASE WHEN done THEN repeat('0123456789abcdef', 4) END
             FROM (SELECT id, image_url, status = 'ocr_done' AS done FROM receipts) AS r;
             {create_indexes};
             {add_constraints};
             COMMIT"
        ))
        .await?;
    // Each for itself: no VACUUM in a transaction, and several statements are one.
    for sql in ["VACUUM (ANALYZE) receipts", "VACUUM (ANALYZE) receipt_queue", "CHECKPOINT"] {
        client.batch_execute(sql).await?;
    }
    Ok(())
}
