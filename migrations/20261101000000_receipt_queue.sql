-- The receipt queue: receipts (created, or completed with what is missing), the queue, its dead letters, the trigger that
-- fills it, and the views that people watch. Idempotent: running it twice changes nothing.
--
-- The queue's key columns take the type that receipts.id has in this database (uuid, bigint, text…), which is why the
-- tables and one function are made with EXECUTE.

CREATE TABLE IF NOT EXISTS public.receipts (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id    text,
    status     text NOT NULL DEFAULT 'pending',
    created_at timestamptz NOT NULL DEFAULT now()
);

ALTER TABLE public.receipts
    ADD COLUMN IF NOT EXISTS status         text NOT NULL DEFAULT 'pending',
    ADD COLUMN IF NOT EXISTS image_url      text,
    ADD COLUMN IF NOT EXISTS s3_key         text,
    ADD COLUMN IF NOT EXISTS vendor_text    text,
    ADD COLUMN IF NOT EXISTS total_amount   numeric,
    ADD COLUMN IF NOT EXISTS currency       text,
    ADD COLUMN IF NOT EXISTS receipt_date   date,
    ADD COLUMN IF NOT EXISTS ocr_confidence numeric,
    ADD COLUMN IF NOT EXISTS ocr_s3_key     text;

-- What cannot be mended by adding is refused here, by name, before anything depends on it.
DO $check$
DECLARE
    key_name   text;
    constraint_name text;
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

    SELECT c.conname INTO constraint_name
    FROM pg_constraint c
    JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)
    WHERE c.conrelid = 'public.receipts'::regclass AND c.contype = 'c' AND a.attname = 'status'
      AND (pg_get_constraintdef(c.oid) NOT LIKE '%ocr_done%' OR pg_get_constraintdef(c.oid) NOT LIKE '%ocr_failed%')
    LIMIT 1;
    IF constraint_name IS NOT NULL THEN
        RAISE EXCEPTION 'the check constraint "%" on public.receipts.status does not allow ocr_done and ocr_failed', constraint_name
            USING HINT = 'Replace it by one that allows pending, ocr_done and ocr_failed beside your own values.';
    END IF;

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
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
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
                jsonb_build_array(r.vendor_text, r.total_amount, r.currency, r.receipt_date),
                coalesce(d.deaths, 0),
                coalesce(d.claims, 0)
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

    EXECUTE format('REVOKE ALL ON FUNCTION public.receipt_queue_put(%s[]) FROM PUBLIC', id_type);
END
$tables$;

-- The claim's ORDER BY exactly. available_at is both "not before" (retries) and "leased until" (the visibility timeout),
-- so that one partial index answers every question about what is due; processed rows are not in it.
CREATE INDEX IF NOT EXISTS receipt_queue_due ON public.receipt_queue (available_at, id) WHERE NOT processed;

-- "ORDER BY enqueued_at DESC LIMIT 1" and pruning by age.
CREATE INDEX IF NOT EXISTS receipt_queue_enqueued_at ON public.receipt_queue (enqueued_at);

-- One queue insert and one NOTIFY for a statement, however many receipts it inserts.
CREATE OR REPLACE FUNCTION public.receipts_enqueue() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $body$
BEGIN
    INSERT INTO public.receipt_queue (receipt_id, s3_key, receipt_before)
    SELECT
        n.id,
        coalesce(nullif(n.s3_key::text, ''), n.image_url::text),
        jsonb_build_array(n.vendor_text, n.total_amount, n.currency, n.receipt_date)
    FROM new_receipts n
    WHERE n.status::text = 'pending'
    ON CONFLICT (receipt_id) DO NOTHING;
    IF FOUND THEN
        PERFORM pg_notify('receipt_channel', '');
    END IF;
    RETURN NULL;
END
$body$;

