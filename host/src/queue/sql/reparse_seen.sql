-- Which receipts are still as they were seen: those were not written because somebody has them locked. $1 ids, $2 states
-- seen. ID_TYPE is the type of receipts.id.
-- The receipt's state is put in from reparse_state.sql: it is compared by the words in which it was seen.
SELECT convert_to(r.id::text, getdatabaseencoding())
FROM unnest($1::bytea[], $2::bytea[]) AS o (id, state)
JOIN public.receipts r
    ON r.id = convert_from(o.id, getdatabaseencoding())::ID_TYPE
    AND r.id = ANY (ARRAY(SELECT convert_from(i.id, getdatabaseencoding())::ID_TYPE FROM unnest($1::bytea[]) AS i (id)))
WHERE r.status::text = 'ocr_done'
  AND RECEIPT_STATE = o.state
