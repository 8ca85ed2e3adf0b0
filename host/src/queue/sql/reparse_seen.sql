-- Which receipts are still as they were seen: those were not written because somebody has them locked. $1 ids, $2 states
-- seen. A receipt is compared by the words in which reparse_page.sql has seen it.
SELECT convert_to(r.id::text, getdatabaseencoding())
FROM unnest($1::bytea[], $2::bytea[]) AS o (id, state)
JOIN public.receipts r
    ON r.id = public.receipt_queue_as((NULL::public.receipts).id, convert_from(o.id, getdatabaseencoding()))
    AND r.id = ANY (ARRAY(
        SELECT public.receipt_queue_as((NULL::public.receipts).id, convert_from(wanted.id, getdatabaseencoding()))
        FROM unnest($1::bytea[]) AS wanted (id)
    ))
WHERE r.status::text = 'ocr_done'
  AND convert_to(
      pg_catalog.jsonb_build_array(
          public.receipt_queue_value(r.vendor_text), public.receipt_queue_value(r.total_amount),
          public.receipt_queue_value(r.currency), public.receipt_queue_value(r.receipt_date),
          r.ocr_component, r.ocr_s3_key
      )::text,
      getdatabaseencoding()
  ) = o.state
