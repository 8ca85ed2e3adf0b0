-- Seconds until the next job is due: 0 when one is due now, null when nothing waits. A job that is parked (available_at is
-- infinity) never is. Infinite times are not subtracted: the server refuses it.
SELECT CASE WHEN available_at <= now() THEN 0 ELSE extract(epoch FROM available_at - now()) END::float8
FROM public.receipt_queue
WHERE NOT processed AND available_at < 'infinity'
ORDER BY available_at, id
LIMIT 1
