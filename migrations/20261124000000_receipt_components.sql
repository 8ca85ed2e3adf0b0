-- Which component read a receipt, decided an attempt, ran on a worker. Idempotent, and with short locks: columns that are
-- null or have a constant default rewrite no table.
SET LOCAL lock_timeout = '10s';

-- Only what is missing is altered: a table that has it all is not locked for it.
DO $columns$
DECLARE
    missing record;
BEGIN
    FOR missing IN
        SELECT *
        FROM (
            VALUES
                ('public.receipts', 'ocr_component', 'text'),
                ('public.receipt_queue', 'history', 'jsonb NOT NULL DEFAULT ''[]'''),
                ('public.receipt_queue_dlq', 'history', 'jsonb NOT NULL DEFAULT ''[]''')
        ) AS wanted (place, name, type)
        WHERE NOT EXISTS (
            SELECT FROM pg_attribute
            WHERE attrelid = wanted.place::regclass AND attname = wanted.name AND NOT attisdropped
        )
    LOOP
        EXECUTE format('ALTER TABLE %s ADD COLUMN %I %s', missing.place, missing.name, missing.type);
    END LOOP;
END
$columns$;

COMMENT ON COLUMN public.receipts.ocr_component IS
    'SHA-256 of the component whose reading the receipt carries; null where a person edited it since, or it is to be read.';
COMMENT ON COLUMN public.receipt_queue.history IS
    'The last 20 attempts that did not complete: attempt, component, at, outcome, kind, code, token.';

-- As before, and: the digest stays only with what its component read. An UPDATE that changes a field and brings no other
-- digest is an edit. Compared as jsonb: a type without an operator for it here (one of an extension, json) is no error.
CREATE OR REPLACE FUNCTION public.receipts_reread() RETURNS trigger
LANGUAGE plpgsql
AS $body$
BEGIN
    IF NEW.status::text IN ('ocr_done', 'ocr_failed')
        AND OLD.status::text = NEW.status::text
        AND coalesce(nullif(NEW.s3_key::text, ''), NEW.image_url::text)
            IS DISTINCT FROM coalesce(nullif(OLD.s3_key::text, ''), OLD.image_url::text)
    THEN
        NEW.status := 'pending';
    END IF;
    IF NEW.ocr_component IS NULL THEN
        RETURN NEW;
    END IF;
    IF NEW.status::text IN ('pending', 'ocr_failed') THEN
        -- Nobody's reading any more; and the next one counts as a change though the same component does it.
        NEW.ocr_component := NULL;
    ELSIF NEW.ocr_component IS NOT DISTINCT FROM OLD.ocr_component
        AND pg_catalog.jsonb_build_array(NEW.vendor_text, NEW.total_amount, NEW.currency, NEW.receipt_date)
            IS DISTINCT FROM pg_catalog.jsonb_build_array(OLD.vendor_text, OLD.total_amount, OLD.currency, OLD.receipt_date)
    THEN
        NEW.ocr_component := NULL;
    END IF;
    RETURN NEW;
END
$body$;

DO $put$
DECLARE
    id_type text;
BEGIN
    SELECT format_type(a.atttypid, a.atttypmod) INTO id_type
    FROM pg_attribute a
    WHERE a.attrelid = 'public.receipts'::regclass AND a.attname = 'id';

    -- As before, and: a dead letter brings its history back, anything else begins without one.
    EXECUTE format($sql$
        CREATE OR REPLACE FUNCTION public.receipt_queue_put(ids %s[]) RETURNS integer
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
        AS $body$
        DECLARE
            queued integer;
        BEGIN
            WITH revived AS (
                DELETE FROM public.receipt_queue_dlq d
                WHERE d.receipt_id = ANY (ids)
                RETURNING d.receipt_id, d.deaths, d.claims, d.history
            )
            INSERT INTO public.receipt_queue AS q (receipt_id, s3_key, receipt_before, deaths, claims, history)
            SELECT
                r.id,
                coalesce(nullif(r.s3_key::text, ''), r.image_url::text),
                pg_catalog.jsonb_build_array(r.vendor_text, r.total_amount, r.currency, r.receipt_date),
                coalesce(d.deaths, 0),
                -- It may have been worked before, under a row that is gone: then there is an artifact to look for.
                coalesce(d.claims, 1),
                coalesce(d.history, '[]')
            FROM public.receipts r
            LEFT JOIN revived d ON d.receipt_id = r.id
            WHERE r.id = ANY (ids)
            ON CONFLICT (receipt_id) DO UPDATE SET
                s3_key = excluded.s3_key,
                receipt_before = excluded.receipt_before,
                attempts = 0,
                processed = false,
                processed_at = NULL,
                enqueued_at = now(),
                available_at = clock_timestamp(),
                lease_token = NULL,
                leased_by = NULL,
                last_error_kind = NULL,
                last_error_code = NULL,
                last_error = NULL,
                notes = NULL,
                history = excluded.history;
            GET DIAGNOSTICS queued = ROW_COUNT;
            IF queued > 0 THEN
                PERFORM pg_notify('receipt_channel', '');
            END IF;
            RETURN queued;
        END
        $body$
    $sql$, id_type);
END
$put$;

