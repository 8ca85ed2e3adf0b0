-- Settles completed jobs: receipt and queue row in one statement, hence one transaction.
-- Receipts are locked first and in the order of their ids, as an app's own UPDATE or DELETE does (its trigger and its
-- cascade reach the queue row second): the other order would deadlock with it. A receipt that somebody else has locked is
-- left for the next batch, so that it holds up nobody. The queue row is found by primary key and token alone: with
-- "AND NOT processed" the planner may take the partial index and go quadratic. Token as well wherever an outcome is joined:
-- a batch can hold two leases of one job, one of them lost.
-- (q.id = ANY: see claim.sql.)
WITH outcome AS (
    SELECT *
    FROM unnest(
        $1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::float8[], $8::text[], $9::text[]
    ) AS o (job_id, token, vendor, total, currency, day, confidence, artifact_key, component)
),
-- The lock gives the receipt as it is now; everything else in this statement sees it as it was when the statement began.
locked AS MATERIALIZED (
    SELECT
        o.job_id,
        o.token,
        r.status::text AS status,
        pg_catalog.jsonb_build_array(r.vendor_text, r.total_amount, r.currency, r.receipt_date) AS fields
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
        o.total,
        o.currency,
        o.day,
        o.confidence,
        o.artifact_key,
        o.component,
        -- A dead letter that was put back by hand is waited for like any other.
        l.status IN ('pending', 'ocr_failed') AS waits,
        -- A row that was inserted by hand remembers nothing; then there is nothing but emptiness to overwrite.
        l.fields IS NOT DISTINCT FROM coalesce(q.receipt_before, '[null, null, null, null]') AS untouched
),
written AS (
    UPDATE public.receipts r
    SET status = 'ocr_done',
        vendor_text = s.vendor,
        total_amount = s.total::numeric,
        currency = s.currency,
        receipt_date = s.day::date,
        ocr_confidence = s.confidence::numeric,
        ocr_s3_key = s.artifact_key,
        ocr_component = s.component
    FROM settled s
    WHERE r.id = s.receipt_id AND s.waits AND s.untouched
    RETURNING r.id
),
-- A person edited it meanwhile: what the person wrote stays and is no component's reading, and the receipt still ends as
-- done.
kept AS (
    UPDATE public.receipts r
    SET status = 'ocr_done',
        ocr_confidence = s.confidence::numeric,
        ocr_s3_key = s.artifact_key
    FROM settled s
    WHERE r.id = s.receipt_id AND s.waits AND NOT s.untouched
    RETURNING r.id
)
SELECT
    o.job_id,
    o.token,
    s.id IS NOT NULL AS settled,
    s.id IS NOT NULL AND NOT EXISTS (SELECT FROM written w WHERE w.id = s.receipt_id) AS edited,
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
