-- What the app has changed since the last migration and our objects do not agree with, a line each; the newest migration, run
-- again, mends it.
WITH columns AS (
    SELECT a.attrelid, a.attname::text AS name, format_type(a.atttypid, a.atttypmod) AS type, a.atttypid
    FROM pg_attribute a
    WHERE a.attnum > 0 AND NOT a.attisdropped
),
of_receipts AS (
    SELECT * FROM columns WHERE attrelid = to_regclass('public.receipts')
)
SELECT 'there is no table public.receipts any more' AS drift
WHERE to_regclass('public.receipts') IS NULL
UNION ALL
SELECT format('public.receipts has no column "%s" any more', wanted.name)
FROM (
    VALUES
        ('id'), ('status'), ('created_at'), ('image_url'), ('s3_key'), ('vendor_text'), ('total_amount'), ('currency'),
        ('receipt_date'), ('ocr_confidence'), ('ocr_s3_key'), ('ocr_component')
) AS wanted (name)
WHERE to_regclass('public.receipts') IS NOT NULL
  AND NOT EXISTS (SELECT FROM of_receipts r WHERE r.name = wanted.name)
UNION ALL
SELECT format('%s.receipt_id is of type %s and receipts.id of type %s', q.attrelid::regclass, q.type, r.type)
FROM of_receipts r
JOIN columns q ON q.attrelid IN (to_regclass('public.receipt_queue'), to_regclass('public.receipt_queue_dlq'))
WHERE r.name = 'id' AND q.name = 'receipt_id' AND q.type <> r.type
UNION ALL
-- The table was dropped and made anew, or exchanged for another one.
SELECT format('%s.receipt_id does not refer to public.receipts any more', q.attrelid::regclass)
FROM columns q
WHERE q.attrelid IN (to_regclass('public.receipt_queue'), to_regclass('public.receipt_queue_dlq'))
  AND q.name = 'receipt_id'
  AND to_regclass('public.receipts') IS NOT NULL
  AND NOT EXISTS (
      SELECT FROM pg_constraint c
      WHERE c.conrelid = q.attrelid AND c.contype = 'f' AND c.confdeltype = 'c' AND c.confrelid = to_regclass('public.receipts')
  )
UNION ALL
-- The functions find the operators of an extension's type in the schema where the type is.
SELECT format('function %s does not look in schema %s, where the type of receipts.id is', p.proname, n.nspname)
FROM of_receipts r
JOIN pg_type t ON t.oid = r.atttypid
JOIN pg_namespace n ON n.oid = t.typnamespace
JOIN pg_proc p ON p.pronamespace = 'public'::regnamespace
WHERE r.name = 'id'
  AND n.nspname <> 'pg_catalog'
  AND p.proname IN (
      'receipt_queue_put', 'receipts_enqueue', 'receipts_requeue', 'receipt_queue_reconcile', 'receipt_queue_reconcile_step'
  )
  AND NOT EXISTS (
      SELECT
      FROM unnest(p.proconfig) AS setting
      WHERE setting LIKE 'search_path=%' AND position(quote_ident(n.nspname) IN setting) > 0
  )
UNION ALL
SELECT format('trigger %s is gone from public.receipts', needed.name)
FROM (VALUES ('receipts_enqueue'), ('receipts_requeue'), ('receipts_reread')) AS needed (name)
WHERE to_regclass('public.receipts') IS NOT NULL
  AND NOT EXISTS (
      SELECT FROM pg_trigger t WHERE t.tgrelid = to_regclass('public.receipts') AND t.tgname = needed.name
  )
UNION ALL
-- The app dropped it, or it came into the newest migration after that was applied here.
SELECT format('the view %s is gone', needed.name)
FROM (
    VALUES ('public.vw_receipt_queue_status'), ('public.vw_receipt_queue_failures'), ('public.vw_receipt_queue_backlog')
) AS needed (name)
WHERE to_regclass(needed.name) IS NULL
