-- Which of these settles were committed although their reply was lost. $1 ids, $2 tokens. A token belongs to one lease, so
-- that finding it settled, in the queue or among the dead, is proof. A job that was put back may have been settled anew by
-- another worker since then: its history tells.
SELECT o.token
FROM unnest($1::bigint[], $2::bigint[]) AS o (job_id, token)
WHERE EXISTS (
        SELECT FROM public.receipt_queue q
        WHERE q.id = o.job_id
          AND (q.settled_token = o.token OR q.history @> jsonb_build_array(jsonb_build_object('token', o.token)))
    )
   OR EXISTS (SELECT FROM public.receipt_queue_dlq d WHERE d.settled_token = o.token)
