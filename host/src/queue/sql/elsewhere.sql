-- The schemas, but for $1, that have a receipt queue.
SELECT format('%I', n.nspname)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = 'receipt_queue_schema' AND n.nspname <> $1::text AND n.nspname !~ '^pg_'
ORDER BY n.nspname
