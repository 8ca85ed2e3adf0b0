-- What the status is of a receipt that is inserted without one, where that is known and not pending.
SELECT coalesce(d.expression, 'null')
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN LATERAL (
    SELECT pg_get_expr(e.adbin, e.adrelid) AS expression
    FROM pg_attrdef e
    WHERE e.adrelid = a.attrelid AND e.adnum = a.attnum
) AS d ON true
WHERE a.attrelid = to_regclass('public.receipts') AND a.attname = 'status' AND NOT a.attisdropped
  AND CASE
      -- A domain may have the default; and where null is refused, the app names one.
      WHEN d.expression IS NULL THEN t.typdefault IS NULL AND NOT a.attnotnull
      -- A literal. What is computed may be anything.
      ELSE d.expression ~ '^''([^'']|'''')*''(::|$)' AND d.expression !~ '^''pending''(::|$)'
  END
