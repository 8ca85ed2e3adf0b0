-- Which receipts are still as they were seen: those were not written because somebody has them locked. $1 ids, $2 digests
-- seen, $3 fields seen, $4 artifact keys. ID_TYPE is the type of receipts.id.
SELECT r.id::text
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS o (id, seen, fields, artifact_key)
JOIN public.receipts r ON r.id = o.id::ID_TYPE AND r.id = ANY (($1::text[])::ID_TYPE[])
WHERE r.status::text = 'ocr_done'
  AND r.ocr_component = o.seen
  AND r.ocr_s3_key::text = o.artifact_key
  AND pg_catalog.jsonb_build_array(
      public.receipt_queue_value(r.vendor_text), public.receipt_queue_value(r.total_amount),
      public.receipt_queue_value(r.currency), public.receipt_queue_value(r.receipt_date)
  ) = o.fields::jsonb
