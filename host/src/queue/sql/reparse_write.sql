-- Writes new readings over old ones, only where the receipt is as it was seen: the lock checks it on the newest version of
-- the row. In the order of ids, as everywhere (see complete.sql); what somebody has locked is left.
-- $1 ids, $2 digests seen, $3 fields seen, $4 artifact keys, $5 vendors, $6 totals, $7 currencies, $8 dates, $9 confidences,
-- $10 whether the reading is another one, $11 the new digest. ID_TYPE is the type of receipts.id.
-- Where the reading is the same only the digest is written: an app's column may hold it in a form of its own.
WITH reading AS (
    SELECT o.*, o.id_text::ID_TYPE AS id
    FROM unnest(
        $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::float8[],
        $10::boolean[]
    ) AS o (id_text, seen, fields, artifact_key, vendor, total, currency, day, confidence, changed)
),
locked AS MATERIALIZED (
    SELECT r.id, o.vendor, o.total, o.currency, o.day, o.confidence, o.changed
    FROM reading o
    JOIN public.receipts r ON r.id = o.id AND r.id = ANY (($1::text[])::ID_TYPE[])
    WHERE r.status::text = 'ocr_done'
      AND r.ocr_component = o.seen
      AND r.ocr_s3_key::text = o.artifact_key
      AND pg_catalog.jsonb_build_array(
          public.receipt_queue_value(r.vendor_text), public.receipt_queue_value(r.total_amount),
          public.receipt_queue_value(r.currency), public.receipt_queue_value(r.receipt_date)
      ) = o.fields::jsonb
    ORDER BY r.id
    FOR NO KEY UPDATE OF r SKIP LOCKED
),
changed AS (
    UPDATE public.receipts r
    SET vendor_text = l.vendor,
        total_amount = l.total::numeric,
        currency = l.currency,
        receipt_date = l.day::date,
        ocr_confidence = l.confidence::numeric,
        ocr_component = $11
    FROM locked l
    WHERE r.id = l.id AND l.changed
    -- What came back as another number or day fails the statement (see receipt_queue_written).
    RETURNING
        r.id,
        public.receipt_queue_written(
            r.id::text, '', r.status::text, r.total_amount, l.total::numeric, r.receipt_date, l.day::date
        )
),
same AS (
    UPDATE public.receipts r
    SET ocr_component = $11
    FROM locked l
    WHERE r.id = l.id AND NOT l.changed
    RETURNING r.id
)
SELECT id::text FROM changed
UNION ALL
SELECT id::text FROM same
