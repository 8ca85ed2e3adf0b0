-- Locks the receipts of jobs and dead letters that are to be taken back. Receipts first and in order, as in complete.sql; then
-- an app that changes them waits, and their queue rows can be waited for. $1 ids, $2 tokens.
SELECT r.id
FROM public.receipts r
WHERE r.id IN (
    SELECT q.receipt_id
    FROM unnest($1::bigint[], $2::bigint[]) AS o (job_id, token)
    JOIN public.receipt_queue q ON q.id = o.job_id AND q.id = ANY ($1)
    WHERE q.settled_token = o.token OR q.history @> jsonb_build_array(jsonb_build_object('token', o.token))
    UNION ALL
    SELECT d.receipt_id
    FROM public.receipt_queue_dlq d
    WHERE d.settled_token = ANY ($2)
)
ORDER BY r.id
FOR NO KEY UPDATE OF r
