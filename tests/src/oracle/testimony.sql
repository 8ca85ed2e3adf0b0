-- What the witness saw and must not have seen. Only what workers did is on trial.
WITH story AS (
    SELECT
        e.*,
        lag(e.event) OVER of_settles AS before
    FROM witness.event e
    WHERE e.event IN ('queued', 'done') OR (e.event = 'taken out' AND e.worker IS NOT NULL)
    WINDOW of_settles AS (PARTITION BY e.receipt ORDER BY e.id)
),
hands AS (
    SELECT
        e.*,
        lag(e.event) OVER of_values AS before,
        lag(e.worker) OVER of_values AS before_by
    FROM witness.event e
    WHERE e.event IN ('queued', 'written')
    WINDOW of_values AS (PARTITION BY e.receipt ORDER BY e.id)
)
SELECT 1 AS invariant, 'it was settled twice' AS broken, s.receipt, concat(s.before, ', then ', s.event) AS detail
FROM story s
WHERE s.event <> 'queued' AND s.before <> 'queued'
UNION ALL
SELECT 1, 'a worker deleted it', e.receipt, concat('by ', e.worker)
FROM witness.event e
WHERE e.event = 'gone' AND e.worker IS NOT NULL
UNION ALL
SELECT 2, 'a token did not grow', e.receipt, concat('from ', e.held, ' to ', e.token)
FROM witness.event e
WHERE e.event = 'leased backwards'
UNION ALL
SELECT 2, 'a lease was settled under another token', e.receipt, concat(e.event, ': held ', e.held, ', said ', e.token)
FROM witness.event e
WHERE e.event IN ('done', 'put back') AND e.worker IS NOT NULL AND e.token IS DISTINCT FROM e.held
UNION ALL
SELECT 2, 'a lease was settled under another token', b.receipt, concat('buried: held ', o.held, ', said ', b.token)
FROM witness.event b
JOIN witness.event o ON o.receipt = b.receipt AND o.xid = b.xid AND o.event = 'taken out'
WHERE b.event = 'buried' AND b.token IS DISTINCT FROM o.held
UNION ALL
SELECT 2, 'a lease was settled by who did not hold it', e.receipt, concat(e.event, ': ', e.holder, ' held it, not ', e.worker)
FROM witness.event e
WHERE e.event IN ('done', 'put back') AND e.worker IS DISTINCT FROM e.holder AND e.worker IS NOT NULL
UNION ALL
SELECT 2, 'a lease was renewed by who did not hold it', e.receipt, concat(e.holder, ' held it, not ', e.worker)
FROM witness.event e
WHERE e.event = 'renewed' AND e.worker IS NOT NULL
UNION ALL
SELECT 3, 'receipt and queue changed in two transactions', e.receipt, e.event
FROM witness.event e
WHERE e.worker IS NOT NULL
  AND e.event IN ('became ocr_done', 'became ocr_failed', 'written')
  AND NOT EXISTS (
      SELECT
      FROM witness.event q
      WHERE q.receipt = e.receipt
        AND q.xid = e.xid
        AND q.event = CASE e.event WHEN 'became ocr_failed' THEN 'taken out' ELSE 'done' END
  )
UNION ALL
SELECT 4, 'what a person wrote was overwritten', h.receipt, concat('by ', h.worker)
FROM hands h
WHERE h.event = 'written' AND h.worker IS NOT NULL AND h.before = 'written' AND h.before_by IS NULL
ORDER BY 1, 2, 3
