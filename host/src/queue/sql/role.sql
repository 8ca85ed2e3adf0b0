-- A role for the host with what its verbs need, and nothing else. To be run by the owner of the tables, who may make roles,
-- after `host migrate`; safe to run again, also to take away what was granted beyond it. There is no password in it: set one
-- afterwards, with \password in psql or in your platform's settings.
BEGIN;

SELECT set_config('receipt_worker.role', {LITERAL}, true);

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = current_setting('receipt_worker.role')) THEN
        EXECUTE format('CREATE ROLE %I LOGIN', current_setting('receipt_worker.role'));
    END IF;
END
$$;

REVOKE ALL ON
    public.receipts, public.receipt_queue, public.receipt_queue_dlq, public.receipt_component_changes,
    public.receipt_queue_schema, public.vw_receipt_queue_status, public.vw_receipt_queue_failures,
    public.vw_receipt_queue_backlog
    FROM {ROLE};
REVOKE ALL ON SEQUENCE public.receipt_queue_token FROM {ROLE};
REVOKE ALL ON FUNCTION
    public.receipt_queue_reconcile(text, integer, boolean, boolean), public.receipt_queue_reconcile_step(text, interval, integer)
    FROM {ROLE};

GRANT USAGE ON SCHEMA public TO {ROLE};

-- Of the app's table the columns of the contract alone: what else the app has there is not the worker's business.
GRANT
    SELECT (
        id, status, created_at, vendor_text, total_amount, currency, receipt_date, ocr_confidence, ocr_s3_key, ocr_component
    ),
    UPDATE (status, vendor_text, total_amount, currency, receipt_date, ocr_confidence, ocr_s3_key, ocr_component)
    ON public.receipts TO {ROLE};
GRANT SELECT, UPDATE, DELETE ON public.receipt_queue TO {ROLE};
GRANT USAGE ON SEQUENCE public.receipt_queue_token TO {ROLE};
-- What a settle calls.
GRANT EXECUTE ON FUNCTION
    public.receipt_queue_fixed(anyelement),
    public.receipt_queue_value(anyelement),
    public.receipt_queue_as(anyelement, anycompatible),
    public.receipt_queue_written(text, text, text, anyelement, numeric, anycompatible, date)
    TO {ROLE};
GRANT SELECT, INSERT, DELETE ON public.receipt_queue_dlq TO {ROLE};
-- No DELETE: nobody makes a component trusted by forgetting.
GRANT SELECT, INSERT ON public.receipt_component_changes TO {ROLE};
GRANT SELECT ON public.receipt_queue_schema, public.vw_receipt_queue_status, public.vw_receipt_queue_backlog TO {ROLE};
-- They queue what is pending and in no queue, and nothing else.
GRANT EXECUTE ON FUNCTION
    public.receipt_queue_reconcile(text, integer, boolean, boolean), public.receipt_queue_reconcile_step(text, interval, integer)
    TO {ROLE};

-- Row-level security is on for the queue's tables, and on many platforms for receipts. Policies for this role, and not
-- BYPASSRLS: that would hold for every table of the database.
DROP POLICY IF EXISTS {POLICY} ON public.receipts;
DROP POLICY IF EXISTS {POLICY} ON public.receipt_queue;
DROP POLICY IF EXISTS {POLICY} ON public.receipt_queue_dlq;
DROP POLICY IF EXISTS {POLICY} ON public.receipt_component_changes;
CREATE POLICY {POLICY} ON public.receipts TO {ROLE} USING (true) WITH CHECK (true);
CREATE POLICY {POLICY} ON public.receipt_queue TO {ROLE} USING (true) WITH CHECK (true);
CREATE POLICY {POLICY} ON public.receipt_queue_dlq TO {ROLE} USING (true) WITH CHECK (true);
CREATE POLICY {POLICY} ON public.receipt_component_changes TO {ROLE} USING (true) WITH CHECK (true);

COMMIT;
