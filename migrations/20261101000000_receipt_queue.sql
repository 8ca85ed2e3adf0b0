-- The receipt queue: receipts (created, or completed with what is missing), the queue, its dead letters, the trigger that
-- fills it, and the views that people watch. Idempotent: running it twice changes nothing.
--
-- The queue's key columns take the type that receipts.id has in this database (uuid, bigint, text), which is why the
-- tables and one function are made with EXECUTE.

-- Rather give up than queue all traffic behind a lock that somebody holds for long; run it again then.
SET LOCAL lock_timeout = '10s';

CREATE TABLE IF NOT EXISTS public.receipts (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id    text,
    status     text NOT NULL DEFAULT 'pending',
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Only what is missing is altered: a table that has it all is not locked for it.
DO $columns$
DECLARE
    missing text;
    has_rows boolean;
    has_status boolean;
BEGIN
    SELECT EXISTS (SELECT FROM public.receipts) INTO has_rows;
    SELECT EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = 'public.receipts'::regclass AND attname = 'status' AND NOT attisdropped
    ) INTO has_status;

    SELECT string_agg(format('ADD COLUMN %I %s', wanted.name, wanted.type), ', ') INTO missing
    FROM (
        VALUES
            ('user_id', 'text'),
            ('status', 'text NOT NULL DEFAULT ''not_queued'''),
            ('created_at', 'timestamptz NOT NULL DEFAULT now()'),
            ('image_url', 'text'),
            ('s3_key', 'text'),
            ('vendor_text', 'text'),
            ('total_amount', 'numeric'),
            ('currency', 'text'),
            ('receipt_date', 'date'),
            ('ocr_confidence', 'numeric'),
            ('ocr_s3_key', 'text')
    ) AS wanted (name, type)
    WHERE NOT EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = 'public.receipts'::regclass AND attname = wanted.name AND NOT attisdropped
    );
    IF missing IS NOT NULL THEN
        EXECUTE 'ALTER TABLE public.receipts ' || missing;
    END IF;
    IF NOT has_status THEN
        ALTER TABLE public.receipts ALTER COLUMN status SET DEFAULT 'pending';
        IF has_rows THEN
            -- Nobody has said that all of history is to be read, and paid for, again.
            RAISE NOTICE 'receipts had no status: the rows that were there are not_queued; set those that are to be read to pending';
        END IF;
    END IF;
END
$columns$;

-- What cannot be mended by adding is refused here, by name, before anything depends on it.
DO $check$
DECLARE
    key_name   text;
    check_row  record;
    word       text;
    allowed    boolean;
    status_type regtype;
BEGIN
    SELECT a.attname INTO key_name
    FROM pg_index i
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
    WHERE i.indrelid = 'public.receipts'::regclass AND i.indisunique AND i.indnkeyatts = 1 AND a.attname = 'id'
      AND i.indpred IS NULL;
    IF key_name IS NULL THEN
        RAISE EXCEPTION 'table public.receipts has no primary key or unique index on its column "id"'
            USING HINT = 'Add one: ALTER TABLE public.receipts ADD PRIMARY KEY (id);';
    END IF;

    SELECT a.atttypid INTO status_type
    FROM pg_attribute a
    WHERE a.attrelid = 'public.receipts'::regclass AND a.attname = 'status';
    IF EXISTS (SELECT FROM pg_type t WHERE t.oid = status_type AND t.typtype = 'e') THEN
        EXECUTE format('ALTER TYPE %s ADD VALUE IF NOT EXISTS %L', status_type, 'pending');
        EXECUTE format('ALTER TYPE %s ADD VALUE IF NOT EXISTS %L', status_type, 'ocr_done');
        EXECUTE format('ALTER TYPE %s ADD VALUE IF NOT EXISTS %L', status_type, 'ocr_failed');
    END IF;

    -- A check on the status alone is asked whether it takes our words.
    FOR check_row IN
        SELECT c.conname, pg_get_expr(c.conbin, c.conrelid) AS expression
        FROM pg_constraint c
        JOIN pg_attribute a ON a.attrelid = c.conrelid AND c.conkey = ARRAY[a.attnum]
        WHERE c.conrelid = 'public.receipts'::regclass AND c.contype = 'c' AND a.attname = 'status'
    LOOP
        FOREACH word IN ARRAY ARRAY['pending', 'ocr_done', 'ocr_failed'] LOOP
            EXECUTE format(
                'SELECT coalesce((%s), true) FROM (SELECT %L::text AS status) AS receipts', check_row.expression, word
            ) INTO allowed;
            IF NOT allowed THEN
                RAISE EXCEPTION 'the check constraint "%" on public.receipts.status does not allow %', check_row.conname, word
                    USING HINT = 'Replace it by one that allows pending, ocr_done and ocr_failed beside your own values.';
            END IF;
        END LOOP;
    END LOOP;

    IF to_regclass('public.receipt_queue') IS NOT NULL AND NOT EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = to_regclass('public.receipt_queue') AND attname = 'lease_token' AND NOT attisdropped
    ) THEN
        RAISE EXCEPTION 'there is a table public.receipt_queue of another make'
            USING HINT = 'Let its worker drain it, then rename it and its dead letter table out of the way: '
                'ALTER TABLE receipt_queue RENAME TO receipt_queue_old; '
                'ALTER TABLE receipt_queue_dlq RENAME TO receipt_queue_dlq_old; '
                'DROP TRIGGER receipts_enqueue ON receipts; DROP VIEW vw_receipt_queue_status, vw_receipt_queue_failures;';
    END IF;
