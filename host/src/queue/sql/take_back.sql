-- Makes jobs due now that were put back under these tokens, and gives back the attempt that it cost. Rows that somebody
-- leased or settled since have another token, or a lease. $1 ids, $2 tokens.
UPDATE public.receipt_queue q
SET attempts = CASE
        -- Nothing was charged, so that nothing is to be given back.
        WHEN (q.history -> -1 -> 'token') = to_jsonb(o.token) AND q.history -> -1 ->> 'outcome' = 'retry'
            THEN greatest(q.attempts - 1, 0)
        ELSE q.attempts
    END,
    -- Told, and so that taking it back twice (the reply to a commit was lost) gives back one attempt.
    history = CASE
        WHEN (q.history -> -1 -> 'token') = to_jsonb(o.token) THEN jsonb_set(q.history, '{-1,outcome}', '"taken-back"')
        ELSE q.history
    END,
    available_at = now()
FROM unnest($1::bigint[], $2::bigint[]) AS o (job_id, token)
WHERE q.id = o.job_id AND q.id = ANY ($1) AND q.settled_token = o.token AND q.lease_token IS NULL AND NOT q.processed
