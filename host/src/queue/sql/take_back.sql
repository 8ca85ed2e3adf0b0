-- Gives back the attempts that these jobs were charged under these tokens, whoever has the job now. $1 ids, $2 tokens.
-- Id and token, not the token alone: a receipt that was queued anew has another row or an empty history, and what it was
-- charged then is forgotten already. What was given back is marked, so that taking it back twice (the reply to a commit was
-- lost) gives it back once. Everything is computed from the row itself: a row that somebody changed meanwhile is looked at
-- again as it is then.
UPDATE public.receipt_queue q
SET attempts = greatest(
        q.attempts - (
            SELECT count(*)
            FROM jsonb_array_elements(q.history) AS past
            WHERE past ->> 'outcome' = 'retry' AND (past ->> 'token')::bigint = ANY (o.tokens)
        ),
        0
    ),
    history = (
        SELECT coalesce(
            jsonb_agg(
                CASE
                    WHEN past ->> 'outcome' IN ('retry', 'uncharged') AND (past ->> 'token')::bigint = ANY (o.tokens)
                        THEN past || '{"outcome": "taken-back"}'
                    ELSE past
                END
                ORDER BY place
            ),
            '[]'
        )
        FROM jsonb_array_elements(q.history) WITH ORDINALITY AS h (past, place)
    ),
    -- A wait that somebody else decided on since stays, and so does a lease.
    available_at = CASE
        WHEN q.settled_token = ANY (o.tokens) AND q.lease_token IS NULL AND NOT q.processed THEN now()
        ELSE q.available_at
    END
FROM (
    SELECT job_id, array_agg(token) AS tokens
    FROM unnest($1::bigint[], $2::bigint[]) AS o (job_id, token)
    GROUP BY job_id
) AS o
WHERE q.id = o.job_id
  AND q.id = ANY ($1)
  AND (
      (q.settled_token = ANY (o.tokens) AND q.lease_token IS NULL AND NOT q.processed)
      OR EXISTS (
          SELECT
          FROM jsonb_array_elements(q.history) AS past
          WHERE past ->> 'outcome' = 'retry' AND (past ->> 'token')::bigint = ANY (o.tokens)
      )
  )