-- What ran where and why it changed, over all workers. In 'rolled-back' the digest is the bad one, and previous the one that
-- runs again.
CREATE TABLE IF NOT EXISTS public.receipt_component_changes (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at           timestamptz NOT NULL DEFAULT now(),
    worker       text NOT NULL,
    change       text NOT NULL CONSTRAINT receipt_component_changes_known CHECK (
        change IN ('started', 'switched', 'confirmed', 'rolled-back', 'refused', 'allowed', 'stopped')
    ),
    digest       text NOT NULL,
    previous     text,
    reason       text,
    source       text,
    host_version text
);

-- "Is this digest distrusted": the newest of its rolled-back and allowed.
CREATE INDEX IF NOT EXISTS receipt_component_changes_trust
    ON public.receipt_component_changes (digest, id) WHERE change IN ('rolled-back', 'allowed');

-- "What does each worker run": the newest of its changes.
CREATE INDEX IF NOT EXISTS receipt_component_changes_worker ON public.receipt_component_changes (worker, id);

-- "What proved itself last": last_confirmed.sql, with the same words.
CREATE INDEX IF NOT EXISTS receipt_component_changes_confirmed
    ON public.receipt_component_changes (id) WHERE change IN ('started', 'confirmed', 'rolled-back');

-- "What is old".
CREATE INDEX IF NOT EXISTS receipt_component_changes_at ON public.receipt_component_changes (at);

-- "Is this token's outcome a dead letter": asked whenever the reply to a commit was lost, and to take back what a bad component
-- buried. It locks a table that is written for dead letters alone.
CREATE INDEX IF NOT EXISTS receipt_queue_dlq_settled_token ON public.receipt_queue_dlq (settled_token);

-- Whoever writes into the ledger forgets what is older than 90 days, but for what is still asked for: whether a digest is
-- trusted, whether it was confirmed, and what a worker runs that has a session. By trigger, and not by the worker: its
-- role cannot delete, and so cannot make a digest trusted by forgetting.
CREATE OR REPLACE FUNCTION public.receipt_component_changes_forget() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    DELETE FROM public.receipt_component_changes c
    WHERE c.at < now() - interval '90 days'
      AND NOT (
          c.change IN ('rolled-back', 'allowed')
          AND NOT EXISTS (
              SELECT
              FROM public.receipt_component_changes newer
              WHERE newer.digest = c.digest AND newer.change IN ('rolled-back', 'allowed') AND newer.id > c.id
          )
      )
      AND NOT (
          c.change = 'confirmed'
          AND NOT EXISTS (
              SELECT
              FROM public.receipt_component_changes newer
              WHERE newer.digest = c.digest AND newer.change = 'confirmed' AND newer.id > c.id
          )
      )
      AND NOT EXISTS (
          SELECT
          FROM pg_stat_activity s
          WHERE s.datname = current_database() AND s.application_name = 'receipt-worker ' || c.worker
      );
    RETURN NULL;
END
$body$;

CREATE OR REPLACE TRIGGER receipt_component_changes_forget
    AFTER INSERT ON public.receipt_component_changes
    FOR EACH STATEMENT EXECUTE FUNCTION public.receipt_component_changes_forget();

-- The app's roles have no business here, as with the queue tables.
ALTER TABLE public.receipt_component_changes ENABLE ROW LEVEL SECURITY;

DO $rights$
DECLARE
    granted record;
    id_schema name;
BEGIN
    -- An id of an extension's type has its operators where that type is; replacing the function has forgotten it.
    SELECT n.nspname INTO id_schema
    FROM pg_attribute a
    JOIN pg_type t ON t.oid = a.atttypid
    JOIN pg_namespace n ON n.oid = t.typnamespace
    WHERE a.attrelid = 'public.receipts'::regclass AND a.attname = 'id';

    FOR granted IN
        SELECT p.oid::regprocedure AS function
        FROM pg_proc p
        WHERE p.pronamespace = 'public'::regnamespace
          AND p.proname IN ('receipt_queue_put', 'receipt_component_changes_forget')
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', granted.function);
        IF id_schema <> 'pg_catalog' THEN
            EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, %I, pg_temp', granted.function, id_schema);
        END IF;
    END LOOP;

    -- Later grants are the operator's, and stay: this is done when the migration is first applied.
    IF EXISTS (SELECT FROM public.receipt_queue_schema WHERE version = 20261124000000) THEN
        RETURN;
    END IF;
    FOR granted IN
        SELECT format('%s %s', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass) AS object,
               r.rolname AS grantee
        FROM pg_class c
        CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
        LEFT JOIN pg_roles r ON r.oid = acl.grantee
        WHERE c.relnamespace = 'public'::regnamespace
          AND c.relname IN ('receipt_component_changes', 'receipt_component_changes_id_seq')
          AND acl.grantee <> c.relowner
    LOOP
        IF granted.grantee IS NULL THEN
            EXECUTE format('REVOKE ALL ON %s FROM PUBLIC', granted.object);
        ELSE
            EXECUTE format('REVOKE ALL ON %s FROM %I', granted.object, granted.grantee);
        END IF;
    END LOOP;
END
$rights$;

INSERT INTO public.receipt_queue_schema (version) VALUES (20261124000000) ON CONFLICT DO NOTHING;
