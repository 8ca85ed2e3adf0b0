-- What whoever has the app's public key may do with all receipts, where that is so: a platform (Supabase) lets the roles anon and
-- authenticated be taken by anybody, and row-level security is what keeps them apart.
SELECT format(
    'row-level security is off on public.receipts, and %s may %s every receipt with the app''s anon key: '
    'ALTER TABLE public.receipts ENABLE ROW LEVEL SECURITY, with a policy for the app''s users, and one for this worker '
    '(host rights)',
    string_agg(DISTINCT role.rolname, ' and '),
    string_agg(DISTINCT asked.privilege, ', ')
) AS warning
FROM pg_class c
CROSS JOIN pg_roles role
CROSS JOIN (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE')) AS asked (privilege)
WHERE c.oid = to_regclass('public.receipts')
  AND NOT c.relrowsecurity
  AND role.rolname IN ('anon', 'authenticated')
  AND (
      has_table_privilege(role.oid, c.oid, asked.privilege)
      OR (asked.privilege <> 'DELETE' AND has_any_column_privilege(role.oid, c.oid, asked.privilege))
  )
HAVING count(*) > 0
