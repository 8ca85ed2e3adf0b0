-- What keeps this role from working the queue, a line each; nothing when nothing does.
SELECT format('grant %s on %s', string_agg(wanted.privilege, ', '), wanted.object)
FROM (
    VALUES
        ('public.receipts', 'SELECT'),
        ('public.receipts', 'UPDATE'),
        ('public.receipt_queue', 'SELECT'),
        ('public.receipt_queue', 'UPDATE'),
        ('public.receipt_queue', 'DELETE'),
        ('public.receipt_queue_dlq', 'SELECT'),
        ('public.receipt_queue_dlq', 'INSERT'),
        ('public.receipt_queue_dlq', 'DELETE'),
        ('public.receipt_component_changes', 'SELECT'),
        ('public.receipt_component_changes', 'INSERT'),
        ('public.receipt_queue_schema', 'SELECT')
) AS wanted (object, privilege)
WHERE NOT has_table_privilege(wanted.object, wanted.privilege)
GROUP BY wanted.object
UNION ALL
SELECT 'grant USAGE on sequence public.receipt_queue_token'
WHERE NOT has_sequence_privilege('public.receipt_queue_token', 'USAGE')
UNION ALL
SELECT format('row-level security hides %s from this role: make it the owner, give it BYPASSRLS, or add a policy', hidden.object)
FROM (
    VALUES ('public.receipts'), ('public.receipt_queue'), ('public.receipt_queue_dlq'), ('public.receipt_component_changes')
) AS hidden (object)
WHERE row_security_active(hidden.object)
  AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = hidden.object::regclass)
UNION ALL
SELECT format('trigger %s is off or missing: ALTER TABLE receipts ENABLE TRIGGER %1$s', needed.name)
FROM (VALUES ('receipts_enqueue'), ('receipts_requeue'), ('receipts_reread')) AS needed (name)
WHERE NOT EXISTS (
    SELECT
    FROM pg_trigger t
    WHERE t.tgrelid = 'public.receipts'::regclass AND t.tgname = needed.name AND t.tgenabled <> 'D'
)
