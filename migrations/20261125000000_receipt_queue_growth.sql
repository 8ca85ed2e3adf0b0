-- What the queue needs when it is large, and rights that were left over. Idempotent. Making the index reads the table once and keeps writers waiting
-- meanwhile: some seconds where there are ten million rows; prune before it (docs/growth.md).
SET LOCAL lock_timeout = '10s';

-- "Which jobs have used up their attempts" (exhausted.sql, its order exactly): asked once a second, of an index that has those
-- alone that were begun. In receipt_queue_due all that waits would be read for it.
CREATE INDEX IF NOT EXISTS receipt_queue_spent
    ON public.receipt_queue (attempts, available_at, id) WHERE NOT processed AND attempts > 0;

-- Room for a row's next version on its own page is of use to updates that touch no index (HOT). None of the queue's is one:
-- claims and settles move the row in its indexes. So pages are filled, but where the operator chose otherwise.
DO $storage$
BEGIN
    IF EXISTS (SELECT FROM pg_class WHERE oid = 'public.receipt_queue'::regclass AND 'fillfactor=70' = ANY (reloptions)) THEN
        ALTER TABLE public.receipt_queue SET (fillfactor = 100);
    END IF;
END
$storage$;

-- A platform whose default privileges grant everything to the app's roles (Supabase) has granted them these two as well. They
-- are triggers', and nobody else may hang them on a table. Later grants are the operator's, and stay.
DO $rights$
DECLARE
    granted record;
BEGIN
    IF EXISTS (SELECT FROM public.receipt_queue_schema WHERE version = 20261125000000) THEN
        RETURN;
    END IF;
    FOR granted IN
        SELECT p.oid::regprocedure AS function, r.rolname AS grantee
        FROM pg_proc p
        CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS acl
        LEFT JOIN pg_roles r ON r.oid = acl.grantee
        WHERE p.pronamespace = 'public'::regnamespace
          AND p.proname IN ('receipt_component_changes_forget', 'receipts_reread')
          AND acl.grantee <> p.proowner
    LOOP
        IF granted.grantee IS NULL THEN
            EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', granted.function);
        ELSE
            EXECUTE format('REVOKE ALL ON FUNCTION %s FROM %I', granted.function, granted.grantee);
        END IF;
    END LOOP;
END
$rights$;

INSERT INTO public.receipt_queue_schema (version) VALUES (20261125000000) ON CONFLICT DO NOTHING;
