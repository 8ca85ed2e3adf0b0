-- Whether the schema $1 exists, and, where it has no table receipts, what looks like one: in that schema by another spelling, and
-- where $2 says so, in every other schema as well.
SELECT
    EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname = $1::text),
    coalesce(array_agg(format('%I.%I', n.nspname, c.relname) ORDER BY c.relname <> 'receipts', n.nspname, c.relname), '{}')
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND lower(c.relname) IN ('receipts', 'receipt')
  AND (n.nspname = $1::text OR $2)
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (
      SELECT
      FROM pg_catalog.pg_class ours
      JOIN pg_catalog.pg_namespace place ON place.oid = ours.relnamespace
      WHERE place.nspname = $1::text AND ours.relname = 'receipts'
  )
