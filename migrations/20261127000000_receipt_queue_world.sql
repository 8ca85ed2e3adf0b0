-- What real databases ask of the queue: row-level security that hides receipts from the owner of our functions, an app that
-- changes its own columns and types, receipts that arrive where no trigger fires, statements that change very many rows.
-- Idempotent. It is also what `host migrate` runs again to mend what has drifted, so that each of our functions on receipts
-- is defined here in its newest form, and what the app may have changed is looked up and not written down.
SET LOCAL lock_timeout = '10s';

-- Who is told of new receipts, and how often: see docs/beside-your-app.md. One row.
CREATE TABLE IF NOT EXISTS public.receipt_queue_settings (
    id     boolean PRIMARY KEY DEFAULT true CHECK (id),
    notify text NOT NULL DEFAULT 'on' CONSTRAINT receipt_queue_settings_notify CHECK (
        notify IN ('on', 'off') OR notify ~ '^[1-9][0-9]{0,3} ?ms$'
    )
);
INSERT INTO public.receipt_queue_settings DEFAULT VALUES ON CONFLICT DO NOTHING;

-- When hosts were told last, in milliseconds: a sequence, since it belongs to no transaction and nobody waits for another.
CREATE SEQUENCE IF NOT EXISTS public.receipt_queue_told AS bigint MINVALUE 0 START 0;

-- Tells the hosts of this queue that there is something to do. Where the setting is a time, at most once in it; the notification
-- says so, and the host looks again when it is over, for what was committed meanwhile without one.
CREATE OR REPLACE FUNCTION public.receipt_queue_wake() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    -- The transaction's, session's, role's or database's word, and then everybody's.
    setting text := nullif(current_setting('receipt_worker.notify', true), '');
    again bigint;
    now_at bigint;
BEGIN
    IF setting IS NULL THEN
        SELECT s.notify INTO setting FROM public.receipt_queue_settings s;
    END IF;
    IF setting = 'off' THEN
        RETURN;
    END IF;
    IF setting ~ '^[1-9][0-9]{0,3} ?ms$' THEN
        again := substring(setting FROM '^[0-9]+')::bigint;
        now_at := (extract(epoch FROM clock_timestamp()) * 1000)::bigint;
        IF abs(now_at - (SELECT t.last_value FROM public.receipt_queue_told t)) < again THEN
            RETURN;
        END IF;
        PERFORM setval('public.receipt_queue_told', now_at);
    END IF;
    PERFORM pg_notify('receipt_channel', concat_ws(' ', 'public.receipt_queue', again));
END
$body$;

-- Columns that the app has dropped or renamed since. Only what is missing is altered.
DO $columns$
DECLARE
    missing text;
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_attribute WHERE attrelid = 'public.receipts'::regclass AND attname = 'id' AND NOT attisdropped
    ) THEN
        RAISE EXCEPTION 'table public.receipts has no column "id" any more'
            USING HINT = 'Give its key that name again: ALTER TABLE public.receipts RENAME COLUMN ... TO id;';
    END IF;
    SELECT string_agg(format('ADD COLUMN %I %s', wanted.name, wanted.type), ', ') INTO missing
    FROM (
        VALUES
            ('status', 'text NOT NULL DEFAULT ''not_queued'''),
            ('created_at', 'timestamptz NOT NULL DEFAULT now()'),
            ('image_url', 'text'),
            ('s3_key', 'text'),
            ('vendor_text', 'text'),
            ('total_amount', 'numeric'),
            ('currency', 'text'),
            ('receipt_date', 'date'),
            ('ocr_confidence', 'numeric'),
            ('ocr_s3_key', 'text'),
            ('ocr_component', 'text')
    ) AS wanted (name, type)
    WHERE NOT EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = 'public.receipts'::regclass AND attname = wanted.name AND NOT attisdropped
    );
    IF missing IS NULL THEN
        RETURN;
    END IF;
    EXECUTE 'ALTER TABLE public.receipts ' || missing;
    RAISE NOTICE 'columns of receipts that were gone are there again: %', missing;
    IF missing LIKE '%ADD COLUMN status %' THEN
        ALTER TABLE public.receipts ALTER COLUMN status SET DEFAULT 'pending';
        RAISE NOTICE 'receipts had no status: the rows that were there are not_queued; set those that are to be read to pending';
    END IF;
END
$columns$;

-- A total that was rounded is wrong, and nobody would be told. So a type that cannot hold cents is refused, by name.
DO $total$
DECLARE
    found record;
BEGIN
    SELECT
        format_type(a.atttypid, a.atttypmod) AS type,
        coalesce(nullif(t.typbasetype, 0), t.oid)::regtype AS base,
        CASE WHEN t.typbasetype <> 0 THEN t.typtypmod ELSE a.atttypmod END AS modifier
    INTO found
    FROM pg_attribute a
    JOIN pg_type t ON t.oid = a.atttypid
    WHERE a.attrelid = 'public.receipts'::regclass AND a.attname = 'total_amount' AND NOT a.attisdropped;
    IF found.base IN ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype)
        -- A modifier has the scale in its last 11 bits, and is 4 too large.
        OR (found.base = 'numeric'::regtype AND found.modifier >= 4 AND ((found.modifier - 4) & 2047) NOT BETWEEN 2 AND 1023)
    THEN
        RAISE EXCEPTION 'the column public.receipts.total_amount has the type %, which cannot hold cents', found.type
            USING HINT = 'Change it: ALTER TABLE public.receipts ALTER COLUMN total_amount TYPE numeric(12, 2);';
    END IF;
END
$total$;

DO $memory$
DECLARE
    missing record;
BEGIN
    FOR missing IN
        SELECT *
        FROM (
            VALUES
                ('public.receipt_queue', 'receipt_whose', 'jsonb'),
                ('public.receipt_queue_dlq', 'receipt_before', 'jsonb'),
                ('public.receipt_queue_dlq', 'receipt_whose', 'jsonb')
        ) AS wanted (place, name, type)
        WHERE NOT EXISTS (
            SELECT FROM pg_attribute
            WHERE attrelid = wanted.place::regclass AND attname = wanted.name AND NOT attisdropped
        )
    LOOP
        EXECUTE format('ALTER TABLE %s ADD COLUMN %I %s', missing.place, missing.name, missing.type);
    END LOOP;
END
$memory$;

COMMENT ON COLUMN public.receipt_queue.receipt_before IS
    'Vendor, total, currency and date when the receipt was queued; a settle writes none of them where one differs by then.';
COMMENT ON COLUMN public.receipt_queue.receipt_whose IS
    'Fields that had a value then which no component wrote: given (it stays) or standing (it stays unless one is read). Null: not known.';

-- A value in the same words in every session, to be compared with itself later: with settings of its own where its type's
-- words depend on them (timestamptz, money, interval, double precision, ranges of these).
CREATE OR REPLACE FUNCTION public.receipt_queue_fixed(value anyelement) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET TimeZone = 'UTC'
SET DateStyle = 'ISO, YMD'
SET IntervalStyle = 'iso_8601'
SET extra_float_digits = '1'
SET bytea_output = 'hex'
SET lc_monetary = 'C'
AS $body$
BEGIN
    RETURN to_jsonb(value);
END
$body$;