END
$check$;

-- One sequence for all fencing tokens: a token only ever grows, and no two leases share one, not even when a row was
-- deleted and made anew.
CREATE SEQUENCE IF NOT EXISTS public.receipt_queue_token AS bigint;

DO $tables$
DECLARE
    id_type text;
BEGIN
    SELECT format_type(a.atttypid, a.atttypmod) INTO id_type
    FROM pg_attribute a
    WHERE a.attrelid = 'public.receipts'::regclass AND a.attname = 'id';

    EXECUTE format($sql$
        CREATE TABLE IF NOT EXISTS public.receipt_queue (
            id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            receipt_id      %s NOT NULL UNIQUE REFERENCES public.receipts (id) ON DELETE CASCADE,
            s3_key          text,
            attempts        integer NOT NULL DEFAULT 0,
            processed       boolean NOT NULL DEFAULT false,
            enqueued_at     timestamptz NOT NULL DEFAULT now(),
            processed_at    timestamptz,
            available_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
            claims          integer NOT NULL DEFAULT 0,
            lease_token     bigint,
            leased_by       text,
            settled_token   bigint,
            receipt_before  jsonb,
            last_error_kind text,
            last_error_code text,
            last_error      text,
            component       text,
            notes           text,
            deaths          integer NOT NULL DEFAULT 0
        ) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000)
    $sql$, id_type);

    EXECUTE format($sql$
        CREATE TABLE IF NOT EXISTS public.receipt_queue_dlq (
            id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            receipt_id    %s NOT NULL UNIQUE REFERENCES public.receipts (id) ON DELETE CASCADE,
            s3_key        text,
            error_kind    text NOT NULL,
            error_code    text NOT NULL,
            error_message text NOT NULL,
            attempts      integer NOT NULL,
            claims        integer NOT NULL,
            enqueued_at   timestamptz NOT NULL,
            failed_at     timestamptz NOT NULL DEFAULT now(),
            settled_token bigint NOT NULL,
            component     text,
            notes         text,
            deaths        integer NOT NULL
        )
    $sql$, id_type);

    -- Puts receipts into the queue, or back into it, as new: fresh attempts, no lease (whoever holds one has lost it), and
    -- out of the dead letters, with a memory of having been there.
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
                RETURNING d.receipt_id, d.deaths, d.claims
            )
            INSERT INTO public.receipt_queue AS q (receipt_id, s3_key, receipt_before, deaths, claims)
            SELECT
                r.id,
                coalesce(nullif(r.s3_key::text, ''), r.image_url::text),
                pg_catalog.jsonb_build_array(r.vendor_text, r.total_amount, r.currency, r.receipt_date),
                coalesce(d.deaths, 0),
                -- It may have been worked before, under a row that is gone: then there is an artifact to look for.
                coalesce(d.claims, 1)
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
                notes = NULL;
            GET DIAGNOSTICS queued = ROW_COUNT;
            IF queued > 0 THEN
                PERFORM pg_notify('receipt_channel', '');
            END IF;
            RETURN queued;
        END
        $body$
    $sql$, id_type);
