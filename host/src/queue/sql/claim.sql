-- Leases the oldest due jobs. $1 limit, $2 lease in milliseconds, $3 worker id, $4 max attempts, $5 the low watermark:
-- index entries below it were claimed already, and may be many while an old transaction keeps vacuum from them.
-- Jobs that have used up their attempts are left to exhausted.sql. The watermark is compared as a row because the planner, where
-- it has no statistics yet, takes "BETWEEN" for next to nothing and would fetch and sort all that is due for each claim.
-- q.id = ANY says again what the join says, for the planner: it takes an array for ten ids and an unnest or a LIMIT for
-- many, and would read a table of some thousand rows as a whole for each claim (the same in the settles). Joined with the
-- arrays and not with "due" itself, of which it expects a single row where nearly all is processed: then it may go through
-- the whole array for each row of it, which is quadratic.
-- What the app wrote is fetched as bytes: the server would refuse the whole claim for one text that it cannot convert.
WITH due AS (
    SELECT id, available_at AS due_at
    FROM public.receipt_queue
    WHERE NOT processed AND (available_at, id) >= ($5, 0) AND available_at <= now() AND attempts < $4
    ORDER BY available_at, id
    LIMIT $1
    FOR UPDATE SKIP LOCKED
)
UPDATE public.receipt_queue q
SET attempts = q.attempts + 1,
    claims = q.claims + 1,
    lease_token = nextval('public.receipt_queue_token'),
    leased_by = $3,
    available_at = now() + $2::bigint * interval '1 millisecond'
FROM unnest(ARRAY(SELECT id FROM due), ARRAY(SELECT due_at FROM due)) AS taken (id, due_at)
WHERE q.id = taken.id AND q.id = ANY (ARRAY(SELECT id FROM due))
RETURNING
    q.id,
    q.lease_token,
    convert_to(q.receipt_id::text, getdatabaseencoding()) AS receipt_id,
    convert_to(q.s3_key, getdatabaseencoding()) AS s3_key,
    getdatabaseencoding()::text AS encoding,
    q.attempts,
    q.claims,
    q.enqueued_at,
    -- Of one that says it comes from a far future: no receipt is young for ever.
    (CASE WHEN isfinite(q.enqueued_at) THEN abs(extract(epoch FROM now() - q.enqueued_at)) END)::float8 AS age_seconds,
    taken.due_at
