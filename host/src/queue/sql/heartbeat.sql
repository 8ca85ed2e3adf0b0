-- Renews leases. A job that does not come back is lost. $1 ids, $2 tokens, $3 lease in milliseconds.
-- Rows that somebody has locked (an app that replaces or deletes many receipts) are left for the next beat: waiting for
-- several of them, in an order of our own, would deadlock with it.
WITH held AS (
    SELECT * FROM unnest($1::bigint[], $2::bigint[]) AS h (id, token)
),
free AS MATERIALIZED (
    SELECT q.id
    FROM held h
    JOIN public.receipt_queue q ON q.id = h.id AND q.id = ANY ($1)
    FOR NO KEY UPDATE OF q SKIP LOCKED
),
renewed AS (
    UPDATE public.receipt_queue q
    SET available_at = now() + $3::bigint * interval '1 millisecond'
    FROM held h
    JOIN free f ON f.id = h.id
    WHERE q.id = h.id AND q.id = ANY ($1) AND q.lease_token = h.token
    RETURNING q.id
)
SELECT h.id, r.id IS NOT NULL AS renewed
FROM held h
LEFT JOIN renewed r ON r.id = h.id
WHERE r.id IS NOT NULL
   OR (
       NOT EXISTS (SELECT FROM free f WHERE f.id = h.id)
       AND EXISTS (SELECT FROM public.receipt_queue q WHERE q.id = h.id AND q.id = ANY ($1) AND q.lease_token = h.token)
   )
