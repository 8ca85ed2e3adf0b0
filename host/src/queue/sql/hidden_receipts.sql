-- The name of this role, when row-level security may hide receipts from it; no row when it sees them all. The same question as
-- the function receipt_queue_hides_from, for a database that does not have it yet.
SELECT r.rolname::text
FROM pg_class c
CROSS JOIN pg_roles r
WHERE c.oid = to_regclass('public.receipts')
  AND r.rolname = current_user
  AND row_security_active(c.oid)
  AND (
      NOT EXISTS (
          SELECT
          FROM pg_policy p
          WHERE p.polrelid = c.oid
            AND p.polpermissive
            AND p.polcmd IN ('*', 'r')
            AND pg_get_expr(p.polqual, p.polrelid) = 'true'
            AND EXISTS (SELECT FROM unnest(p.polroles) AS o (oid) WHERE o.oid = 0 OR pg_has_role(o.oid, 'USAGE'))
      )
      OR EXISTS (
          SELECT
          FROM pg_policy p
          WHERE p.polrelid = c.oid
            AND NOT p.polpermissive
            AND p.polcmd IN ('*', 'r')
            AND pg_get_expr(p.polqual, p.polrelid) <> 'true'
            AND EXISTS (SELECT FROM unnest(p.polroles) AS o (oid) WHERE o.oid = 0 OR pg_has_role(o.oid, 'USAGE'))
      )
  )
