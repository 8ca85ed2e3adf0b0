-- Receipts that carry the reading of another component, and that nobody edited since: the next ones by id.
-- $1 digest of the component that reads them now, $2 the last id seen, $3 created since, $4 ids, $5 beginning of the digest
-- that they were read by, $6 at most so many; null: no bound. ID_TYPE is the type of receipts.id. Planned anew with the
-- values each time, as a statement without a name is, so that what is null costs nothing and the primary key is walked.
-- The receipt's state is put in from reparse_state.sql: it is compared by the words in which it was seen.
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
    -- The receipt as it is seen here: what is written later compares it.
    RECEIPT_STATE AS state
FROM public.receipts r
WHERE r.status::text = 'ocr_done'
  AND r.ocr_component IS NOT NULL
  AND r.ocr_component <> $1::text
  AND ($2::bytea IS NULL OR r.id > convert_from($2::bytea, getdatabaseencoding())::ID_TYPE)
  AND ($3::timestamptz IS NULL OR r.created_at >= $3::timestamptz)
  AND ($4::text[] IS NULL OR r.id = ANY (($4::text[])::ID_TYPE[]))
  AND ($5::text IS NULL OR starts_with(r.ocr_component, $5::text))
ORDER BY r.id
LIMIT $6::bigint