-- Without those settings for the usual types, whose words depend on nothing. It could be inlined if it had no search_path; but
-- platforms warn of every function without one, and four calls of it cost 5 microseconds.
CREATE OR REPLACE FUNCTION public.receipt_queue_value(value anyelement) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN CASE
        WHEN pg_typeof(value) IN (
            'text'::regtype, 'varchar'::regtype, 'bpchar'::regtype, 'numeric'::regtype, 'date'::regtype, 'timestamp'::regtype
        ) THEN to_jsonb(value)
        ELSE public.receipt_queue_fixed(value)
    END;
END
$body$;

-- A value in the type of a column, cast as an assignment would.
CREATE OR REPLACE FUNCTION public.receipt_queue_as(of_column anyelement, value anycompatible) RETURNS anyelement
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    result ALIAS FOR $0;
BEGIN
    result := value;
    RETURN result;
END
$body$;

-- What became of a receipt that was to be done: an app's triggers may have skipped or changed it. Where it waits as before, or
-- a number or a day came back as another one, the whole statement fails, so that nothing of it stays. Returns whether the
-- app has a word of its own for the status.
CREATE OR REPLACE FUNCTION public.receipt_queue_written(
    id text, status_before text, status text, total anyelement, total_sent numeric, day anycompatible, day_sent date
) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    -- In a collation that patterns can be looked for in, whatever the app's columns have.
    day_words text COLLATE "C" := to_jsonb(day) #>> '{}';
    total_words text COLLATE "C";
    other_total boolean := false;
BEGIN
    IF status IN (status_before, 'pending') THEN
        RAISE EXCEPTION USING
            ERRCODE = 'RW001',
            MESSAGE = format('receipt %s was not written: its status is %s as before', id, status),
            HINT = 'A trigger of the app''s on receipts skips or undoes the update (RETURN NULL, RETURN OLD).';
    END IF;
    IF total_sent IS NOT NULL THEN
        total_words := CASE
            WHEN pg_typeof(total) = 'money'::regtype THEN total::text::money::numeric::text
            ELSE public.receipt_queue_value(total) #>> '{}'
        END;
        -- A text column may hold it in the app's own form, which is no number to be compared.
        other_total := total IS NULL OR CASE
            WHEN total_words ~ '^\s*[-+]?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?\s*$' THEN total_words::numeric <> total_sent
            ELSE false
        END;
    END IF;
    IF other_total THEN
        RAISE EXCEPTION USING
            ERRCODE = 'RW002',
            MESSAGE = format('receipt %s: the total %s came back as %s', id, total_sent, coalesce(total::text, 'null')),
            HINT = 'A trigger of the app''s changes it, or the type of total_amount rounds it; numeric(12, 2) does not.';
    END IF;
    IF day_sent IS NOT NULL
        AND (day IS NULL OR (day_words ~ '^\d{4}-\d\d-\d\d' AND left(day_words, 10) <> to_char(day_sent, 'YYYY-MM-DD')))
    THEN
        RAISE EXCEPTION USING
            ERRCODE = 'RW002',
            MESSAGE = format(
                'receipt %s: the date %s came back as %s', id, to_char(day_sent, 'YYYY-MM-DD'), coalesce(day_words, 'null')
            ),
            HINT = 'A trigger of the app''s changes it.';
    END IF;
    RETURN status <> 'ocr_done';
END
$body$;

-- What the four columns hold where the app gives nothing: the defaults that are constants or the time of the transaction.
-- Others are not evaluated (a sequence would move), and count as given.
CREATE OR REPLACE FUNCTION public.receipt_queue_defaults() RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    defaults text;
    result jsonb;
