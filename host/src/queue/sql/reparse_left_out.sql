-- Receipts that were named, and why they are not read again; no row for those that are. $1 digest of the component that
-- reads now, $2 ids as text.
SELECT
    convert_to(wanted.id, getdatabaseencoding()) AS id,
    getdatabaseencoding()::text AS encoding,
    convert_to(CASE
        WHEN r.id IS NULL THEN 'there is no such receipt'
        WHEN r.status::text <> 'ocr_done' THEN format('its status is %s', r.status)
        WHEN r.ocr_component IS NULL THEN 'a person edited it, or it was read before readings carried a digest'
        ELSE 'this component has read it'
    END, getdatabaseencoding()) AS why
FROM unnest($2::text[]) AS wanted (id)
LEFT JOIN public.receipts r ON r.id = public.receipt_queue_as((NULL::public.receipts).id, wanted.id)
WHERE r.id IS NULL OR r.status::text <> 'ocr_done' OR r.ocr_component IS NULL OR r.ocr_component = $1
