-- Puts jobs back, invisible for a while, charged or not; with delay 0, uncharged and without an error it is a job given
-- back. $1 ids, $2 tokens, $3 delays in milliseconds, $4 charge, $5 kinds, $6 codes, $7 messages, $8 component digests.
-- What somebody has locked is left for the next batch, as in complete.sql.
WITH outcome AS (
    SELECT *
    FROM unnest(
        $1::bigint[], $2::bigint[], $3::bigint[], $4::boolean[], $5::text[], $6::text[], $7::text[], $8::text[]
    ) AS o (job_id, token, delay, charge, kind, code, message, component)
),
locked AS MATERIALIZED (
    SELECT o.job_id, o.token
    FROM outcome o
    JOIN public.receipt_queue q ON q.id = o.job_id AND q.id = ANY ($1)
    FOR NO KEY UPDATE OF q SKIP LOCKED
),
settled AS (
    UPDATE public.receipt_queue q
    SET available_at = now() + o.delay * interval '1 millisecond',
        attempts = CASE WHEN o.charge THEN q.attempts ELSE greatest(q.attempts - 1, 0) END,
        lease_token = NULL,
        leased_by = NULL,
        settled_token = o.token,
        last_error_kind = coalesce(o.kind, q.last_error_kind),
        last_error_code = coalesce(o.code, q.last_error_code),
        last_error = coalesce(o.message, q.last_error),
        component = coalesce(o.component, q.component),
        history = CASE
            -- Given back unworked: no attempt to tell of.
            WHEN o.kind IS NULL THEN q.history
            ELSE jsonb_path_query_array(
                q.history || jsonb_build_object(
                    'attempt', q.attempts,
                    'component', o.component,
                    'at', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                    'outcome', CASE WHEN o.charge THEN 'retry' ELSE 'uncharged' END,
                    'kind', o.kind,
                    'code', o.code,
                    'token', o.token
                ),
                '$[last - 19 to last]'
            )
        END
    FROM locked l
    JOIN outcome o ON o.job_id = l.job_id AND o.token = l.token
    WHERE q.id = l.job_id AND q.id = ANY ($1) AND q.lease_token = l.token
    RETURNING q.id, o.token
)
SELECT
    o.job_id,
    o.token,
    s.id IS NOT NULL AS settled,
    s.id IS NULL AND EXISTS (
        SELECT FROM public.receipt_queue q WHERE q.id = o.job_id AND q.id = ANY ($1) AND q.lease_token = o.token
    ) AND NOT EXISTS (SELECT FROM locked l WHERE l.job_id = o.job_id) AS blocked
FROM outcome o
LEFT JOIN settled s ON s.id = o.job_id AND s.token = o.token
