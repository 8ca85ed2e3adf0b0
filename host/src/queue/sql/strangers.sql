-- Who may change the queue's tables beside their owner, this role, and the roles that `host rights` made; where row-level security
-- hides the rows from them, nobody can.
SELECT format('%s may change %s', coalesce(r.rolname, 'everybody (PUBLIC)'), string_agg(DISTINCT c.relname::text, ', '))
FROM pg_class c
CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
LEFT JOIN pg_roles r ON r.oid = acl.grantee
WHERE c.oid IN (
    to_regclass('public.receipt_queue'), to_regclass('public.receipt_queue_dlq'), to_regclass('public.receipt_queue_pass'),
    to_regclass('public.receipt_component_changes')
)
  AND NOT c.relrowsecurity
  AND acl.privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE')
  AND acl.grantee <> c.relowner
  AND (r.oid IS NULL OR NOT (r.rolsuper OR r.rolbypassrls OR r.rolname IN (current_user, session_user)))
  AND NOT EXISTS (
      SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname LIKE 'receipt queue: %' AND acl.grantee = ANY (p.polroles)
  )
GROUP BY r.rolname
ORDER BY 1
