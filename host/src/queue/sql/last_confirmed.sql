-- The digest that was confirmed last and is not distrusted.
SELECT c.digest
FROM public.receipt_component_changes c
WHERE c.change = 'confirmed'
  AND 'rolled-back' IS DISTINCT FROM (
      SELECT t.change
      FROM public.receipt_component_changes t
      WHERE t.digest = c.digest AND t.change IN ('rolled-back', 'allowed')
      ORDER BY t.id DESC
      LIMIT 1
  )
ORDER BY c.id DESC
LIMIT 1
