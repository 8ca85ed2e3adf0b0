-- The roll-back that makes a digest distrusted; no row where there was none, or it was allowed since. $1 digest.
SELECT
    to_char(l.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS at,
    convert_to(l.worker, getdatabaseencoding()) AS worker,
    convert_to(l.reason, getdatabaseencoding()) AS reason,
    getdatabaseencoding()::text AS encoding
FROM (
    SELECT c.at, c.worker, c.reason, c.change
    FROM public.receipt_component_changes c
    WHERE c.digest = $1 AND c.change IN ('rolled-back', 'allowed')
    ORDER BY c.id DESC
    LIMIT 1
) AS l
WHERE l.change = 'rolled-back'
