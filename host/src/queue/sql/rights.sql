-- What keeps this role from working the queue, a line each; nothing when nothing does. role.sql grants the same.
WITH of_table (object, privilege) AS (
    VALUES
        ('public.receipt_queue', 'SELECT'),
        ('public.receipt_queue', 'UPDATE'),
        ('public.receipt_queue', 'DELETE'),
        ('public.receipt_queue_dlq', 'SELECT'),
        ('public.receipt_queue_dlq', 'INSERT'),
        ('public.receipt_queue_dlq', 'DELETE'),
        ('public.receipt_component_changes', 'SELECT'),
        ('public.receipt_component_changes', 'INSERT'),
        ('public.receipt_queue_schema', 'SELECT'),
        ('public.vw_receipt_queue_status', 'SELECT')
),
-- Of the app's table the columns of the contract will do.
of_receipts (place, name, written) AS (
    VALUES
        (1, 'id', false),
        (2, 'status', true),
        (3, 'created_at', false),
        (4, 'vendor_text', true),
        (5, 'total_amount', true),
        (6, 'currency', true),
        (7, 'receipt_date', true),
        (8, 'ocr_confidence', true),
        (9, 'ocr_s3_key', true),
        (10, 'ocr_component', true)
),
missing_columns AS (
    SELECT wanted.privilege, string_agg(c.name, ', ' ORDER BY c.place) AS names
    FROM of_receipts c
    CROSS JOIN (VALUES ('SELECT'), ('UPDATE')) AS wanted (privilege)
    WHERE (c.written OR wanted.privilege = 'SELECT')
      AND NOT has_column_privilege('public.receipts', c.name, wanted.privilege)
    GROUP BY wanted.privilege
)
SELECT format('grant %s on %s', string_agg(wanted.privilege, ', '), wanted.object)
FROM of_table wanted
WHERE NOT has_table_privilege(wanted.object, wanted.privilege)
GROUP BY wanted.object
UNION ALL
SELECT format('grant %s on public.receipts', string_agg(format('%s (%s)', privilege, names), ', '))
FROM missing_columns
HAVING count(*) > 0
UNION ALL
SELECT 'grant USAGE on sequence public.receipt_queue_token'
WHERE NOT has_sequence_privilege('public.receipt_queue_token', 'USAGE')
UNION ALL
-- A policy of the app's that is for somebody else, or for some rows, shows this role an empty table, and no error.
SELECT format(
    'row-level security hides rows of %s from this role: make it the owner, give it BYPASSRLS, or a policy (host rights)',
    hidden.object
)
FROM (
    VALUES ('public.receipts'), ('public.receipt_queue'), ('public.receipt_queue_dlq'), ('public.receipt_component_changes')
) AS hidden (object)
WHERE row_security_active(hidden.object)
  AND NOT EXISTS (
      SELECT
      FROM pg_policy p
      WHERE p.polrelid = hidden.object::regclass
        AND p.polpermissive
        AND p.polcmd = '*'
        AND pg_get_expr(p.polqual, p.polrelid) = 'true'
        AND EXISTS (SELECT FROM unnest(p.polroles) AS r (oid) WHERE r.oid = 0 OR pg_has_role(r.oid, 'USAGE'))
  )
UNION ALL
SELECT format('trigger %s is off or missing: ALTER TABLE receipts ENABLE TRIGGER %1$s', needed.name)
FROM (VALUES ('receipts_enqueue'), ('receipts_requeue'), ('receipts_reread')) AS needed (name)
WHERE NOT EXISTS (
    SELECT
    FROM pg_trigger t
    WHERE t.tgrelid = 'public.receipts'::regclass AND t.tgname = needed.name AND t.tgenabled <> 'D'
)
