-- A witness of every change to receipts, queue and dead letters: who did what, in which transaction. Triggers see what
-- snapshots miss, and they are not the code that is on trial. Workers are known by the names of their sessions.
CREATE SCHEMA witness;

CREATE TABLE witness.event (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid     text NOT NULL DEFAULT pg_current_xact_id()::text,
    -- The worker's id; null for everybody else.
    worker  text DEFAULT substring(current_setting('application_name') FROM '^receipt-worker (.+)$'),
    receipt text NOT NULL,
    event   text NOT NULL,
    -- The lease that was held, by whom, and the token that the change was made under.
    held    bigint,
    holder  text,
    token   bigint
);

-- "What happened to this receipt, in order."
CREATE INDEX event_receipt ON witness.event (receipt, id);

CREATE FUNCTION witness.queue() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $body$
DECLARE
    known bigint;
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO witness.event (receipt, event) VALUES (NEW.receipt_id::text, 'queued');
        RETURN NULL;
    END IF;
    IF TG_OP = 'DELETE' THEN
        INSERT INTO witness.event (receipt, event, held, holder)
        VALUES (OLD.receipt_id::text, 'taken out', OLD.lease_token, OLD.leased_by);
        RETURN NULL;
    END IF;
    known := greatest(OLD.lease_token, OLD.settled_token);
    INSERT INTO witness.event (receipt, event, held, holder, token)
    SELECT NEW.receipt_id::text, happened.event, OLD.lease_token, OLD.leased_by, happened.token
    FROM (
        VALUES
            -- Again, with what is there now as what was there before: also while it still waits, for a replaced image.
            ('queued', NULL::bigint, NEW.enqueued_at IS DISTINCT FROM OLD.enqueued_at),
            (
                'done',
                NEW.settled_token,
                NEW.processed AND (NOT OLD.processed OR NEW.settled_token IS DISTINCT FROM OLD.settled_token)
            ),
            ('put back', NEW.settled_token, NOT NEW.processed AND NEW.settled_token IS DISTINCT FROM OLD.settled_token),
            ('leased backwards', NEW.lease_token, NEW.lease_token IS DISTINCT FROM OLD.lease_token AND NEW.lease_token <= known),
            (
                'renewed',
                NEW.lease_token,
                NEW.lease_token = OLD.lease_token AND NEW.available_at IS DISTINCT FROM OLD.available_at
                AND current_setting('application_name') <> 'receipt-worker ' || coalesce(OLD.leased_by, '')
            )
    ) AS happened (event, token, is_so)
    WHERE happened.is_so;
    RETURN NULL;
END
$body$;

CREATE FUNCTION witness.dead() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $body$
BEGIN
    INSERT INTO witness.event (receipt, event, token) VALUES (NEW.receipt_id::text, 'buried', NEW.settled_token);
    RETURN NULL;
END
$body$;

CREATE FUNCTION witness.receipt() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $body$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO witness.event (receipt, event) VALUES (OLD.id::text, 'gone');
        RETURN NULL;
    END IF;
    IF NEW.status IS DISTINCT FROM OLD.status THEN
        INSERT INTO witness.event (receipt, event) VALUES (NEW.id::text, 'became ' || NEW.status::text);
    END IF;
    IF jsonb_build_array(NEW.vendor_text, NEW.total_amount, NEW.currency, NEW.receipt_date)
        IS DISTINCT FROM jsonb_build_array(OLD.vendor_text, OLD.total_amount, OLD.currency, OLD.receipt_date)
    THEN
        INSERT INTO witness.event (receipt, event) VALUES (NEW.id::text, 'written');
    END IF;
    RETURN NULL;
END
$body$;

CREATE TRIGGER witness AFTER INSERT OR UPDATE OR DELETE ON public.receipt_queue
    FOR EACH ROW EXECUTE FUNCTION witness.queue();
CREATE TRIGGER witness AFTER INSERT ON public.receipt_queue_dlq
    FOR EACH ROW EXECUTE FUNCTION witness.dead();
CREATE TRIGGER witness AFTER UPDATE OR DELETE ON public.receipts
    FOR EACH ROW EXECUTE FUNCTION witness.receipt();
