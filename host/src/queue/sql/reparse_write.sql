-- Writes new readings over old ones, only where the receipt is as it was seen: the lock checks it on the newest version of
-- the row. In the order of ids, as everywhere (see complete.sql); what somebody has locked is left.
-- $1 ids, $2 states seen, $3 vendors, $4 totals, $5 currencies, $6 dates, $7 confidences, $8 whether the reading is another
-- one, $9 the new digest.
-- Where the reading is the same only the digest is written: an app's column may hold it in a form of its own.
-- A receipt is compared by the words in which reparse_page.sql has seen it.
WITH reading AS (
    SELECT
        o.*,
        public.receipt_queue_as((NULL::public.receipts).id, convert_from(o.raw_id, getdatabaseencoding())) AS id
    FROM unnest(
        $1::bytea[], $2::bytea[], $3::text[], $4::text[], $5::text[], $6::text[], $7::float8[], $8::boolean[]
    ) AS o (raw_id, state, vendor, total, currency, day, confidence, changed)
    -- As complete.sql does.
    CROSS JOIN (SELECT pg_catalog.set_config('DateStyle', 'ISO, YMD', true)) AS style
),
locked AS MATERIALIZED (
    SELECT r.id, o.vendor, o.total, o.currency, o.day, o.confidence, o.changed
    FROM reading o
    JOIN public.receipts r ON r.id = o.id AND r.id = ANY (ARRAY(SELECT reading.id FROM reading))
    WHERE r.status::text = 'ocr_done'
      AND convert_to(
          pg_catalog.jsonb_build_array(
              public.receipt_queue_value(r.vendor_text), public.receipt_queue_value(r.total_amount),
              public.receipt_queue_value(r.currency), public.receipt_queue_value(r.receipt_date),
              r.ocr_component, r.ocr_s3_key
          )::text,
          getdatabaseencoding()
      ) = o.state
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
        ocr_component = $9
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
    SET ocr_component = $9
    FROM locked l
    WHERE r.id = l.id AND NOT l.changed
    RETURNING r.id
)
SELECT convert_to(id::text, getdatabaseencoding()) FROM changed
UNION ALL
SELECT convert_to(id::text, getdatabaseencoding()) FROM same
