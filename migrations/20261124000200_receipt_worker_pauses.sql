-- A worker that claims nothing for a while, because its component or the services fail for everything, says so where
-- everybody can see it: in the ledger. Idempotent; the table is small.
SET LOCAL lock_timeout = '10s';

ALTER TABLE public.receipt_component_changes
    DROP CONSTRAINT IF EXISTS receipt_component_changes_known,
    ADD CONSTRAINT receipt_component_changes_known CHECK (
        change IN (
            'started', 'switched', 'confirmed', 'rolled-back', 'refused', 'allowed', 'stopped', 'paused', 'resumed'
        )
    );

INSERT INTO public.receipt_queue_schema (version) VALUES (20261124000200) ON CONFLICT DO NOTHING;
