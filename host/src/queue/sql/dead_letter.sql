-- Moves jobs to the dead letters and marks their receipts, in one statement. Locks as complete.sql does, for its reasons.
-- $1 ids, $2 tokens, $3 kinds, $4 codes, $5 messages, $6 component digests, $7 notes.
WITH outcome AS (
    SELECT *
    FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
        AS o (job_id, token, kind, code, message, component, notes)
),
locked AS MATERIALIZED (
    SELECT o.job_id, o.token, r.status::text AS status
    FROM outcome o
    JOIN public.receipt_queue q ON q.id = o.job_id AND q.id = ANY ($1)
    JOIN public.receipts r ON r.id = q.receipt_id
    ORDER BY r.id
    FOR NO KEY UPDATE OF r, q SKIP LOCKED
),
settled AS (
    DELETE FROM public.receipt_queue q
    USING locked l
    WHERE q.id = l.job_id AND q.id = ANY ($1) AND q.lease_token = l.token
    RETURNING q.id, q.receipt_id, q.s3_key, q.attempts, q.claims, q.enqueued_at, q.deaths, q.history,
        q.receipt_before, q.receipt_whose, l.token, l.status
),
buried AS (
    INSERT INTO public.receipt_queue_dlq (
        receipt_id, s3_key, error_kind, error_code, error_message, attempts, claims, enqueued_at, settled_token, component,
        notes, deaths, history, receipt_before, receipt_whose
    )
    SELECT
        s.receipt_id, s.s3_key, o.kind, o.code, o.message, s.attempts, s.claims, s.enqueued_at, o.token, o.component,
        o.notes || CASE s.deaths WHEN 0 THEN '' ELSE format('; was dead %s time(s) before', s.deaths) END,
        s.deaths + 1,
        jsonb_path_query_array(
            s.history || jsonb_build_object(
                'attempt', s.attempts,
                'component', o.component,
                'at', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                'outcome', 'dead-letter',
                'kind', o.kind,
                'code', o.code,
                'token', o.token
            ),
            '$[last - 19 to last]'
        ),
        s.receipt_before,
        s.receipt_whose
    FROM settled s
    JOIN outcome o ON o.job_id = s.id AND o.token = s.token
    -- A person finished it by hand meanwhile: it is done, and nothing is left to be told.
    WHERE s.status IS DISTINCT FROM 'ocr_done'
    RETURNING receipt_id
),
marked AS (
    UPDATE public.receipts r
    SET status = 'ocr_failed'
    FROM settled s
    WHERE r.id = s.receipt_id AND s.status = 'pending'
    RETURNING
        r.id,
        public.receipt_queue_written(
            r.id::text, 'pending', r.status::text, 0, NULL, current_date, NULL
        ) AS reworded
)
SELECT
    o.job_id,
    o.token,
    s.id IS NOT NULL AS settled,
    -- A row that was to be changed and was not: a trigger of the app's has skipped it.
    CASE
        WHEN s.status = 'pending' AND m.id IS NULL
            THEN public.receipt_queue_written(s.receipt_id::text, 'pending', 'pending', 0, NULL, current_date, NULL)
        ELSE false
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
LEFT JOIN marked m ON m.id = s.receipt_id
