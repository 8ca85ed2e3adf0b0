-- What a claim of this worker leased although its reply never came; renewed, and returned as the claim would have.
-- Left alone, those leases would run out at the cost of an attempt each, though nobody has worked on the jobs.
-- $1 worker id, $2 lease in milliseconds, $3 milliseconds since that claim was sent, $4 tokens that the worker knows of.
-- Bounded by time at both ends, for the index of what is due: available_at of what that claim leased is no older than the
-- claim, and no further away than a lease.
WITH unanswered AS (
    SELECT id, available_at AS due_at
    FROM public.receipt_queue
    WHERE NOT processed
      AND available_at >= now() - $3::bigint * interval '1 millisecond'
      AND available_at <= now() + $2::bigint * interval '1 millisecond'
      AND leased_by = $1
      AND lease_token <> ALL ($4::bigint[])
    FOR UPDATE SKIP LOCKED
)
UPDATE public.receipt_queue q
SET available_at = now() + $2::bigint * interval '1 millisecond'
FROM unanswered u
WHERE q.id = u.id AND q.id = ANY (ARRAY(SELECT id FROM unanswered))
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
    u.due_at
