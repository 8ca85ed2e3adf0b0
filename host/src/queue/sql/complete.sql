-- Settles completed jobs: receipt and queue row in one statement, hence one transaction.
-- Receipts are locked first and in the order of their ids, as an app's own UPDATE or DELETE does (its trigger and its
-- cascade reach the queue row second): the other order would deadlock with it. A receipt that somebody else has locked is
-- left for the next batch, so that it holds up nobody. The queue row is found by primary key and token alone: with
-- "AND NOT processed" the planner may take the partial index and go quadratic. Token as well wherever an outcome is joined:
-- a batch can hold two leases of one job, one of them lost.
-- (q.id = ANY: see claim.sql.)
WITH outcome AS (
    SELECT o.*
    FROM unnest(
        $1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::float8[], $8::text[], $9::text[]
    ) AS o (job_id, token, vendor, total, currency, day, confidence, artifact_key, component)
    -- In an app's text column a day has the same words whoever wrote it; until this statement ends.
    CROSS JOIN (SELECT pg_catalog.set_config('DateStyle', 'ISO, YMD', true)) AS style
),
-- The lock gives the receipt as it is now; everything else in this statement sees it as it was when the statement began.
locked AS MATERIALIZED (
    SELECT
        o.job_id,
        o.token,
        r.status::text AS status,
        r.ocr_s3_key IS NOT NULL AS was_read,
        pg_catalog.jsonb_build_array(
            public.receipt_queue_value(r.vendor_text), public.receipt_queue_value(r.total_amount),
            public.receipt_queue_value(r.currency), public.receipt_queue_value(r.receipt_date)
        ) AS fields,
        -- In this session's words, as they were noted before they had words of their own.
        pg_catalog.jsonb_build_array(r.vendor_text, r.total_amount, r.currency, r.receipt_date) AS in_our_words
    FROM outcome o
    JOIN public.receipt_queue q ON q.id = o.job_id AND q.id = ANY ($1)
    JOIN public.receipts r ON r.id = q.receipt_id
    ORDER BY r.id
    FOR NO KEY UPDATE OF r, q SKIP LOCKED
),
settled AS (
    UPDATE public.receipt_queue q
    SET processed = true,
        processed_at = now(),
        lease_token = NULL,
        leased_by = NULL,
        settled_token = l.token,
        last_error_kind = NULL,
        last_error_code = NULL,
        last_error = NULL,
        component = o.component
    FROM locked l
    JOIN outcome o ON o.job_id = l.job_id AND o.token = l.token
    WHERE q.id = l.job_id AND q.id = ANY ($1) AND q.lease_token = l.token
    RETURNING
        q.id,
        l.token,
        q.receipt_id,
        -- With what is to be written: a join with "outcome" further down would compare each of them with each.
        o.vendor,
        o.total::numeric AS total,
        o.currency,
        o.day::date AS day,
        o.confidence::numeric AS confidence,
        o.artifact_key,
        o.component,
        l.status,
        -- A dead letter that was put back by hand is waited for like any other.
        l.status IN ('pending', 'ocr_failed') AS waits,
        -- A row that was inserted by hand remembers nothing; then there is nothing but emptiness to overwrite.
        (
            l.fields = coalesce(q.receipt_before, '[null, null, null, null]')
            OR (
                q.receipt_whose IS NULL
                AND (
                    l.in_our_words = q.receipt_before
                    OR (
                        l.fields - 3 = q.receipt_before - 3
                        AND CASE
                            WHEN q.receipt_before ->> 3 ~ '^\d{4}-\d\d-\d\dT[0-9:.]+[-+][0-9:]+$'
                                AND l.fields ->> 3 ~ '^\d{4}-\d\d-\d\dT[0-9:.]+[-+][0-9:]+$'
                                THEN (q.receipt_before ->> 3)::timestamptz = (l.fields ->> 3)::timestamptz
                            ELSE false
                        END
                    )
                )
            )
        ) AS untouched,
        -- The fields that keep what stands there: the app gave it, or nothing was read in its place. (Of a row that was queued
        -- when nobody noted it: what stands in a receipt that was never read was given.)
        CASE
            WHEN q.receipt_whose = '{}' OR (q.receipt_whose IS NULL AND l.was_read) THEN '{}'
            ELSE ARRAY(
                SELECT f.name
                FROM (
                    VALUES
                        (0, 'vendor_text', o.vendor IS NULL),
                        (1, 'total_amount', o.total IS NULL),
                        (2, 'currency', o.currency IS NULL),
                        (3, 'receipt_date', o.day IS NULL)
                ) AS f (place, name, unread)
                WHERE CASE q.receipt_whose ->> f.name
                    WHEN 'given' THEN true
                    WHEN 'standing' THEN f.unread
                    ELSE q.receipt_whose IS NULL AND l.fields ->> f.place IS NOT NULL
                END
            )
        END AS stays
),
written AS (
    UPDATE public.receipts r
    SET status = 'ocr_done',
        vendor_text = s.vendor,
        total_amount = s.total,
        currency = s.currency,
        receipt_date = s.day,
        ocr_confidence = s.confidence,
        ocr_s3_key = s.artifact_key,
        ocr_component = s.component
    FROM settled s
    WHERE r.id = s.receipt_id AND s.waits AND s.untouched AND s.stays = '{}'
    RETURNING
        r.id,
        public.receipt_queue_written(
            r.id::text, s.status, r.status::text, r.total_amount, s.total, r.receipt_date, s.day
        )
            OR rtrim(r.vendor_text::text) IS DISTINCT FROM rtrim(s.vendor)
            OR rtrim(r.currency::text) IS DISTINCT FROM rtrim(s.currency) AS reworded
),
-- The same, beside values that no component wrote. The reading is not the component's as a whole, so it is nobody's.
filled AS (
    UPDATE public.receipts r
    SET status = 'ocr_done',
        vendor_text = CASE
            WHEN 'vendor_text' = ANY (s.stays) THEN r.vendor_text
            ELSE public.receipt_queue_as(r.vendor_text, s.vendor)
        END,
        total_amount = CASE
            WHEN 'total_amount' = ANY (s.stays) THEN r.total_amount
            ELSE public.receipt_queue_as(r.total_amount, s.total)
        END,
        currency = CASE
            WHEN 'currency' = ANY (s.stays) THEN r.currency
            ELSE public.receipt_queue_as(r.currency, s.currency)
        END,
        receipt_date = CASE
            WHEN 'receipt_date' = ANY (s.stays) THEN r.receipt_date
            ELSE public.receipt_queue_as(r.receipt_date, s.day)
        END,
        ocr_confidence = s.confidence,
        ocr_s3_key = s.artifact_key
    FROM settled s
    WHERE r.id = s.receipt_id AND s.waits AND s.untouched AND s.stays <> '{}'
    RETURNING
        r.id,
        public.receipt_queue_written(
            r.id::text, s.status, r.status::text,
            r.total_amount, CASE WHEN 'total_amount' <> ALL (s.stays) THEN s.total END,
            r.receipt_date, CASE WHEN 'receipt_date' <> ALL (s.stays) THEN s.day END
        ) AS reworded
),
-- A person edited it meanwhile: what the person wrote stays and is no component's reading, and the receipt still ends as
-- done.
kept AS (
    UPDATE public.receipts r
    SET status = 'ocr_done',
        ocr_confidence = s.confidence,
        ocr_s3_key = s.artifact_key
    FROM settled s
    WHERE r.id = s.receipt_id AND s.waits AND NOT s.untouched
    RETURNING
        r.id,
        public.receipt_queue_written(
            r.id::text, s.status, r.status::text, r.total_amount, NULL, r.receipt_date, NULL
        ) AS reworded
),
changed AS (
    SELECT id, reworded, false AS edited FROM written
    UNION ALL
    SELECT id, reworded, false FROM filled
    UNION ALL
    SELECT id, reworded, true FROM kept
)
SELECT
    o.job_id,
    o.token,
    s.id IS NOT NULL AS settled,
    s.id IS NOT NULL AND coalesce(c.edited, true) AS edited,
    -- A row that was to be changed and was not: a trigger of the app's has skipped it.
    CASE
        WHEN s.waits AND c.id IS NULL
            THEN public.receipt_queue_written(s.receipt_id::text, s.status, s.status, 0, NULL, current_date, NULL)
        ELSE coalesce(c.reworded, false)
    END AS reworded,
    s.id IS NULL AND EXISTS (
        SELECT FROM public.receipt_queue q WHERE q.id = o.job_id AND q.id = ANY ($1) AND q.lease_token = o.token
    ) AND NOT EXISTS (SELECT FROM locked l WHERE l.job_id = o.job_id) AS blocked,
    -- A job never outlives its receipt: where there is none to be seen, row-level security hides it from this role.
    s.id IS NULL AND NOT EXISTS (
        SELECT
        FROM public.receipt_queue q
        JOIN public.receipts r ON r.id = q.receipt_id
        WHERE q.id = o.job_id AND q.id = ANY ($1)
    ) AS hidden
FROM outcome o
LEFT JOIN settled s ON s.id = o.job_id AND s.token = o.token
LEFT JOIN changed c ON c.id = s.receipt_id
