-- Renews leases. A job that does not come back is lost. $1 ids, $2 tokens, $3 lease in milliseconds.
UPDATE public.receipt_queue q
SET available_at = now() + $3::bigint * interval '1 millisecond'
FROM unnest($1::bigint[], $2::bigint[]) AS held (id, token)
WHERE q.id = held.id AND q.lease_token = held.token
RETURNING q.id
