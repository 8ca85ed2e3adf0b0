-- Receipts that were waiting before there was a queue. In a migration of its own, so that the locks that the first one needs
-- are not held while a large table is read; the trigger is on by now, so that none falls between.
INSERT INTO public.receipt_queue (receipt_id, s3_key, receipt_before)
SELECT
    r.id,
    coalesce(nullif(r.s3_key::text, ''), r.image_url::text),
    pg_catalog.jsonb_build_array(r.vendor_text, r.total_amount, r.currency, r.receipt_date)
FROM public.receipts r
WHERE r.status::text = 'pending'
  AND NOT EXISTS (SELECT FROM public.receipt_queue_dlq d WHERE d.receipt_id = r.id)
ON CONFLICT (receipt_id) DO NOTHING;

INSERT INTO public.receipt_queue_schema (version) VALUES (20261101000001) ON CONFLICT DO NOTHING;