END
$tables$;

-- The claim's ORDER BY exactly. available_at is both "not before" (retries) and "leased until" (the visibility timeout),
-- so that one partial index answers every question about what is due; processed rows are not in it.
CREATE INDEX IF NOT EXISTS receipt_queue_due ON public.receipt_queue (available_at, id) WHERE NOT processed;

-- "ORDER BY enqueued_at DESC LIMIT 1" and pruning by age.
CREATE INDEX IF NOT EXISTS receipt_queue_enqueued_at ON public.receipt_queue (enqueued_at);

-- One queue insert and one NOTIFY for a statement, however many receipts it inserts.
CREATE OR REPLACE FUNCTION public.receipts_enqueue() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    INSERT INTO public.receipt_queue (receipt_id, s3_key, receipt_before)
    SELECT
        n.id,
        coalesce(nullif(n.s3_key::text, ''), n.image_url::text),
        pg_catalog.jsonb_build_array(n.vendor_text, n.total_amount, n.currency, n.receipt_date)
    FROM new_receipts n
    WHERE n.status::text = 'pending'
    ON CONFLICT (receipt_id) DO NOTHING;
    IF FOUND THEN
        PERFORM pg_notify('receipt_channel', '');
    END IF;
    RETURN NULL;
END
$body$;

-- A receipt that is done or failed and gets another image is pending again. Before the row is written and by the one who
-- writes it: no second UPDATE, and the app's own triggers run in the surroundings that they expect. The columns are not in
-- the trigger's definition, so that the app can still change their types.
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
    RETURN NEW;
END
$body$;

-- A receipt that becomes pending is queued, and so is one that waits and whose image is replaced.
CREATE OR REPLACE FUNCTION public.receipts_requeue() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    PERFORM public.receipt_queue_put(array_agg(n.id))
    FROM new_receipts n
    JOIN old_receipts o ON o.id = n.id
    WHERE n.status::text = 'pending'
      AND (
          o.status::text IS DISTINCT FROM 'pending'
          OR coalesce(nullif(n.s3_key::text, ''), n.image_url::text)
              IS DISTINCT FROM coalesce(nullif(o.s3_key::text, ''), o.image_url::text)
      )
    HAVING count(*) > 0;

    -- Somebody finished a dead receipt by hand: it is done, so it is no dead letter any more.
    DELETE FROM public.receipt_queue_dlq d
    USING new_receipts n
    JOIN old_receipts o ON o.id = n.id
    WHERE d.receipt_id = n.id AND o.status::text IS DISTINCT FROM 'ocr_done' AND n.status::text = 'ocr_done';
    RETURN NULL;
END
$body$;

CREATE OR REPLACE TRIGGER receipts_enqueue
    AFTER INSERT ON public.receipts
    REFERENCING NEW TABLE AS new_receipts
    FOR EACH STATEMENT EXECUTE FUNCTION public.receipts_enqueue();

CREATE OR REPLACE TRIGGER receipts_reread
    BEFORE UPDATE ON public.receipts
    FOR EACH ROW EXECUTE FUNCTION public.receipts_reread();

CREATE OR REPLACE TRIGGER receipts_requeue
    AFTER UPDATE ON public.receipts
    REFERENCING OLD TABLE AS old_receipts NEW TABLE AS new_receipts
    FOR EACH STATEMENT EXECUTE FUNCTION public.receipts_requeue();

CREATE OR REPLACE VIEW public.vw_receipt_queue_status AS
SELECT
    'pending'::text AS status,
    count(*) AS count,
    coalesce(round(avg(extract(epoch FROM now() - enqueued_at))), 0)::bigint AS avg_age_seconds,
    coalesce(round(max(extract(epoch FROM now() - enqueued_at))), 0)::bigint AS max_age_seconds
