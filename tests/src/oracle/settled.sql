-- What must hold when everything is over: nothing waits, and what is done says what it was read from.
SELECT 1 AS invariant, 'it waits for ever' AS broken, q.receipt_id::text AS receipt,
    concat_ws(
        ' ', 'attempts', q.attempts, 'claims', q.claims, 'leased by', coalesce(q.leased_by, 'nobody'), 'due in',
        round(extract(epoch FROM q.available_at - now())), 's; last error', coalesce(q.last_error_code, 'none')
    ) AS detail
FROM public.receipt_queue q
WHERE NOT q.processed
UNION ALL
SELECT 5, 'it is done by a component and names no artifact', r.id::text, concat('component ', r.ocr_component)
FROM public.receipts r
WHERE r.status::text = 'ocr_done' AND r.ocr_component IS NOT NULL AND r.ocr_s3_key IS NULL
ORDER BY 1, 2, 3
