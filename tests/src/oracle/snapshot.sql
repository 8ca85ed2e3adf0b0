-- What must hold at any moment, in one snapshot. $1: the limit of attempts.
SELECT 1 AS invariant, 'it waits and is not queued' AS broken, r.id::text AS receipt, concat('status ', r.status) AS detail
FROM public.receipts r
WHERE r.status::text = 'pending'
  AND NOT EXISTS (SELECT FROM public.receipt_queue q WHERE q.receipt_id = r.id AND NOT q.processed)
UNION ALL
SELECT 1, 'it failed and has no dead letter', r.id::text, ''
FROM public.receipts r
WHERE r.status::text = 'ocr_failed'
  AND NOT EXISTS (SELECT FROM public.receipt_queue_dlq d WHERE d.receipt_id = r.id)
UNION ALL
SELECT 1, 'it is done and has a dead letter', r.id::text, concat('error ', d.error_code)
FROM public.receipts r
JOIN public.receipt_queue_dlq d ON d.receipt_id = r.id
WHERE r.status::text = 'ocr_done'
UNION ALL
SELECT 1, 'it is queued and has a dead letter', q.receipt_id::text, concat('processed ', q.processed)
FROM public.receipt_queue q
JOIN public.receipt_queue_dlq d ON d.receipt_id = q.receipt_id
UNION ALL
SELECT 2, 'it is settled and leased', q.receipt_id::text, concat('token ', q.lease_token)
FROM public.receipt_queue q
WHERE q.processed AND q.lease_token IS NOT NULL
UNION ALL
SELECT 2, 'a lease is settled that is not over', q.receipt_id::text, concat('token ', q.lease_token)
FROM public.receipt_queue q
WHERE NOT q.processed AND q.lease_token = q.settled_token
UNION ALL
SELECT 2, 'two leases have one token', min(q.receipt_id::text), concat('token ', q.lease_token, ', ', count(*), ' rows')
FROM public.receipt_queue q
WHERE q.lease_token IS NOT NULL
GROUP BY q.lease_token
HAVING count(*) > 1
UNION ALL
SELECT 3, 'it is done and still queued', r.id::text, concat('token ', q.lease_token)
FROM public.receipts r
JOIN public.receipt_queue q ON q.receipt_id = r.id
WHERE r.status::text = 'ocr_done' AND NOT q.processed
UNION ALL
SELECT 6, 'it has more attempts than are granted', q.receipt_id::text, concat(q.attempts, ' of ', $1::integer)
FROM public.receipt_queue q
WHERE q.attempts > $1
UNION ALL
SELECT 6, 'it has more attempts than are granted', d.receipt_id::text, concat(d.attempts, ' of ', $1::integer)
FROM public.receipt_queue_dlq d
WHERE d.attempts > $1
UNION ALL
SELECT 6, 'it has fewer than no attempts', q.receipt_id::text, q.attempts::text
FROM public.receipt_queue q
WHERE q.attempts < 0
ORDER BY 1, 2, 3
