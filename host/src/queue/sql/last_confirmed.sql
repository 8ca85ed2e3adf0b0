-- The digest that proved itself last and is not distrusted: it was confirmed, or a worker went back to it, or an operator
-- had a worker start with it.
SELECT convert_to(c.digest, getdatabaseencoding()) AS digest, getdatabaseencoding()::text AS encoding
FROM (
    SELECT id, CASE change WHEN 'rolled-back' THEN previous ELSE digest END AS digest
    FROM public.receipt_component_changes
    WHERE change IN ('started', 'confirmed', 'rolled-back')
) AS c
WHERE c.digest IS NOT NULL
  AND 'rolled-back' IS DISTINCT FROM (
      SELECT t.change
      FROM public.receipt_component_changes t
      WHERE t.digest = c.digest AND t.change IN ('rolled-back', 'allowed')
      ORDER BY t.id DESC
      LIMIT 1
  )
ORDER BY c.id DESC
LIMIT 1
