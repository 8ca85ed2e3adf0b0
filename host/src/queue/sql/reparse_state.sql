convert_to(
    pg_catalog.jsonb_build_array(
        public.receipt_queue_value(r.vendor_text), public.receipt_queue_value(r.total_amount),
        public.receipt_queue_value(r.currency), public.receipt_queue_value(r.receipt_date),
        r.ocr_component, r.ocr_s3_key
    )::text,
    getdatabaseencoding()
)
