-- What each worker runs, as far as its own changes and its sessions tell. $1: whether the sessions' names tell (they do not
-- where the operator chose a name of their own; then a worker counts for the 90 days that the ledger remembers: of what it
-- keeps longer, the one who wrote it is long gone).
SELECT
    convert_to(w.worker, getdatabaseencoding()) AS worker,
    convert_to(CASE l.change WHEN 'rolled-back' THEN l.previous ELSE l.digest END, getdatabaseencoding()) AS digest,
    l.change,
    l.at,
    to_char(l.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS since,
    convert_to(CASE l.change WHEN 'rolled-back' THEN l.digest ELSE l.previous END, getdatabaseencoding()) AS previous,
    convert_to(l.reason, getdatabaseencoding()) AS reason,
    alive.alive,
    convert_to(CASE p.change WHEN 'paused' THEN p.reason END, getdatabaseencoding()) AS paused,
    getdatabaseencoding()::text AS encoding
FROM (SELECT DISTINCT worker FROM public.receipt_component_changes) AS w
CROSS JOIN LATERAL (
    SELECT c.change, c.digest, c.previous, c.reason, c.at, c.id
    FROM public.receipt_component_changes c
    WHERE c.worker = w.worker AND c.change IN ('started', 'switched', 'rolled-back', 'stopped')
    ORDER BY c.id DESC
    LIMIT 1
) AS l
LEFT JOIN LATERAL (
    SELECT c.change, c.reason
    FROM public.receipt_component_changes c
    WHERE c.worker = w.worker AND c.change IN ('started', 'paused', 'resumed')
    ORDER BY c.id DESC
    LIMIT 1
) AS p ON true
CROSS JOIN LATERAL (
    SELECT EXISTS (
        SELECT
        FROM pg_stat_activity s
        WHERE s.datname = current_database() AND s.application_name = 'receipt-worker ' || w.worker
    ) AS alive
) AS alive
WHERE l.change <> 'stopped' AND (alive.alive OR (NOT $1 AND l.at > now() - interval '90 days'))
ORDER BY l.id DESC
