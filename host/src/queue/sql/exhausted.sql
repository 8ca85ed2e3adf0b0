-- Jobs whose lease ended after their last attempt: whoever worked them crashed. They are settled as dead letters under
-- the token they have, so that a worker that is alive after all is fenced by the same rule as everywhere. A job without a
-- token (the operator lowered the limit) is given one first. $1 max attempts, $2 limit.
-- "attempts > 0" and the order are those of the index receipt_queue_spent: whoever looks for them in receipt_queue_due reads
-- all that waits, once a second.
WITH exhausted AS (
    SELECT id
    FROM public.receipt_queue
    WHERE NOT processed AND attempts > 0 AND attempts >= $1 AND available_at <= now()
    ORDER BY attempts, available_at, id
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)
UPDATE public.receipt_queue q
SET lease_token = coalesce(q.lease_token, nextval('public.receipt_queue_token'))
FROM exhausted
WHERE q.id = exhausted.id
RETURNING
    q.id,
    q.lease_token,
    q.attempts,
    convert_to(q.last_error_kind, getdatabaseencoding()) AS last_error_kind,
    convert_to(q.last_error_code, getdatabaseencoding()) AS last_error_code,
    convert_to(q.last_error, getdatabaseencoding()) AS last_error,
    getdatabaseencoding()::text AS encoding