BEGIN
    SELECT string_agg(
        format('%L, public.receipt_queue_value((%s)::%s)', a.attname, d.expression, format_type(a.atttypid, a.atttypmod)),
        ', '
    )
    INTO defaults
    FROM pg_attribute a
    JOIN pg_type t ON t.oid = a.atttypid
    JOIN (SELECT adrelid, adnum, pg_get_expr(adbin, adrelid) AS expression FROM pg_attrdef) AS d
        ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = 'public.receipts'::regclass
      AND a.attname IN ('vendor_text', 'total_amount', 'currency', 'receipt_date')
      AND a.attgenerated = ''
      AND t.typtype IN ('b', 'e')
      AND (
          d.expression ~ '^\(?-?[0-9.]+\)?$'
          OR d.expression ~ '^''([^'']|'''')*''::[a-zA-Z0-9_ ."(),]+$'
          OR d.expression ~* '^\(?\(?(now\(\)|current_date|current_timestamp|localtimestamp|transaction_timestamp\(\)|statement_timestamp\(\)|timezone\(''[a-z_/]+''::text, now\(\)\)|now\(\) at time zone ''[a-z_/]+''::text)\)?\)?(::(date|timestamp with(out)? time zone|text))?$'
      );
    IF defaults IS NULL THEN
        RETURN '{}';
    END IF;
    EXECUTE format('SELECT jsonb_build_object(%s)', defaults) INTO result;
    RETURN result;
EXCEPTION WHEN OTHERS THEN
    -- Whatever it is: an insert of the app's does not fail for it.
    RETURN '{}';
END
$body$;

-- Whose the values are that stand there when a receipt is queued (receipt_queue.receipt_whose). A value that the app gave stays. What
-- was there without its doing (a default, blank, zero) stays unless something is read, and so does an old reading in a column
-- that takes no null; any other old reading is read anew. "before" and "whose" are what was known when it was queued before.
CREATE OR REPLACE FUNCTION public.receipt_queue_whose(
    fields jsonb, was_read boolean, defaults jsonb, before jsonb, whose jsonb
) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
    SELECT coalesce(jsonb_object_agg(f.name, f.whose) FILTER (WHERE f.whose IS NOT NULL), '{}')
    FROM (
        SELECT
            n.name,
            CASE
                WHEN v.value = 'null' THEN NULL
                WHEN whose ? n.name AND before -> n.place = v.value THEN whose ->> n.name
                WHEN was_read THEN CASE WHEN a.attnotnull THEN 'standing' END
                WHEN defaults -> n.name = v.value OR v.value #>> '{}' ~ '^\s*$' OR v.value = '0' THEN 'standing'
                ELSE 'given'
            END AS whose
        FROM (VALUES (0, 'vendor_text'), (1, 'total_amount'), (2, 'currency'), (3, 'receipt_date')) AS n (place, name)
        CROSS JOIN LATERAL (SELECT fields -> n.place) AS v (value)
        LEFT JOIN pg_attribute a ON a.attrelid = 'public.receipts'::regclass AND a.attname = n.name
    ) AS f
$body$;

-- Whether row-level security may hide receipts from a role, to see or to lock: it binds the role, and no policy shows it all.
CREATE OR REPLACE FUNCTION public.receipt_queue_hides_from(role name) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
    SELECT
        c.relrowsecurity
        AND NOT r.rolsuper
        AND NOT r.rolbypassrls
        AND (c.relforcerowsecurity OR NOT pg_has_role(r.oid, c.relowner, 'USAGE'))
        AND EXISTS (
            SELECT
            FROM (VALUES ('r'::"char"), ('w'::"char")) AS wanted (command)
            CROSS JOIN LATERAL (
                SELECT
                    bool_or(p.polpermissive AND pg_get_expr(p.polqual, p.polrelid) = 'true') AS shown,
                    bool_or(NOT p.polpermissive AND pg_get_expr(p.polqual, p.polrelid) <> 'true') AS narrowed
                FROM pg_policy p
                WHERE p.polrelid = c.oid
                  AND p.polcmd IN ('*', wanted.command)
                  AND EXISTS (SELECT FROM unnest(p.polroles) AS o (oid) WHERE o.oid = 0 OR pg_has_role(r.oid, o.oid, 'USAGE'))
            ) AS policies
            WHERE policies.shown IS NOT TRUE OR policies.narrowed IS TRUE
        )
    FROM pg_class c
    CROSS JOIN pg_roles r
    WHERE c.oid = 'public.receipts'::regclass AND r.rolname = role
$body$;

-- The queue's rows are of receipts that are there. A table that was dropped and made anew, or exchanged for another one by renaming
-- both, has the foreign keys no more: new receipts could not be queued, and deleted ones would be worked for ever. What its
-- cascade would have deleted is deleted.
DO $ours$
DECLARE
    stray record;
BEGIN
    FOR stray IN
        SELECT a.attrelid, a.attrelid::regclass AS name, a.attnum
        FROM pg_attribute a
        WHERE a.attrelid IN ('public.receipt_queue'::regclass, 'public.receipt_queue_dlq'::regclass)
          AND a.attname = 'receipt_id'
          AND NOT EXISTS (
              SELECT FROM pg_constraint c
              WHERE c.conrelid = a.attrelid AND c.contype = 'f' AND c.conkey = ARRAY[a.attnum] AND c.confdeltype = 'c'
                AND c.confrelid = 'public.receipts'::regclass
          )
    LOOP
        IF public.receipt_queue_hides_from(current_user) THEN
            RAISE EXCEPTION 'row-level security may hide receipts from role %, which runs this migration', current_user
                USING HINT = format(
                    '%s refers to another table than receipts, and what is of no receipt is to be deleted. Run it as a role with '
                    'BYPASSRLS, or give this one a policy that is true for it.',
                    stray.name
                );
        END IF;
        IF NOT EXISTS (
            SELECT
            FROM pg_index i
            JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
            WHERE i.indrelid = 'public.receipts'::regclass AND i.indisunique AND i.indnkeyatts = 1 AND a.attname = 'id'
              AND i.indpred IS NULL
        ) THEN
            RAISE EXCEPTION 'table public.receipts has no primary key or unique index on its column "id" any more'
                USING HINT = 'Add one: ALTER TABLE public.receipts ADD PRIMARY KEY (id);';
        END IF;
        EXECUTE (
            SELECT coalesce(string_agg(format('ALTER TABLE %s DROP CONSTRAINT %I;', stray.name, c.conname), ' '), '')
            FROM pg_constraint c
            WHERE c.conrelid = stray.attrelid AND c.contype = 'f' AND c.conkey = ARRAY[stray.attnum] AND c.conparentid = 0
        );
        -- As text: the new table's key may be of another type.
        EXECUTE format(
            'DELETE FROM %s q WHERE NOT EXISTS (SELECT FROM public.receipts r WHERE r.id::text = q.receipt_id::text)', stray.name
        );
    END LOOP;
END
$ours$;

-- The queue's keys follow receipts.id: an integer that became a bigint, a varchar(40) that became a text. The view shows such a
-- column, so that it is made anew, with the rights that it had.
DO $types$
DECLARE
    id_type text;
    drifted record;
    granted text[];
    statement text;
BEGIN
    SELECT format_type(a.atttypid, a.atttypmod) INTO id_type
    FROM pg_attribute a
    WHERE a.attrelid = 'public.receipts'::regclass AND a.attname = 'id';

    IF EXISTS (
        SELECT FROM pg_attribute a
        WHERE a.attrelid = 'public.receipt_queue_dlq'::regclass AND a.attname = 'receipt_id'
          AND format_type(a.atttypid, a.atttypmod) <> id_type
    ) THEN
        SELECT array_agg(
            format(
                'GRANT %s ON public.vw_receipt_queue_failures TO %s%s',
                acl.privilege_type,
                CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE format('%I', pg_get_userbyid(acl.grantee)) END,
                CASE WHEN acl.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
            )
        ) INTO granted
        FROM pg_class c
        CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
        WHERE c.oid = 'public.vw_receipt_queue_failures'::regclass AND acl.grantee <> c.relowner;
        DROP VIEW public.vw_receipt_queue_failures;
    END IF;

    FOR drifted IN
        SELECT a.attrelid::regclass AS name
        FROM pg_attribute a
        WHERE a.attrelid IN ('public.receipt_queue'::regclass, 'public.receipt_queue_dlq'::regclass)
          AND a.attname = 'receipt_id'
          AND format_type(a.atttypid, a.atttypmod) <> id_type
    LOOP
        BEGIN
            EXECUTE format('ALTER TABLE %s ALTER COLUMN receipt_id TYPE %s', drifted.name, id_type);
        EXCEPTION
            WHEN datatype_mismatch THEN
                -- The key of a table that was made anew, of another kind.
                EXECUTE format(
                    'ALTER TABLE %s ALTER COLUMN receipt_id TYPE %s USING receipt_id::text::%2$s', drifted.name, id_type
                );
        END;
    END LOOP;

    IF to_regclass('public.vw_receipt_queue_failures') IS NULL THEN
        CREATE VIEW public.vw_receipt_queue_failures AS
        SELECT receipt_id, s3_key, error_message, attempts, failed_at, notes
        FROM public.receipt_queue_dlq
        ORDER BY failed_at DESC;
        -- Whatever default privileges granted a moment ago was not the operator's.
        FOR statement IN
            SELECT format(
                'REVOKE ALL ON public.vw_receipt_queue_failures FROM %s',
                CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE format('%I', pg_get_userbyid(acl.grantee)) END
            )
            FROM pg_class c
            CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
            WHERE c.oid = 'public.vw_receipt_queue_failures'::regclass AND acl.grantee <> c.relowner
            UNION ALL
            SELECT unnest(granted)
        LOOP
            EXECUTE statement;
        END LOOP;
    END IF;
END
$types$;

DO $refer$
DECLARE
    stray record;
BEGIN
    FOR stray IN
        SELECT a.attrelid::regclass AS name
        FROM pg_attribute a
        WHERE a.attrelid IN ('public.receipt_queue'::regclass, 'public.receipt_queue_dlq'::regclass)
          AND a.attname = 'receipt_id'
          AND NOT EXISTS (
              SELECT FROM pg_constraint c
              WHERE c.conrelid = a.attrelid AND c.contype = 'f' AND c.conkey = ARRAY[a.attnum] AND c.confdeltype = 'c'
                AND c.confrelid = 'public.receipts'::regclass
          )
    LOOP
        EXECUTE format(
            'ALTER TABLE %s ADD FOREIGN KEY (receipt_id) REFERENCES public.receipts (id) ON DELETE CASCADE', stray.name
        );
    END LOOP;
END
$refer$;

-- No function has the type of receipts.id in its signature any more: the one that had is replaced by one that takes any.
DO $untyped$
DECLARE
    typed regprocedure;
BEGIN
    FOR typed IN
        SELECT p.oid
        FROM pg_proc p
        WHERE p.pronamespace = 'public'::regnamespace AND p.proname = 'receipt_queue_put' AND p.pronargs = 1
    LOOP
        EXECUTE format('DROP FUNCTION %s', typed);
    END LOOP;
END
$untyped$;

-- Puts receipts into the queue, or back into it, as new: fresh attempts, no lease (whoever holds one has lost it), and out of
-- the dead letters, with a memory of having been there. Returns how many.
-- What a queue row remembers of its receipt is read from the receipt as it is now. Where row-level security may hide receipts
-- from the owner of this function, or its policies fail in a session that is not the app's, it is what the caller gives (the
-- trigger's own rows, which no policy filters). So nothing is ever taken out of the dead letters that is not queued.
-- Planned with the arrays each time: a plan that was made for one receipt compares each with each when there are many.
-- It is noted whose the values are that stand there, by what was known of it when it was queued before, or died.
CREATE OR REPLACE FUNCTION public.receipt_queue_put(
    ids anyarray, images text[] DEFAULT NULL, befores jsonb[] DEFAULT NULL, were_read boolean[] DEFAULT NULL
) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
AS $body$
DECLARE
    asked integer := cardinality(ids);
    queued integer;
    defaults jsonb := public.receipt_queue_defaults();
BEGIN
    IF images IS NULL OR NOT row_security_active('public.receipts') THEN
        SELECT
            array_agg(r.id ORDER BY r.id),
            array_agg(coalesce(nullif(r.s3_key::text, ''), r.image_url::text) ORDER BY r.id),
            array_agg(
                pg_catalog.jsonb_build_array(
                    public.receipt_queue_value(r.vendor_text), public.receipt_queue_value(r.total_amount),
                    public.receipt_queue_value(r.currency), public.receipt_queue_value(r.receipt_date)
                ) ORDER BY r.id
            ),
            array_agg(r.ocr_s3_key IS NOT NULL ORDER BY r.id)
        INTO ids, images, befores, were_read
        FROM public.receipts r
        WHERE r.id = ANY (ids);
        IF coalesce(cardinality(ids), 0) < asked AND row_security_active('public.receipts') THEN
            RAISE EXCEPTION 'row-level security hides % of % receipts from role %, which owns receipt_queue_put',
                asked - coalesce(cardinality(ids), 0), asked, current_user
                USING ERRCODE = 'insufficient_privilege',
                      HINT = 'Give the function an owner that sees every receipt (BYPASSRLS, or a policy of its own).';
        END IF;
    END IF;

    INSERT INTO public.receipt_queue AS q (receipt_id, s3_key, receipt_before, receipt_whose, deaths, claims, history)
    SELECT
        r.id,
        r.image,
        r.before,
        CASE
            WHEN r.before = '[null, null, null, null]' THEN '{}'
            ELSE public.receipt_queue_whose(
                r.before, coalesce(r.was_read, false), defaults,
                coalesce(d.receipt_before, o.receipt_before), coalesce(d.receipt_whose, o.receipt_whose)
            )
        END,
        coalesce(d.deaths, 0),
        -- It may have been worked before, under a row that is gone: then there is an artifact to look for.
        coalesce(d.claims, 1),
        coalesce(d.history, '[]')
    FROM unnest(ids, images, befores, were_read) AS r (id, image, before, was_read)
    LEFT JOIN public.receipt_queue_dlq d ON d.receipt_id = r.id
    LEFT JOIN public.receipt_queue o ON o.receipt_id = r.id
    ON CONFLICT (receipt_id) DO UPDATE SET
        s3_key = excluded.s3_key,
        receipt_before = excluded.receipt_before,
        receipt_whose = excluded.receipt_whose,
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
        history = excluded.history,
        -- A dead letter beside a row that was processed: only a hand makes that.
        deaths = greatest(q.deaths, excluded.deaths);
    GET DIAGNOSTICS queued = ROW_COUNT;

    DELETE FROM public.receipt_queue_dlq d
    WHERE d.receipt_id = ANY (ids);

    IF queued > 0 THEN
        PERFORM public.receipt_queue_wake();
    END IF;
    RETURN queued;
END
$body$;

-- Whether an error of ours may be kept from the app's statement: the receipt is written and pending, and reconciling finds it.
-- What is the app's own to handle is not: a transaction to be done again (40), no resources (53), a lock that it would not wait
-- for, the operator (57), a broken disk (58).
CREATE OR REPLACE FUNCTION public.receipt_queue_may_wait(code text) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $body$
    SELECT left(code, 2) NOT IN ('25', '40', '53', '57', '58', '72') AND code NOT IN ('55P03', 'XX001', 'XX002')
$body$;

-- One queue insert and one NOTIFY for a statement, however many receipts it inserts.
CREATE OR REPLACE FUNCTION public.receipts_enqueue() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    nothing CONSTANT jsonb := '[null, null, null, null]';
    defaults jsonb;
BEGIN
    IF NOT EXISTS (SELECT FROM new_receipts n WHERE n.status::text = 'pending') THEN
        RETURN NULL;
    END IF;
    defaults := public.receipt_queue_defaults();
    INSERT INTO public.receipt_queue (receipt_id, s3_key, receipt_before, receipt_whose)
    SELECT
        n.id,
        n.key,
        n.fields,
        CASE WHEN n.fields = nothing THEN '{}' ELSE public.receipt_queue_whose(n.fields, false, defaults, NULL, NULL) END
    FROM (
        SELECT
            n.id,
            coalesce(nullif(n.s3_key::text, ''), n.image_url::text) AS key,
            jsonb_build_array(
                public.receipt_queue_value(n.vendor_text), public.receipt_queue_value(n.total_amount),
                public.receipt_queue_value(n.currency), public.receipt_queue_value(n.receipt_date)
            ) AS fields
        FROM new_receipts n
        WHERE n.status::text = 'pending'
    ) AS n
    ON CONFLICT (receipt_id) DO NOTHING;
    IF FOUND THEN
        PERFORM public.receipt_queue_wake();
    END IF;
    RETURN NULL;
EXCEPTION
    WHEN OTHERS THEN
        IF NOT public.receipt_queue_may_wait(SQLSTATE) THEN
            RAISE;
        END IF;
        RAISE WARNING 'receipts were inserted and not queued: % [%]', SQLERRM, SQLSTATE
            USING HINT = 'Run `host migrate`, which mends what has changed, then `host reconcile`, which queues them.';
        RETURN NULL;
END
$body$;

-- Times that people write by hand may be infinite, or lie so far back or ahead that two of them are further apart than an interval
-- may be: what has no age is counted, and takes no part in the ages.
CREATE OR REPLACE VIEW public.vw_receipt_queue_status AS
SELECT
    'pending'::text AS status,
    count(*) AS count,
    coalesce(round(avg(q.age)), 0)::bigint AS avg_age_seconds,
    coalesce(round(max(q.age)), 0)::bigint AS max_age_seconds
FROM (
    SELECT CASE WHEN isfinite(enqueued_at) THEN extract(epoch FROM now()) - extract(epoch FROM enqueued_at) END AS age
    FROM public.receipt_queue
    WHERE NOT processed
) AS q
UNION ALL
SELECT
    'processed',
    count(*),
    coalesce(round(avg(q.age)), 0)::bigint,
    coalesce(round(max(q.age)), 0)::bigint
FROM (
    SELECT
        CASE
            WHEN isfinite(enqueued_at) AND isfinite(processed_at)
                THEN extract(epoch FROM processed_at) - extract(epoch FROM enqueued_at)
        END AS age
    FROM public.receipt_queue
    WHERE processed
) AS q
UNION ALL
SELECT
    'dlq',
    count(*),
    coalesce(round(avg(d.age)), 0)::bigint,
    coalesce(round(max(d.age)), 0)::bigint
FROM (
    SELECT CASE WHEN isfinite(failed_at) THEN extract(epoch FROM now()) - extract(epoch FROM failed_at) END AS age
    FROM public.receipt_queue_dlq
) AS d;

-- What a fleet is scaled and watched by. The status view counts all history; this one walks an index, and no further than to
-- 10,000. Beyond that it is the planner's own estimate: the entries on a page when the index was vacuumed last, times its pages
-- now (260 fit on a page of an index that was not).
CREATE OR REPLACE VIEW public.vw_receipt_queue_backlog AS
SELECT
    CASE WHEN waiting.jobs <= 10000 THEN waiting.jobs ELSE greatest(waiting.jobs, all_waiting.jobs) END AS backlog,
    waiting.jobs > 10000 AS estimated,
    waiting.oldest_age_seconds,
    CASE WHEN dead.letters <= 10000 THEN dead.letters ELSE greatest(dead.letters, all_dead.letters) END AS dead_letters
FROM (
    SELECT
        count(*) AS jobs,
        coalesce(
            round(extract(epoch FROM now()) - extract(epoch FROM min(enqueued_at) FILTER (WHERE isfinite(enqueued_at)))), 0
        )::bigint AS oldest_age_seconds
    FROM (
        SELECT enqueued_at
        FROM public.receipt_queue
        WHERE NOT processed AND available_at < 'infinity'
        ORDER BY available_at, id
        LIMIT 10001
    ) AS first
) AS waiting
CROSS JOIN (
    SELECT
        (
            CASE WHEN relpages > 0 AND reltuples > 0 THEN reltuples / relpages ELSE 260 END
            * pg_relation_size(oid) / current_setting('block_size')::integer
        )::bigint AS jobs
    FROM pg_class
    WHERE oid = 'public.receipt_queue_due'::regclass
) AS all_waiting
CROSS JOIN (SELECT count(*) AS letters FROM (SELECT FROM public.receipt_queue_dlq LIMIT 10001) AS first) AS dead
CROSS JOIN (SELECT reltuples::bigint AS letters FROM pg_class WHERE oid = 'public.receipt_queue_dlq'::regclass) AS all_dead;

-- A receipt that is done or failed and gets another image is pending again. Before the row is written and by the one who
-- writes it: no second UPDATE, and the app's own triggers run in the surroundings that they expect. The columns are not in
-- the trigger's definition, so that the app can still change their types.
-- The digest stays only with what its component read: an UPDATE that changes a field and brings no other digest is an edit.
-- Compared as jsonb: a type without an operator for it here (one of an extension, json) is no error.
-- Two numbers that differ are two, however few digits this session shows of them.
CREATE OR REPLACE FUNCTION public.receipts_reread() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET extra_float_digits = '1'
AS $body$
DECLARE
    old_row jsonb;
    new_row jsonb;
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
EXCEPTION
    WHEN syntax_error_or_access_rule_violation OR data_exception THEN
        -- A column is gone, or has another type than when this session planned the comparisons above. The same again for
        -- whatever columns there are.
        BEGIN
            old_row := pg_catalog.to_jsonb(OLD);
            new_row := pg_catalog.to_jsonb(NEW);
            IF new_row ->> 'status' IN ('ocr_done', 'ocr_failed')
                AND old_row ->> 'status' = new_row ->> 'status'
                AND coalesce(nullif(new_row ->> 's3_key', ''), new_row ->> 'image_url')
                    IS DISTINCT FROM coalesce(nullif(old_row ->> 's3_key', ''), old_row ->> 'image_url')
            THEN
                NEW := pg_catalog.jsonb_populate_record(NEW, '{"status": "pending", "ocr_component": null}');
            ELSIF new_row ->> 'status' IN ('pending', 'ocr_failed')
                OR new_row ->> 'ocr_component' IS NOT DISTINCT FROM old_row ->> 'ocr_component'
                    AND pg_catalog.jsonb_build_array(
                        new_row -> 'vendor_text', new_row -> 'total_amount', new_row -> 'currency',
                        new_row -> 'receipt_date'
                    ) IS DISTINCT FROM pg_catalog.jsonb_build_array(
                        old_row -> 'vendor_text', old_row -> 'total_amount', old_row -> 'currency',
                        old_row -> 'receipt_date'
                    )
            THEN
                NEW := pg_catalog.jsonb_populate_record(NEW, '{"ocr_component": null}');
            END IF;
        EXCEPTION
            WHEN syntax_error_or_access_rule_violation OR data_exception THEN
                RAISE WARNING 'a changed receipt was not looked at: % [%]', SQLERRM, SQLSTATE
                    USING HINT = 'If its image was replaced, set it to pending; `host doctor` says what is wrong.';
        END;
        RETURN NEW;
END
$body$;

-- A receipt that becomes pending is queued, and so is one that waits and whose image is replaced.
-- The plan of a statement without parameters is kept for the session, and may have been made for one row: then a join of the two
-- transition tables compares each with each. A FULL JOIN cannot be done like that (only by hashing or merging), and the coalesce
-- keeps the planner from seeing that it is none. What is joined with a table of ours is planned anew each time.
CREATE OR REPLACE FUNCTION public.receipts_requeue() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    IF EXISTS (SELECT FROM new_receipts n WHERE n.status::text = 'pending') THEN
        -- In parts, for the memory that an array takes.
        PERFORM public.receipt_queue_put(part.ids, part.images, part.befores, part.were_read)
        FROM (
            SELECT
                array_agg(c.id ORDER BY c.id) AS ids,
                array_agg(c.image ORDER BY c.id) AS images,
                array_agg(c.before ORDER BY c.id) AS befores,
                array_agg(c.was_read ORDER BY c.id) AS were_read
            FROM (
                SELECT
                    n.id,
                    coalesce(nullif(n.s3_key::text, ''), n.image_url::text) AS image,
                    pg_catalog.jsonb_build_array(
                        public.receipt_queue_value(n.vendor_text), public.receipt_queue_value(n.total_amount),
                        public.receipt_queue_value(n.currency), public.receipt_queue_value(n.receipt_date)
                    ) AS before,
                    n.ocr_s3_key IS NOT NULL AS was_read,
                    (row_number() OVER () - 1) / 10000 AS part
                FROM new_receipts n
                FULL JOIN old_receipts o ON o.id = n.id
                WHERE coalesce(n.status::text, '') = 'pending'
                  AND (
                      o.status::text IS DISTINCT FROM 'pending'
                      OR coalesce(nullif(n.s3_key::text, ''), n.image_url::text)
                          IS DISTINCT FROM coalesce(nullif(o.s3_key::text, ''), o.image_url::text)
                  )
            ) AS c
            GROUP BY c.part
        ) AS part;
    END IF;

    -- Somebody finished a dead receipt by hand: it is done, so it is no dead letter any more.
    IF EXISTS (SELECT FROM new_receipts n WHERE n.status::text = 'ocr_done')
        AND EXISTS (SELECT FROM public.receipt_queue_dlq)
    THEN
        EXECUTE $finished$
            DELETE FROM public.receipt_queue_dlq d
            WHERE d.receipt_id IN (
                SELECT n.id
                FROM new_receipts n
                FULL JOIN old_receipts o ON o.id = n.id
                WHERE coalesce(n.status::text, '') = 'ocr_done' AND o.status::text IS DISTINCT FROM 'ocr_done'
            )
        $finished$;
    END IF;
    RETURN NULL;
EXCEPTION
    WHEN OTHERS THEN
        IF NOT public.receipt_queue_may_wait(SQLSTATE) THEN
            RAISE;
        END IF;
        RAISE WARNING 'receipts were updated and not queued: % [%]', SQLERRM, SQLSTATE
            USING HINT = 'Run `host migrate`, which mends what has changed, then `host reconcile`, which queues them.';
        RETURN NULL;
END
$body$;

-- A trigger that is gone (a table that was made anew) is made again; one that is off was switched off by somebody.
DO $triggers$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'public.receipts'::regclass AND tgname = 'receipts_enqueue') THEN
        CREATE TRIGGER receipts_enqueue
            AFTER INSERT ON public.receipts
            REFERENCING NEW TABLE AS new_receipts
            FOR EACH STATEMENT EXECUTE FUNCTION public.receipts_enqueue();
    END IF;
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'public.receipts'::regclass AND tgname = 'receipts_reread') THEN
        CREATE TRIGGER receipts_reread
            BEFORE UPDATE ON public.receipts
            FOR EACH ROW EXECUTE FUNCTION public.receipts_reread();
    END IF;
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'public.receipts'::regclass AND tgname = 'receipts_requeue') THEN
        CREATE TRIGGER receipts_requeue
            AFTER UPDATE ON public.receipts
            REFERENCING OLD TABLE AS old_receipts NEW TABLE AS new_receipts
            FOR EACH STATEMENT EXECUTE FUNCTION public.receipts_requeue();
    END IF;
END
$triggers$;

-- Looks at a slice of receipts, by id, for those that are pending and that nothing will ever work: without queue row and dead
-- letter (they came by a way on which no trigger fires: replication, a restore), beside a queue row that is processed, beside
-- a row that waits for another image than the receipt has now, or beside a dead letter that died once. What died more often is
-- left to a person and only counted: else something that never goes well would be paid for once an hour.
-- With repair they are queued. Receipts are locked first and in order, as everywhere, and looked at again under the lock; those
-- that somebody has in hand are left for the next time. One that cannot be queued does not keep the others from it.
-- after: the last id of the slice before; last: of this one, null at the end.
CREATE OR REPLACE FUNCTION public.receipt_queue_reconcile(
    after text,
    slice integer,
    newest_first boolean,
    repair boolean,
    OUT looked integer,
    OUT last text,
    OUT stranded integer,
    OUT queued integer,
    OUT failed integer,
    OUT dead integer,
    OUT problem text
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    id_type text;
    look text;
    put text;
    ids text[];
    images text[];
    befores jsonb[];
    were_read boolean[];
BEGIN
    queued := 0;
    failed := 0;
    IF public.receipt_queue_hides_from(current_user) THEN
        RAISE EXCEPTION 'row-level security may hide receipts from role %, which owns the queue''s functions', current_user
            USING ERRCODE = 'insufficient_privilege',
                  HINT = 'Give it BYPASSRLS or a policy on receipts that is true for it, or give receipt_queue_reconcile another owner.';
    END IF;
    -- Without the type's modifier: a cast to character(1) would cut.
    SELECT format_type(a.atttypid, -1) INTO STRICT id_type
    FROM pg_attribute a
    WHERE a.attrelid = 'public.receipts'::regclass AND a.attname = 'id' AND NOT a.attisdropped;

    EXECUTE format(
        'SELECT
             count(*)::integer,
             (array_agg(p.id ORDER BY p.id %3$s))[1]::text,
             array_agg(p.id::text) FILTER (WHERE p.status = ''pending'')
         FROM (
             SELECT r.id, r.status::text AS status
             FROM public.receipts r
             WHERE %1$s
             ORDER BY r.id %2$s
             LIMIT $2
         ) AS p',
        CASE
            WHEN after IS NULL THEN 'true'
            WHEN newest_first THEN format('r.id < $1::%s', id_type)
            ELSE format('r.id > $1::%s', id_type)
        END,
        CASE WHEN newest_first THEN 'DESC' ELSE 'ASC' END,
        CASE WHEN newest_first THEN 'ASC' ELSE 'DESC' END
    ) INTO looked, last, ids USING after, slice;
    IF looked < slice THEN
        last := NULL;
    END IF;

    look := format(
        'SELECT
             array_agg(s.id::text ORDER BY s.id) FILTER (WHERE s.lost),
             array_agg(s.image ORDER BY s.id) FILTER (WHERE s.lost),
             array_agg(s.before ORDER BY s.id) FILTER (WHERE s.lost),
             array_agg(s.was_read ORDER BY s.id) FILTER (WHERE s.lost),
             count(*) FILTER (WHERE s.lost)::integer,
             count(*) FILTER (WHERE NOT s.lost)::integer
         FROM (
             SELECT
                 r.id,
                 coalesce(nullif(r.s3_key::text, ''''), r.image_url::text) AS image,
                 pg_catalog.jsonb_build_array(
                     public.receipt_queue_value(r.vendor_text), public.receipt_queue_value(r.total_amount),
                     public.receipt_queue_value(r.currency), public.receipt_queue_value(r.receipt_date)
                 ) AS before,
                 r.ocr_s3_key IS NOT NULL AS was_read,
                 CASE
                     WHEN NOT q.processed
                         THEN nullif(q.s3_key IS DISTINCT FROM coalesce(nullif(r.s3_key::text, ''''), r.image_url::text), false)
                     ELSE coalesce(d.deaths, 1) = 1
                 END AS lost
             FROM public.receipts r
             LEFT JOIN public.receipt_queue q ON q.receipt_id = r.id
             LEFT JOIN public.receipt_queue_dlq d ON d.receipt_id = r.id
             WHERE r.id = ANY ($1::%s[]) AND r.status::text = ''pending''
         ) AS s',
        id_type
    );
    EXECUTE look INTO ids, images, befores, were_read, stranded, dead USING ids;
    IF stranded = 0 OR NOT repair THEN
        RETURN;
    END IF;

    EXECUTE format(
        'SELECT array_agg(l.id::text)
         FROM (
             SELECT r.id
             FROM public.receipts r
             WHERE r.id = ANY ($1::%s[])
             ORDER BY r.id
             FOR NO KEY UPDATE OF r SKIP LOCKED
         ) AS l',
        id_type
    ) INTO ids USING ids;
    EXECUTE look INTO ids, images, befores, were_read USING ids;
    put := format('SELECT public.receipt_queue_put($1::%s[], $2, $3, $4)', id_type);
    BEGIN
        EXECUTE put INTO queued
            USING coalesce(ids, '{}'), coalesce(images, '{}'), coalesce(befores, '{}'), coalesce(were_read, '{}');
        RETURN;
    EXCEPTION
        WHEN OTHERS THEN
            IF NOT public.receipt_queue_may_wait(SQLSTATE) THEN
                RAISE;
            END IF;
    END;
    queued := 0;
    FOR place IN 1 .. cardinality(ids) LOOP
        BEGIN
            EXECUTE put
                USING ids[place:place], images[place:place], befores[place:place], were_read[place:place];
            queued := queued + 1;
        EXCEPTION
            WHEN OTHERS THEN
                IF NOT public.receipt_queue_may_wait(SQLSTATE) THEN
                    RAISE;
                END IF;
                failed := failed + 1;
                problem := coalesce(problem, format('receipt %s: %s [%s]', ids[place], SQLERRM, SQLSTATE));
        END;
    END LOOP;
END
$body$;

-- How far the pass of reconciling is that all hosts share, and what it has come to.
CREATE TABLE IF NOT EXISTS public.receipt_queue_pass (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    ended_at timestamptz NOT NULL DEFAULT now(),
    began_at timestamptz,
    beat_at  timestamptz,
    worker   text,
    position text,
    looked   bigint NOT NULL DEFAULT 0,
    queued   bigint NOT NULL DEFAULT 0,
    failed   bigint NOT NULL DEFAULT 0,
    dead     bigint NOT NULL DEFAULT 0,
    problem  text
);
INSERT INTO public.receipt_queue_pass DEFAULT VALUES ON CONFLICT DO NOTHING;
ALTER TABLE public.receipt_queue_pass ENABLE ROW LEVEL SECURITY;

-- One step of that pass: a slice, if it is time for one and no other host is at it. A host that goes away in the middle is
-- followed by another one after a minute, where it stopped. state: more (call again soon), ended, resting (until the next pass),
-- busy (another host has it). wait: seconds until asking again is worth it. The counts are the pass's.
CREATE OR REPLACE FUNCTION public.receipt_queue_reconcile_step(
    host text,
    every interval,
    slice integer,
    OUT state text,
    OUT wait double precision,
    OUT looked bigint,
    OUT queued bigint,
    OUT failed bigint,
    OUT dead bigint,
    OUT problem text
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    pass public.receipt_queue_pass;
    seen record;
BEGIN
    SELECT * INTO pass FROM public.receipt_queue_pass FOR UPDATE SKIP LOCKED;
    IF NOT FOUND OR (pass.began_at IS NOT NULL AND pass.worker <> host AND pass.beat_at > now() - interval '1 minute') THEN
        state := 'busy';
        wait := 60;
        RETURN;
    END IF;
    IF pass.began_at IS NULL THEN
        IF pass.ended_at > now() - every THEN
            state := 'resting';
            wait := extract(epoch FROM pass.ended_at + every - now());
            RETURN;
        END IF;
        UPDATE public.receipt_queue_pass p
        SET began_at = now(), position = NULL, looked = 0, queued = 0, failed = 0, dead = 0, problem = NULL
        RETURNING p.* INTO pass;
    END IF;
    SELECT * INTO seen FROM public.receipt_queue_reconcile(pass.position, slice, false, true);
    UPDATE public.receipt_queue_pass p
    SET worker = host,
        beat_at = clock_timestamp(),
        position = seen.last,
        began_at = CASE WHEN seen.last IS NULL THEN NULL ELSE p.began_at END,
        ended_at = CASE WHEN seen.last IS NULL THEN clock_timestamp() ELSE p.ended_at END,
        looked = p.looked + seen.looked,
        queued = p.queued + seen.queued,
        failed = p.failed + seen.failed,
        dead = p.dead + seen.dead,
        problem = coalesce(p.problem, seen.problem)
    RETURNING p.* INTO pass;
    state := CASE WHEN seen.last IS NULL THEN 'ended' ELSE 'more' END;
    wait := CASE WHEN seen.last IS NULL THEN extract(epoch FROM every) ELSE 0 END;
    looked := pass.looked;
    queued := pass.queued;
    failed := pass.failed;
    dead := pass.dead;
    problem := pass.problem;
END
$body$;

DO $rights$
DECLARE
    granted record;
    id_schema name;
BEGIN
    -- An id of an extension's type has its operators where that type is now; replacing a function has forgotten it.
    SELECT n.nspname INTO id_schema
    FROM pg_attribute a
    JOIN pg_type t ON t.oid = a.atttypid
    JOIN pg_namespace n ON n.oid = t.typnamespace
    WHERE a.attrelid = 'public.receipts'::regclass AND a.attname = 'id';

    FOR granted IN
        SELECT p.oid::regprocedure AS function
        FROM pg_proc p
        WHERE p.pronamespace = 'public'::regnamespace
          AND p.proname IN (
              'receipt_queue_put', 'receipts_enqueue', 'receipts_requeue', 'receipt_queue_reconcile',
              'receipt_queue_reconcile_step'
          )
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', granted.function);
        IF id_schema <> 'pg_catalog' THEN
            EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, %I, pg_temp', granted.function, id_schema);
        END IF;
    END LOOP;

    -- Later grants are the operator's, and stay: this is done when the migration is first applied.
    IF EXISTS (SELECT FROM public.receipt_queue_schema WHERE version = 20261127000000) THEN
        RETURN;
    END IF;
    FOR granted IN
        SELECT format('FUNCTION %s', p.oid::regprocedure) AS object, r.rolname AS grantee
        FROM pg_proc p
        CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS acl
        LEFT JOIN pg_roles r ON r.oid = acl.grantee
        WHERE p.pronamespace = 'public'::regnamespace
          AND p.proname IN (
              'receipt_queue_put', 'receipt_queue_may_wait', 'receipt_queue_hides_from', 'receipt_queue_reconcile',
              'receipt_queue_reconcile_step', 'receipt_queue_fixed', 'receipt_queue_value', 'receipt_queue_as',
              'receipt_queue_written', 'receipt_queue_defaults', 'receipt_queue_whose'
          )
          AND acl.grantee <> p.proowner
        UNION ALL
        SELECT format('TABLE %s', c.oid::regclass), r.rolname
        FROM pg_class c
        CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
        LEFT JOIN pg_roles r ON r.oid = acl.grantee
        WHERE c.oid = 'public.receipt_queue_pass'::regclass AND acl.grantee <> c.relowner
    LOOP
        IF granted.grantee IS NULL THEN
            EXECUTE format('REVOKE ALL ON %s FROM PUBLIC', granted.object);
        ELSE
            EXECUTE format('REVOKE ALL ON %s FROM %I', granted.object, granted.grantee);
        END IF;
    END LOOP;
    -- A worker's role that has its rights already needs what its settles call.
    FOR granted IN
        SELECT p.oid::regprocedure AS function, r.rolname AS grantee
        FROM pg_class c
        CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
        JOIN pg_roles r ON r.oid = acl.grantee
        JOIN pg_proc p ON p.pronamespace = c.relnamespace AND p.proname IN (
            'receipt_queue_fixed', 'receipt_queue_value', 'receipt_queue_as', 'receipt_queue_written'
        )
        WHERE c.oid = 'public.receipt_queue'::regclass AND acl.privilege_type = 'UPDATE' AND acl.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', granted.function, granted.grantee);
    END LOOP;
END
$rights$;

-- A receipts table of our own make (exactly our columns) is open to whoever has the app's public key, where the platform grants
-- what is made in this schema to the roles anon and authenticated (Supabase). It is closed: users see their own rows, and the
-- other roles that hold rights on it, or on the queue, go on seeing all. Any other table is its app's to close; `host doctor`
-- warns. Done when the migration is first applied: what the operator does later stays.
DO $close$
DECLARE
    made_by_us boolean;
    holder record;
BEGIN
    IF EXISTS (SELECT FROM public.receipt_queue_schema WHERE version = 20261127000000)
        OR (SELECT count(*) FROM pg_roles WHERE rolname IN ('anon', 'authenticated')) < 2
        OR (SELECT relrowsecurity FROM pg_class WHERE oid = 'public.receipts'::regclass)
        OR EXISTS (SELECT FROM pg_policy WHERE polrelid = 'public.receipts'::regclass)
    THEN
        RETURN;
    END IF;
    WITH ours (name, type, required, preset) AS (
        VALUES
            ('id', 'uuid', true, 'gen_random_uuid()'),
            ('user_id', 'text', false, NULL),
            ('status', 'text', true, '''pending''::text'),
            ('created_at', 'timestamp with time zone', true, 'now()'),
            ('image_url', 'text', false, NULL),
            ('s3_key', 'text', false, NULL),
            ('vendor_text', 'text', false, NULL),
            ('total_amount', 'numeric', false, NULL),
            ('currency', 'text', false, NULL),
            ('receipt_date', 'date', false, NULL),
            ('ocr_confidence', 'numeric', false, NULL),
            ('ocr_s3_key', 'text', false, NULL),
            ('ocr_component', 'text', false, NULL)
    ),
    theirs (name, type, required, preset) AS (
        SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid)
        FROM pg_attribute a
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE a.attrelid = 'public.receipts'::regclass AND a.attnum > 0 AND NOT a.attisdropped
    )
    SELECT NOT EXISTS (SELECT * FROM ours EXCEPT SELECT * FROM theirs)
       AND NOT EXISTS (SELECT * FROM theirs EXCEPT SELECT * FROM ours)
    INTO made_by_us;
    IF NOT made_by_us THEN
        RETURN;
    END IF;

    ALTER TABLE public.receipts ENABLE ROW LEVEL SECURITY;
    IF EXISTS (
        SELECT FROM pg_proc p
        JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname = 'auth' AND p.proname = 'uid' AND p.pronargs = 0
    ) THEN
        -- In a SELECT of its own it is asked once a statement, not once a row.
        CREATE POLICY "receipts: own rows" ON public.receipts TO authenticated
            USING (user_id = (SELECT auth.uid())::text)
            WITH CHECK (user_id = (SELECT auth.uid())::text);
    ELSE
        RAISE NOTICE 'receipts has row-level security now, and no policy for its users: there is no function auth.uid()';
    END IF;
    FOR holder IN
        SELECT DISTINCT r.oid, r.rolname
        FROM (
            SELECT (aclexplode(c.relacl)).grantee
            FROM pg_class c
            WHERE c.oid IN ('public.receipts'::regclass, 'public.receipt_queue'::regclass)
            UNION
            SELECT (aclexplode(a.attacl)).grantee
            FROM pg_attribute a
            WHERE a.attrelid = 'public.receipts'::regclass
        ) AS acl
        JOIN pg_roles r ON r.oid = acl.grantee
        -- Neither the two, nor what they are members of.
        WHERE NOT pg_has_role('anon', r.oid, 'MEMBER')
          AND NOT pg_has_role('authenticated', r.oid, 'MEMBER')
          AND r.oid <> (SELECT c.relowner FROM pg_class c WHERE c.oid = 'public.receipts'::regclass)
    LOOP
        EXECUTE format(
            'CREATE POLICY %I ON public.receipts TO %I USING (true) WITH CHECK (true)',
            -- The name that `host rights` gives it; a longer one would be cut off and might be another's.
            CASE
                WHEN octet_length(holder.rolname) <= 48 THEN 'receipt queue: ' || holder.rolname
                ELSE 'receipt queue: role ' || holder.oid
            END,
            holder.rolname
        );
    END LOOP;
END
$close$;

-- Receipts that waited before there was a queue are queued by the migration before this one, as far as its role sees them.
-- Where it may not have seen them, and nothing was ever queued, that is said, and nothing is recorded as done.
DO $waiting$
BEGIN
    IF EXISTS (SELECT FROM public.receipt_queue_schema WHERE version = 20261127000000)
        OR EXISTS (SELECT FROM public.receipt_queue)
        OR EXISTS (SELECT FROM public.receipt_queue_dlq)
    THEN
        RETURN;
    END IF;
    IF public.receipt_queue_hides_from(current_user) THEN
        RAISE EXCEPTION 'row-level security may hide receipts from role %, which runs this migration', current_user
            USING HINT = 'Those that wait would not be queued. Run it as a role with BYPASSRLS, or give this one a policy '
                'that is true for it, or ALTER TABLE public.receipts NO FORCE ROW LEVEL SECURITY for as long as it runs.';
    END IF;
    INSERT INTO public.receipt_queue (receipt_id, s3_key, receipt_before)
    SELECT
        r.id,
        coalesce(nullif(r.s3_key::text, ''), r.image_url::text),
        pg_catalog.jsonb_build_array(r.vendor_text, r.total_amount, r.currency, r.receipt_date)
    FROM public.receipts r
    WHERE r.status::text = 'pending'
    ON CONFLICT (receipt_id) DO NOTHING;
END
$waiting$;

-- Row-level security hides these tables from roles to which a platform grants whatever is made (anon, authenticated). Elsewhere
-- they have no right here, and it would only keep pg_dump from a role that may read everything: that fails on a table whose rows
-- may be hidden. It stays where it hides rows from somebody who was granted the table by hand.
DO $row_security$
DECLARE
    target record;
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname IN ('anon', 'authenticated')) THEN
        RETURN;
    END IF;
    FOR target IN
        SELECT c.oid::regclass AS name
        FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace
          AND c.relname IN ('receipt_queue', 'receipt_queue_dlq', 'receipt_queue_pass', 'receipt_component_changes')
          AND c.relrowsecurity
          AND NOT EXISTS (
              SELECT
              FROM aclexplode(c.relacl) AS acl
              LEFT JOIN pg_roles r ON r.oid = acl.grantee
              WHERE acl.grantee <> c.relowner
                AND NOT coalesce(r.rolbypassrls OR r.rolsuper, false)
                AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND acl.grantee = ANY (p.polroles))
          )
    LOOP
        EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', target.name);
    END LOOP;
