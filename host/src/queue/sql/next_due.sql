-- Seconds until the next job is due (0 when one is due now, null when the queue is empty).
SELECT greatest(extract(epoch FROM available_at - now()), 0)::float8
FROM public.receipt_queue
WHERE NOT processed
ORDER BY available_at, id
LIMIT 1
