//! The whole state of the database, in the reference's words.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio_postgres::Client;

use crate::reference::{Dead, Fate, Past, Place, Places, Receipt, Row, Token};
use crate::values::{fields_of, number, slot, status_of};

/// One snapshot: receipts, queue, dead letters and what the views say.
const EVERYTHING: &str = "
    SELECT
        r.id::text,
        (to_jsonb(r) || jsonb_build_object(
            'fields', jsonb_build_array(r.vendor_text, r.total_amount, r.currency, r.receipt_date)
        ))::text,
        (to_jsonb(q) || jsonb_build_object('due', NOT q.processed AND q.available_at <= clock_timestamp()))::text,
        to_jsonb(d)::text,
        (SELECT jsonb_object_agg(v.status, v.count)::text FROM vw_receipt_queue_status v),
        (SELECT count(*) FROM vw_receipt_queue_failures),
        (SELECT count(*) FROM receipt_queue x WHERE NOT EXISTS (SELECT FROM receipts y WHERE y.id = x.receipt_id))
    FROM receipts r
    LEFT JOIN receipt_queue q ON q.receipt_id = r.id
    LEFT JOIN receipt_queue_dlq d ON d.receipt_id = r.id";

/// `tokens` names the leases by the tokens that the database gave them.
pub async fn observe(client: &Client, tokens: &BTreeMap<i64, Token>) -> Places {
    let mut places = Places::default();
    let rows = client.query(EVERYTHING, &[]).await.unwrap();
    for row in &rows {
        let json = |column: usize| row.get::<_, Option<&str>>(column).map(|text| serde_json::from_str(text).unwrap());
        let (receipt, queue, dead): (Value, Option<Value>, Option<Value>) = (json(1).unwrap(), json(2), json(3));
        let slot = slot(row.get(0));
        places[slot] = Some(Place {
            receipt: Receipt {
                status: status_of(&receipt["status"]),
                image: number('i', &receipt["image_url"]),
                fields: fields_of(&receipt["fields"]),
                artifact: number('a', &receipt["ocr_s3_key"]),
                component: number('c', &receipt["ocr_component"]),
            },
            row: queue.map(|queue| queue_row(&queue, tokens)),
            dead: dead.map(|dead| dead_letter(&dead, tokens)),
        });
    }
    if let Some(row) = rows.first() {
        let statuses = serde_json::from_str(row.get(4)).unwrap();
        assert_views(&places, &statuses, row.get(5), row.get(6));
    }
    places
}

fn queue_row(row: &Value, tokens: &BTreeMap<i64, Token>) -> Row {
    let token = |column: &str| row[column].as_i64().map(|token| named(token, tokens));
    let error = number('k', &row["last_error_kind"]);
    assert_eq!((error, error), (number('e', &row["last_error_code"]), number('m', &row["last_error"])), "{row}");
    assert_eq!(row["processed"] == true, !row["processed_at"].is_null(), "{row}");
    Row {
        image: number('i', &row["s3_key"]),
        before: fields_of(&row["receipt_before"]),
        given: given(&row["receipt_whose"]),
        attempts: count(&row["attempts"]),
        claims: count(&row["claims"]),
        processed: row["processed"] == true,
        due: row["due"] == true,
        lease: token("lease_token"),
        holder: number('w', &row["leased_by"]),
        settled: token("settled_token"),
        error,
        component: number('c', &row["component"]),
        deaths: count(&row["deaths"]),
        history: history(&row["history"], tokens),
    }
}

fn dead_letter(row: &Value, tokens: &BTreeMap<i64, Token>) -> Dead {
    let error = number('k', &row["error_kind"]).unwrap();
    let deaths = count(&row["deaths"]);
    assert_eq!(
        [number('e', &row["error_code"]), number('m', &row["error_message"]), number('c', &row["component"])],
        [Some(error); 3],
        "{row}"
    );
    let before = if deaths == 1 { String::new() } else { format!("; was dead {} time(s) before", deaths - 1) };
    assert_eq!(row["notes"], format!("note{before}"), "{row}");
    Dead {
        image: number('i', &row["s3_key"]),
        before: fields_of(&row["receipt_before"]),
        given: given(&row["receipt_whose"]),
        error,
        attempts: count(&row["attempts"]),
        claims: count(&row["claims"]),
        settled: named(row["settled_token"].as_i64().unwrap(), tokens),
        deaths,
        history: history(&row["history"], tokens),
    }
}

/// All four fields are the app's, or none is.
fn given(whose: &Value) -> bool {
    let whose = whose.as_object().unwrap();
    let all = ["vendor_text", "total_amount", "currency", "receipt_date"];
    let given = all.iter().all(|field| whose.get(*field).is_some_and(|whose| whose == "given"));
    assert!(given || whose.is_empty(), "{whose:?}");
    given
}

fn history(history: &Value, tokens: &BTreeMap<i64, Token>) -> Vec<Past> {
    let past = |past: &Value| {
        let error = number('k', &past["kind"]).unwrap();
        assert_eq!((number('e', &past["code"]), number('c', &past["component"])), (Some(error), Some(error)), "{past}");
        Past {
            attempt: count(&past["attempt"]),
            outcome: match past["outcome"].as_str().unwrap() {
                "retry" => Fate::Charged,
                "uncharged" => Fate::Uncharged,
                "dead-letter" => Fate::Dead,
                "taken-back" => Fate::TakenBack,
                other => panic!("outcome {other}"),
            },
            error,
            token: named(past["token"].as_i64().unwrap(), tokens),
        }
    };
    history.as_array().unwrap().iter().map(past).collect()
}

/// A token that nobody was ever given is shown as 0.
fn named(token: i64, tokens: &BTreeMap<i64, Token>) -> Token {
    tokens.get(&token).copied().unwrap_or(0)
}

fn count(value: &Value) -> u32 {
    u32::try_from(value.as_i64().unwrap()).unwrap()
}

fn assert_views(places: &Places, statuses: &Value, failures: i64, orphans: i64) {
    let counted = |wanted: &dyn Fn(&Place) -> bool| places.iter().flatten().filter(|place| wanted(place)).count();
    let row = |place: &Place, processed| place.row.as_ref().is_some_and(|row| row.processed == processed);
    let dead = counted(&|place| place.dead.is_some());
    assert_eq!(statuses["pending"], counted(&|place| row(place, false)));
    assert_eq!(statuses["processed"], counted(&|place| row(place, true)));
    assert_eq!(statuses["dlq"], dead);
    assert_eq!((failures, orphans), (dead as i64, 0));
}
