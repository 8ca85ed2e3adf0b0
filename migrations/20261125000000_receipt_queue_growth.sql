-- What the queue needs when it is large. Idempotent. Making the index reads the table once and keeps writers waiting
-- meanwhile: some seconds where there are ten million rows; prune before it (docs/growth.md).
SET LOCAL lock_timeout = '10s';

-- "Which jobs have used up their attempts" (spent.sql, its order exactly): asked once a second, of an index that has those
-- alone that were begun. In receipt_queue_due all that waits would be read for it.
CREATE INDEX IF NOT EXISTS receipt_queue_spent
    ON public.receipt_queue (attempts, available_at, id) WHERE NOT processed AND attempts > 0;

INSERT INTO public.receipt_queue_schema (version) VALUES (20261125000000) ON CONFLICT DO NOTHING;
