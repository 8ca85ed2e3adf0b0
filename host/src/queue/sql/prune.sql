-- Removes a batch of processed rows. $1 processed before, $2 at most so many, $3 the last batch's enqueued_at: what lies
-- below it in the index is gone or stays. A row is never processed before it is enqueued, so the index on enqueued_at serves.
-- Whoever puts a receipt back into the queue meanwhile has its row locked, and it is left; or waits for this and makes a new
-- one. A row that somebody holds a lease on is left, whatever else it says.
WITH old AS (
    SELECT id
    FROM public.receipt_queue
    WHERE processed
      AND lease_token IS NULL
      AND coalesce(processed_at, enqueued_at) < $1
      AND enqueued_at < $1
      AND enqueued_at >= $3
    ORDER BY enqueued_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
),
pruned AS (
    DELETE FROM public.receipt_queue q
    WHERE q.id = ANY (ARRAY(SELECT id FROM old))
    RETURNING q.enqueued_at
)
SELECT count(*), max(enqueued_at) FROM pruned
