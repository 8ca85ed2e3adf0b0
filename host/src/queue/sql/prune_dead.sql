-- Removes a batch of dead letters for good. $1 failed before, $2 at most so many, $3 the last batch's id. By primary key: there
-- is no index on failed_at, and a later id failed later. Receipts are locked first, as everywhere (see complete.sql); those that
-- somebody has in hand are left.
WITH old AS (
    SELECT d.id
    FROM public.receipt_queue_dlq d
    JOIN public.receipts r ON r.id = d.receipt_id
    WHERE d.failed_at < $1 AND d.id > $3
    ORDER BY d.id
    LIMIT $2
    FOR NO KEY UPDATE OF r SKIP LOCKED
),
pruned AS (
    DELETE FROM public.receipt_queue_dlq d
    WHERE d.id = ANY (ARRAY(SELECT id FROM old))
    RETURNING d.id
)
SELECT count(*), max(id) FROM pruned
