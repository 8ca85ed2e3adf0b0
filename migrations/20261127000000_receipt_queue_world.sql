-- What real databases ask of the queue: row-level security that hides receipts from the owner of our functions, an app that
-- changes its own columns and types, receipts that arrive where no trigger fires, statements that change very many rows.
-- Idempotent. It is also what `host migrate` runs again to mend what has drifted, so that each of our functions on receipts
-- is defined here in its newest form, and what the app may have changed is looked up and not written down.
SET LOCAL lock_timeout = '10s';

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
        EXECUTE format('ALTER TABLE %s ALTER COLUMN receipt_id TYPE %s', drifted.name, id_type);
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
CREATE OR REPLACE FUNCTION public.receipt_queue_put(ids anyarray, images text[] DEFAULT NULL, befores jsonb[] DEFAULT NULL)
RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
AS $body$
DECLARE
    asked integer := cardinality(ids);
    queued integer;
BEGIN
    IF images IS NULL OR NOT row_security_active('public.receipts') THEN
        SELECT
            array_agg(r.id ORDER BY r.id),
            array_agg(coalesce(nullif(r.s3_key::text, ''), r.image_url::text) ORDER BY r.id),
            array_agg(
                pg_catalog.jsonb_build_array(r.vendor_text, r.total_amount, r.currency, r.receipt_date) ORDER BY r.id
            )
        INTO ids, images, befores
        FROM public.receipts r
        WHERE r.id = ANY (ids);
        IF coalesce(cardinality(ids), 0) < asked AND row_security_active('public.receipts') THEN
            RAISE EXCEPTION 'row-level security hides % of % receipts from role %, which owns receipt_queue_put',
                asked - coalesce(cardinality(ids), 0), asked, current_user
                USING ERRCODE = 'insufficient_privilege',
                      HINT = 'Give the function an owner that sees every receipt (BYPASSRLS, or a policy of its own).';
        END IF;
    END IF;

    INSERT INTO public.receipt_queue AS q (receipt_id, s3_key, receipt_before, deaths, claims, history)
    SELECT
        r.id,
        r.image,
        r.before,
        coalesce(d.deaths, 0),
        -- It may have been worked before, under a row that is gone: then there is an artifact to look for.
        coalesce(d.claims, 1),
        coalesce(d.history, '[]')
    FROM unnest(ids, images, befores) AS r (id, image, before)
    LEFT JOIN public.receipt_queue_dlq d ON d.receipt_id = r.id
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
        history = excluded.history,
        -- A dead letter beside a row that was processed: only a hand makes that.
        deaths = greatest(q.deaths, excluded.deaths);
    GET DIAGNOSTICS queued = ROW_COUNT;

    DELETE FROM public.receipt_queue_dlq d
    WHERE d.receipt_id = ANY (ids);

    IF queued > 0 THEN
        PERFORM pg_notify('receipt_channel', '');
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

-- A receipt that is done or failed and gets another image is pending again. Before the row is written and by the one who
-- writes it: no second UPDATE, and the app's own triggers run in the surroundings that they expect. The columns are not in
-- the trigger's definition, so that the app can still change their types.
-- The digest stays only with what its component read: an UPDATE that changes a field and brings no other digest is an edit.
-- Compared as jsonb: a type without an operator for it here (one of an extension, json) is no error.
CREATE OR REPLACE FUNCTION public.receipts_reread() RETURNS trigger
LANGUAGE plpgsql
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
        PERFORM public.receipt_queue_put(part.ids, part.images, part.befores)
        FROM (
            SELECT
                array_agg(c.id ORDER BY c.id) AS ids,
                array_agg(c.image ORDER BY c.id) AS images,
                array_agg(c.before ORDER BY c.id) AS befores
            FROM (
                SELECT
                    n.id,
                    coalesce(nullif(n.s3_key::text, ''), n.image_url::text) AS image,
                    pg_catalog.jsonb_build_array(n.vendor_text, n.total_amount, n.currency, n.receipt_date) AS before,
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
          AND p.proname IN ('receipt_queue_put', 'receipts_enqueue', 'receipts_requeue')
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
          AND p.proname IN ('receipt_queue_put', 'receipt_queue_may_wait')
          AND acl.grantee <> p.proowner
    LOOP
        IF granted.grantee IS NULL THEN
            EXECUTE format('REVOKE ALL ON %s FROM PUBLIC', granted.object);
        ELSE
            EXECUTE format('REVOKE ALL ON %s FROM %I', granted.object, granted.grantee);
        END IF;
    END LOOP;
END
$rights$;

INSERT INTO public.receipt_queue_schema (version) VALUES (20261127000000) ON CONFLICT DO NOTHING;
