-- Receipts that carry the reading of another component, and that nobody edited since: the next ones by id.
-- $1 digest of the component that reads them now, $2 the last id seen, $3 created since, $4 ids, $5 beginning of the digest
-- that they were read by, $6 at most so many; null: no bound. Planned anew with the values each
-- time, as a statement without a name is, so that what is null costs nothing and the primary key is walked.
-- receipt_queue_as gives an id the type of its column, whatever that is: (NULL::public.receipts).id names it, and asks nothing.
SELECT
    convert_to(r.id::text, getdatabaseencoding()) AS id,
    convert_to(r.vendor_text::text, getdatabaseencoding()) AS vendor,
    convert_to(public.receipt_queue_value(r.total_amount) #>> '{}', getdatabaseencoding()) AS total,
    convert_to(r.currency::text, getdatabaseencoding()) AS currency,
    -- In ISO 8601 whatever the session's DateStyle, and in its time zone, as it is written.
    convert_to(to_jsonb(r.receipt_date) #>> '{}', getdatabaseencoding()) AS day,
    r.ocr_confidence::float8 AS confidence,
    convert_to(r.ocr_s3_key::text, getdatabaseencoding()) AS artifact_key,
    convert_to(r.ocr_component, getdatabaseencoding()) AS component,
    getdatabaseencoding()::text AS encoding,
    -- The receipt as it is seen here: reparse_write.sql and reparse_seen.sql compare it by the same words.
    convert_to(
        pg_catalog.jsonb_build_array(
            public.receipt_queue_value(r.vendor_text), public.receipt_queue_value(r.total_amount),
            public.receipt_queue_value(r.currency), public.receipt_queue_value(r.receipt_date),
            r.ocr_component, r.ocr_s3_key
        )::text,
        getdatabaseencoding()
    ) AS state
FROM public.receipts r
WHERE r.status::text = 'ocr_done'
  AND r.ocr_component IS NOT NULL
  AND r.ocr_component <> $1::text
  AND (
      $2::bytea IS NULL
      OR r.id > public.receipt_queue_as((NULL::public.receipts).id, convert_from($2::bytea, getdatabaseencoding()))
  )
  AND ($3::timestamptz IS NULL OR r.created_at >= $3::timestamptz)
  AND (
      $4::text[] IS NULL
      OR r.id = ANY (ARRAY(
          SELECT public.receipt_queue_as((NULL::public.receipts).id, wanted.id) FROM unnest($4::text[]) AS wanted (id)
      ))
  )
  AND ($5::text IS NULL OR starts_with(r.ocr_component, $5::text))
ORDER BY r.id
LIMIT $6::bigint
