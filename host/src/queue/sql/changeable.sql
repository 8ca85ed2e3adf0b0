-- Whether this role may change the receipt of a job: FOR NO KEY UPDATE asks the policies for UPDATE too, which may show fewer
-- rows than those for SELECT. No row: it may not. A lock of somebody else's is an error. $1 id.
SELECT true
FROM public.receipt_queue q
JOIN public.receipts r ON r.id = q.receipt_id
WHERE q.id = $1
FOR NO KEY UPDATE OF r NOWAIT
