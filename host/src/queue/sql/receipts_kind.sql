-- What receipts is, how it is partitioned, and whether its id is unique by itself; no row where it is not there.
SELECT
    c.relkind::text AS kind,
    CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END AS partitions,
    EXISTS (
        SELECT
        FROM pg_index i
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
        WHERE i.indrelid = c.oid AND i.indisunique AND i.indnkeyatts = 1 AND a.attname = 'id' AND i.indpred IS NULL
    ) AS has_unique_id
FROM pg_class c
WHERE c.oid = to_regclass('public.receipts')
