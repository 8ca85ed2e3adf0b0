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
        ('public.vw_receipt_queue_status', 'SELECT'),
        ('public.vw_receipt_queue_backlog', 'SELECT')
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
      -- One that is gone is asked about elsewhere (drift.sql).
      AND EXISTS (
          SELECT
          FROM pg_attribute a
          WHERE a.attrelid = 'public.receipts'::regclass AND a.attname = c.name AND NOT a.attisdropped
      )
      AND NOT has_column_privilege('public.receipts', c.name, wanted.privilege)
    GROUP BY wanted.privilege
)
SELECT format('grant %s on %s', string_agg(wanted.privilege, ', '), wanted.object)
FROM of_table wanted
-- What is not there is no missing right: drift.sql has it.
WHERE NOT has_table_privilege(to_regclass(wanted.object), wanted.privilege)
GROUP BY wanted.object
UNION ALL
SELECT format('grant %s on public.receipts', string_agg(format('%s (%s)', privilege, names), ', '))
FROM missing_columns
HAVING count(*) > 0
UNION ALL
SELECT 'grant USAGE on sequence public.receipt_queue_token'
WHERE NOT has_sequence_privilege('public.receipt_queue_token', 'USAGE')
UNION ALL
SELECT format('grant EXECUTE on function %s', string_agg(p.oid::regprocedure::text, ', '))
FROM pg_proc p
WHERE p.pronamespace = 'public'::regnamespace
  AND p.proname IN (
      'receipt_queue_fixed', 'receipt_queue_value', 'receipt_queue_as', 'receipt_queue_written'
  )
  AND NOT has_function_privilege(p.oid, 'EXECUTE')
HAVING count(*) > 0
UNION ALL
SELECT format('grant EXECUTE on function %s', needed.signature)
FROM (
    VALUES
        ('public.receipt_queue_reconcile(text, integer, boolean, boolean)'),
        ('public.receipt_queue_reconcile_step(text, interval, integer)')
) AS needed (signature)
WHERE NOT has_function_privilege(needed.signature, 'EXECUTE')
UNION ALL
-- A policy of the app's that is for somebody else, or for some rows, shows a role an empty table, and no error.
SELECT CASE
    WHEN hidden.owner
        THEN format(
            'row-level security may hide rows of %s from %I, which owns the queue''s functions, so that they cannot reconcile: '
            'give it BYPASSRLS or a policy that is true for it',
            hidden.object, hidden.role
        )
    ELSE format(
        'row-level security hides rows of %s from this role: make it the owner, give it BYPASSRLS, or a policy (host rights)',
        hidden.object
    )
END
FROM (
    SELECT asked.object, current_user AS role, false AS owner
    FROM (
        VALUES
            ('public.receipts'), ('public.receipt_queue'), ('public.receipt_queue_dlq'), ('public.receipt_component_changes')
    ) AS asked (object)
    UNION
    SELECT asked.object, pg_get_userbyid(p.proowner), true
    FROM (VALUES ('public.receipts'), ('public.receipt_queue'), ('public.receipt_queue_dlq')) AS asked (object)
    JOIN pg_proc p ON p.oid = 'public.receipt_queue_reconcile(text, integer, boolean, boolean)'::regprocedure
    WHERE pg_get_userbyid(p.proowner) <> current_user
) AS hidden
JOIN pg_class c ON c.oid = hidden.object::regclass
JOIN pg_roles r ON r.rolname = hidden.role
-- It binds this role ...
WHERE c.relrowsecurity
  AND NOT r.rolsuper
  AND NOT r.rolbypassrls
  AND (c.relforcerowsecurity OR NOT pg_has_role(r.oid, c.relowner, 'USAGE'))
  -- ... and no policy shows it every row, or one takes some away again.
  AND EXISTS (
      SELECT
      FROM (VALUES ('r'::"char"), ('w'::"char")) AS wanted (command)
      CROSS JOIN LATERAL (
          SELECT
              bool_or(p.polpermissive AND pg_get_expr(p.polqual, p.polrelid) = 'true') AS shown,
              bool_or(NOT p.polpermissive AND pg_get_expr(p.polqual, p.polrelid) <> 'true') AS narrowed
          FROM pg_policy p
          WHERE p.polrelid = c.oid
            AND p.polcmd IN ('*', wanted.command)
            AND EXISTS (SELECT FROM unnest(p.polroles) AS o (oid) WHERE o.oid = 0 OR pg_has_role(r.oid, o.oid, 'USAGE'))
      ) AS policies
      WHERE policies.shown IS NOT TRUE OR policies.narrowed IS TRUE
  )
UNION ALL
SELECT format('trigger %s is off or missing: ALTER TABLE receipts ENABLE TRIGGER %1$s', needed.name)
FROM (VALUES ('receipts_enqueue'), ('receipts_requeue'), ('receipts_reread')) AS needed (name)
WHERE NOT EXISTS (
    SELECT
    FROM pg_trigger t
    WHERE t.tgrelid = 'public.receipts'::regclass AND t.tgname = needed.name AND t.tgenabled IN ('O', 'A')
)
UNION ALL
-- As the migration has it: the app may have changed the type since.
SELECT format(
    'receipts.total_amount has the type %s, which cannot hold cents: ALTER TABLE receipts ALTER COLUMN total_amount TYPE numeric(12, 2)',
    format_type(a.atttypid, a.atttypmod)
)
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
CROSS JOIN LATERAL (
    SELECT
        coalesce(nullif(t.typbasetype, 0), t.oid)::regtype AS base,
        CASE WHEN t.typbasetype <> 0 THEN t.typtypmod ELSE a.atttypmod END AS modifier
) AS held
WHERE a.attrelid = 'public.receipts'::regclass
  AND a.attname = 'total_amount'
  AND NOT a.attisdropped
  AND (
      held.base IN ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype)
      OR (held.base = 'numeric'::regtype AND held.modifier >= 4 AND ((held.modifier - 4) & 2047) NOT BETWEEN 2 AND 1023)
  )