FROM public.receipt_queue
WHERE NOT processed
UNION ALL
SELECT
    'processed',
    count(*),
    coalesce(round(avg(extract(epoch FROM processed_at - enqueued_at))), 0)::bigint,
    coalesce(round(max(extract(epoch FROM processed_at - enqueued_at))), 0)::bigint
FROM public.receipt_queue
WHERE processed
UNION ALL
SELECT
    'dlq',
    count(*),
    coalesce(round(avg(extract(epoch FROM now() - failed_at))), 0)::bigint,
    coalesce(round(max(extract(epoch FROM now() - failed_at))), 0)::bigint
FROM public.receipt_queue_dlq;

COMMENT ON VIEW public.vw_receipt_queue_status IS
    'Age: since enqueued (pending), from enqueued to processed (processed), since failed (dlq).';

CREATE OR REPLACE VIEW public.vw_receipt_queue_failures AS
SELECT receipt_id, s3_key, error_message, attempts, failed_at, notes
FROM public.receipt_queue_dlq
ORDER BY failed_at DESC;

-- The app's roles touch neither queue table: row-level security without a policy for them, and no grant, also none that
-- the database's default privileges made a moment ago. The trigger functions are SECURITY DEFINER with a fixed
-- search_path, so inserting a receipt needs no right on the queue; nobody else may call them or hang them on a table.
ALTER TABLE public.receipt_queue ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.receipt_queue_dlq ENABLE ROW LEVEL SECURITY;

CREATE TABLE IF NOT EXISTS public.receipt_queue_schema (
    version    bigint PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);

DO $rights$
DECLARE
    granted record;
    id_schema name;
BEGIN
    -- An id of an extension's type has its operators where that type is.
    SELECT n.nspname INTO id_schema
    FROM pg_attribute a
    JOIN pg_type t ON t.oid = a.atttypid
    JOIN pg_namespace n ON n.oid = t.typnamespace
    WHERE a.attrelid = 'public.receipts'::regclass AND a.attname = 'id';

    FOR granted IN
        SELECT p.oid::regprocedure AS function
        FROM pg_proc p
        WHERE p.pronamespace = 'public'::regnamespace
          AND p.proname IN ('receipt_queue_put', 'receipts_enqueue', 'receipts_requeue')
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', granted.function);
        IF id_schema <> 'pg_catalog' THEN
            EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, %I, pg_temp', granted.function, id_schema);
        END IF;
    END LOOP;

    -- Later grants are the operator's, and stay: this is done when the migration is first applied.
    IF EXISTS (SELECT FROM public.receipt_queue_schema WHERE version = 20261101000000) THEN
        RETURN;
    END IF;
    FOR granted IN
        SELECT format('%s %s', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass) AS object,
               coalesce(r.rolname, 'public') AS grantee
        FROM pg_class c
        CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
        LEFT JOIN pg_roles r ON r.oid = acl.grantee
        WHERE c.relnamespace = 'public'::regnamespace
          AND c.relname IN (
              'receipt_queue', 'receipt_queue_dlq', 'receipt_queue_schema', 'receipt_queue_token', 'receipt_queue_id_seq',
              'receipt_queue_dlq_id_seq', 'vw_receipt_queue_status', 'vw_receipt_queue_failures'
          )
          AND acl.grantee <> c.relowner
        UNION
        SELECT format('FUNCTION %s', p.oid::regprocedure), coalesce(r.rolname, 'public')
        FROM pg_proc p
        CROSS JOIN LATERAL aclexplode(p.proacl) AS acl
        LEFT JOIN pg_roles r ON r.oid = acl.grantee
        WHERE p.pronamespace = 'public'::regnamespace
          AND p.proname IN ('receipt_queue_put', 'receipts_enqueue', 'receipts_requeue')
          AND acl.grantee <> p.proowner
    LOOP
        IF granted.grantee = 'public' THEN
            EXECUTE format('REVOKE ALL ON %s FROM PUBLIC', granted.object);
        ELSE
            EXECUTE format('REVOKE ALL ON %s FROM %I', granted.object, granted.grantee);
        END IF;
    END LOOP;
END
$rights$;

INSERT INTO public.receipt_queue_schema (version) VALUES (20261101000000) ON CONFLICT DO NOTHING;