END
$row_security$;

-- What a platform's default privileges granted on them a moment ago.
DO $rights$
DECLARE
    granted record;
BEGIN
    IF EXISTS (SELECT FROM public.receipt_queue_schema WHERE version = 20261127000000) THEN
        RETURN;
    END IF;
    FOR granted IN
        SELECT format('%s %s', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass) AS object,
               r.rolname AS grantee
        FROM pg_class c
        CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
        LEFT JOIN pg_roles r ON r.oid = acl.grantee
        WHERE c.relnamespace = 'public'::regnamespace
          AND c.relname IN ('receipt_queue_settings', 'receipt_queue_told', 'vw_receipt_queue_backlog')
          AND acl.grantee <> c.relowner
        UNION
        SELECT format('FUNCTION %s', p.oid::regprocedure), r.rolname
        FROM pg_proc p
        CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS acl
        LEFT JOIN pg_roles r ON r.oid = acl.grantee
        WHERE p.pronamespace = 'public'::regnamespace AND p.proname = 'receipt_queue_wake' AND acl.grantee <> p.proowner
    LOOP
        IF granted.grantee IS NULL THEN
            EXECUTE format('REVOKE ALL ON %s FROM PUBLIC', granted.object);
        ELSE
            EXECUTE format('REVOKE ALL ON %s FROM %I', granted.object, granted.grantee);
        END IF;
    END LOOP;
    -- Whoever may see how many wait may see it here, too: a worker that was granted its rights before needs them no second time.
    FOR granted IN
        SELECT r.rolname AS grantee
        FROM pg_class c
        CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
        JOIN pg_roles r ON r.oid = acl.grantee
        WHERE c.oid = 'public.vw_receipt_queue_status'::regclass AND acl.grantee <> c.relowner
          AND acl.privilege_type = 'SELECT'
    LOOP
        EXECUTE format('GRANT SELECT ON public.vw_receipt_queue_backlog TO %I', granted.grantee);
    END LOOP;
END
$rights$;

INSERT INTO public.receipt_queue_schema (version) VALUES (20261127000000) ON CONFLICT DO NOTHING;