-- A receipt that becomes pending is queued; one whose image is replaced is read again. For a receipt that is done or
-- failed, the second is made of the first: it becomes pending, and this trigger fires once more for that.
CREATE OR REPLACE FUNCTION public.receipts_requeue() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $body$
BEGIN
    -- Asked before it is done: a statement trigger fires for an UPDATE of no rows as well, without end.
    IF EXISTS (
        SELECT
        FROM new_receipts n
        JOIN old_receipts o ON o.id = n.id
        WHERE n.status::text IN ('ocr_done', 'ocr_failed')
          AND o.status::text = n.status::text
          AND coalesce(nullif(n.s3_key::text, ''), n.image_url::text)
              IS DISTINCT FROM coalesce(nullif(o.s3_key::text, ''), o.image_url::text)
    ) THEN
        UPDATE public.receipts r
        SET status = 'pending'
        FROM new_receipts n
        JOIN old_receipts o ON o.id = n.id
        WHERE r.id = n.id
          AND n.status::text IN ('ocr_done', 'ocr_failed')
          AND o.status::text = n.status::text
          AND coalesce(nullif(n.s3_key::text, ''), n.image_url::text)
              IS DISTINCT FROM coalesce(nullif(o.s3_key::text, ''), o.image_url::text);
    END IF;

    PERFORM public.receipt_queue_put(array_agg(n.id))
    FROM new_receipts n
    JOIN old_receipts o ON o.id = n.id
    WHERE n.status::text = 'pending'
      AND (
          o.status::text <> 'pending'
          OR coalesce(nullif(n.s3_key::text, ''), n.image_url::text)
              IS DISTINCT FROM coalesce(nullif(o.s3_key::text, ''), o.image_url::text)
      )
    HAVING count(*) > 0;

    -- Someone finished a dead receipt by hand: it is done, so it is no dead letter any more.
    DELETE FROM public.receipt_queue_dlq d
    USING new_receipts n
    JOIN old_receipts o ON o.id = n.id
    WHERE d.receipt_id = n.id AND o.status::text = 'ocr_failed' AND n.status::text = 'ocr_done';
    RETURN NULL;
END
$body$;

CREATE OR REPLACE TRIGGER receipts_enqueue
    AFTER INSERT ON public.receipts
    REFERENCING NEW TABLE AS new_receipts
    FOR EACH STATEMENT EXECUTE FUNCTION public.receipts_enqueue();

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

-- The app's roles touch neither queue table: row-level security without a policy for them, and no grant. The trigger
-- functions are SECURITY DEFINER with a fixed search_path, so inserting a receipt needs no right on the queue.
ALTER TABLE public.receipt_queue ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.receipt_queue_dlq ENABLE ROW LEVEL SECURITY;

DO $rights$
DECLARE
    role_name text;
    put_function text;
BEGIN
    SELECT p.oid::regprocedure::text INTO put_function
    FROM pg_proc p
    WHERE p.proname = 'receipt_queue_put' AND p.pronamespace = 'public'::regnamespace;
    REVOKE ALL ON public.receipt_queue, public.receipt_queue_dlq FROM PUBLIC;
    REVOKE ALL ON public.vw_receipt_queue_status, public.vw_receipt_queue_failures FROM PUBLIC;
    FOR role_name IN SELECT rolname FROM pg_roles WHERE rolname IN ('anon', 'authenticated') LOOP
        EXECUTE format('REVOKE ALL ON public.receipt_queue, public.receipt_queue_dlq FROM %I', role_name);
        EXECUTE format('REVOKE ALL ON public.vw_receipt_queue_status, public.vw_receipt_queue_failures FROM %I', role_name);
        EXECUTE format('REVOKE ALL ON SEQUENCE public.receipt_queue_token FROM %I', role_name);
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM %I', put_function, role_name);
    END LOOP;
END
$rights$;

-- Receipts that were waiting before there was a queue.
INSERT INTO public.receipt_queue (receipt_id, s3_key, receipt_before)
SELECT
    r.id,
    coalesce(nullif(r.s3_key::text, ''), r.image_url::text),
    jsonb_build_array(r.vendor_text, r.total_amount, r.currency, r.receipt_date)
FROM public.receipts r
WHERE r.status::text = 'pending'
  AND NOT EXISTS (SELECT FROM public.receipt_queue_dlq d WHERE d.receipt_id = r.id)
ON CONFLICT (receipt_id) DO NOTHING;

CREATE TABLE IF NOT EXISTS public.receipt_queue_schema (
    version    bigint PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE public.receipt_queue_schema ENABLE ROW LEVEL SECURITY;
INSERT INTO public.receipt_queue_schema (version) VALUES (20261101000000) ON CONFLICT DO NOTHING;
