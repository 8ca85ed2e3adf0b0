//! The plans of the queue's statements. Settling must find its rows by primary key, whatever the planner believes: with
//! the partial index it goes quadratic. Claiming must read the index in its order, and sort nothing.

use serde_json::Value;
use tests::World;
use tokio_postgres::SimpleQueryMessage;

macro_rules! sql {
    ($name:literal) => {
        include_str!(concat!("../../../host/src/queue/sql/", $name, ".sql"))
    };
}

const BATCH: usize = 100;

/// What the planner believes of a queue of 100,000 waiting rows and as many that are processed.
#[derive(Debug, Clone, Copy)]
enum Statistics {
    /// Taken when there was nothing.
    OfNothing,
    /// Taken when everything was processed: the partial index seems to be empty.
    OfAQuietTime,
    /// Taken now.
    Fresh,
}

const ALL: [Statistics; 3] = [Statistics::OfNothing, Statistics::OfAQuietTime, Statistics::Fresh];

async fn filled(statistics: Statistics) -> World {
    let world = World::new().await;
    let analyze = "ANALYZE receipts; ANALYZE receipt_queue; ANALYZE receipt_queue_dlq";
    // By hand, since only their number matters here: without trigger and foreign keys it takes a fifth of the time.
    let insert = "SET session_replication_role = replica;
        WITH r AS (
            INSERT INTO receipts (image_url) SELECT 'photo-' || n FROM generate_series(1, 100000) n RETURNING id, image_url
        )
        INSERT INTO receipt_queue (receipt_id, s3_key) SELECT id, image_url FROM r;
        SET session_replication_role = origin";
    world
        .execute(&format!(
            "ALTER TABLE receipts SET (autovacuum_enabled = off);
             ALTER TABLE receipt_queue SET (autovacuum_enabled = off);
             {analyze}"
        ))
        .await;
    world.execute(insert).await;
    world.execute("UPDATE receipt_queue SET processed = true, processed_at = now()").await;
    if matches!(statistics, Statistics::OfAQuietTime) {
        world.execute("VACUUM receipt_queue").await;
        world.execute(analyze).await;
    }
    world.execute(insert).await;
    if matches!(statistics, Statistics::Fresh) {
        world.execute(analyze).await;
    }
    world
}

/// The plan of a statement as the host runs it: prepared, with these parameters.
async fn plan(world: &World, types: &str, sql: &str, parameters: &[String], mode: &str) -> Value {
    let values = if parameters.is_empty() { String::new() } else { format!("({})", parameters.join(", ")) };
    let types = if types.is_empty() { String::new() } else { format!("({types})") };
    world.execute(&format!("SET plan_cache_mode = {mode}; PREPARE it{types} AS {sql}")).await;
    let rows = world.client.simple_query(&format!("EXPLAIN (FORMAT JSON) EXECUTE it{values}")).await.unwrap();
    world.execute("DEALLOCATE it").await;
    let text: String = rows
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        })
        .collect();
    serde_json::from_str(&text).unwrap()
}

/// Every node of a plan.
fn nodes(plan: &Value) -> Vec<&Value> {
    let mut found = Vec::new();
    match plan {
        Value::Array(items) => items.iter().for_each(|item| found.extend(nodes(item))),
        Value::Object(fields) => {
            if fields.contains_key("Node Type") {
                found.push(plan);
            }
            fields.values().for_each(|value| found.extend(nodes(value)));
        }
        _ => {}
    }
    found
}

fn uses<'a>(plan: &'a Value, field: &str, value: &str) -> Vec<&'a Value> {
    nodes(plan).into_iter().filter(|node| node[field] == value).collect()
}

fn array<T: ToString>(kind: &str, value: impl Fn(usize) -> T) -> String {
    let values: Vec<String> = (0..BATCH).map(|n| format!("'{}'", value(n).to_string())).collect();
    format!("ARRAY[{}]::{kind}[]", values.join(","))
}

#[tokio::test]
async fn settling_finds_its_rows_by_primary_key_alone() {
    let ids = array("bigint", |n| 160_000 + n);
    let tokens = array("bigint", |n| n + 1);
    let text = array("text", |n| format!("text {n}"));
    let texts = |count: usize| vec![text.clone(); count];
    let floats = array("float8", |_| 50);
    let statements = [
        (
            "complete",
            sql!("complete"),
            "bigint[], bigint[], text[], text[], text[], text[], float8[], text[], text[]",
            [vec![ids.clone(), tokens.clone()], texts(4), vec![floats], texts(2)].concat(),
        ),
        (
            "retry",
            sql!("retry"),
            "bigint[], bigint[], bigint[], boolean[], text[], text[], text[], text[]",
            [vec![ids.clone(), tokens.clone(), tokens.clone(), array("boolean", |_| true)], texts(4)].concat(),
        ),
        (
            "dead_letter",
            sql!("dead_letter"),
            "bigint[], bigint[], text[], text[], text[], text[], text[]",
            [vec![ids.clone(), tokens.clone()], texts(5)].concat(),
        ),
        (
            "heartbeat",
            sql!("heartbeat"),
            "bigint[], bigint[], bigint",
            vec![ids.clone(), tokens.clone(), "1000".to_owned()],
        ),
        ("take_back", sql!("take_back"), "bigint[], bigint[]", vec![ids.clone(), tokens.clone()]),
    ];
    for statistics in ALL {
        let world = filled(statistics).await;
        for (name, sql, types, parameters) in &statements {
            for mode in ["force_custom_plan", "force_generic_plan"] {
                let plan = plan(&world, types, sql, parameters, mode).await;
                let what = format!("{name}, statistics {statistics:?}, {mode}: {plan:#}");
                let queue: Vec<&Value> = uses(&plan, "Relation Name", "receipt_queue");
                let reads: Vec<_> = queue.iter().filter(|node| node["Node Type"] != "ModifyTable").collect();
                assert!(!reads.is_empty(), "{what}");
                for node in reads {
                    // A bitmap scan names its index one level below.
                    let index = match node["Node Type"].as_str() {
                        Some("Bitmap Heap Scan") => &node["Plans"][0]["Index Name"],
                        _ => &node["Index Name"],
                    };
                    assert_eq!(index, "receipt_queue_pkey", "{what}");
                }
                assert!(uses(&plan, "Index Name", "receipt_queue_due").is_empty(), "{what}");
                assert!(uses(&plan, "Node Type", "Seq Scan").is_empty(), "{what}");
            }
        }
    }
}

#[tokio::test]
async fn claiming_reads_the_index_in_its_order() {
    let parameters = ["100", "30000", "'worker'", "5", "'-infinity'"].map(str::to_owned);
    let unanswered = ["'worker'", "30000", "1000", "'{1,2}'"].map(str::to_owned);
    for statistics in ALL {
        let world = filled(statistics).await;
        for mode in ["force_custom_plan", "force_generic_plan"] {
            for (name, sql, types, parameters) in [
                ("claim", sql!("claim"), "bigint, bigint, text, integer, timestamptz", &parameters[..]),
                ("next_due", sql!("next_due"), "", &[]),
            ] {
                let plan = plan(&world, types, sql, parameters, mode).await;
                let what = format!("{name}, statistics {statistics:?}, {mode}: {plan:#}");
                assert_eq!(uses(&plan, "Index Name", "receipt_queue_due").len(), 1, "{what}");
                assert!(uses(&plan, "Node Type", "Sort").is_empty(), "{what}");
                assert!(uses(&plan, "Node Type", "Incremental Sort").is_empty(), "{what}");
                assert!(uses(&plan, "Node Type", "Seq Scan").is_empty(), "{what}");
            }
            // An unanswered claim is looked for among what was leased, or became due, since it was sent.
            let plan = plan(&world, "text, bigint, bigint, bigint[]", sql!("unanswered"), &unanswered, mode).await;
            let what = format!("unanswered, statistics {statistics:?}, {mode}: {plan:#}");
            assert_eq!(uses(&plan, "Index Name", "receipt_queue_due").len(), 1, "{what}");
            assert!(uses(&plan, "Node Type", "Seq Scan").is_empty(), "{what}");
        }
    }
}

/// With 1,000,000 waiting rows this was half a second of each second, when it was asked of receipt_queue_due.
#[tokio::test]
async fn what_is_spent_is_looked_for_among_what_was_begun() {
    for statistics in ALL {
        let world = filled(statistics).await;
        for mode in ["force_custom_plan", "force_generic_plan"] {
            let parameters = ["5", "100"].map(str::to_owned);
            let plan = plan(&world, "integer, bigint", sql!("exhausted"), &parameters, mode).await;
            let what = format!("statistics {statistics:?}, {mode}: {plan:#}");
            assert_eq!(uses(&plan, "Index Name", "receipt_queue_spent").len(), 1, "{what}");
            assert!(uses(&plan, "Index Name", "receipt_queue_due").is_empty(), "{what}");
            assert!(uses(&plan, "Node Type", "Seq Scan").is_empty(), "{what}");
        }
    }
}

/// Where nearly all is processed the planner expects one waiting row, and one row more or less costs nothing: a batch is
/// then joined by comparing each with each.
#[tokio::test]
async fn no_batch_is_joined_by_comparing_each_with_each() {
    let ids = array("bigint", |n| n + 1);
    let text = array("text", |n| format!("text {n}"));
    let settled =
        [vec![ids.clone(), ids], vec![text.clone(); 4], vec![array("float8", |_| 50)], vec![text; 2]].concat();
    let claimed = ["100", "30000", "'worker'", "5", "'-infinity'"].map(str::to_owned);
    for processed in [1_000, 4_000, 12_000, 40_000] {
        let world = World::new().await;
        world
            .execute(&format!(
                "INSERT INTO receipts (image_url) SELECT 'photo-' || n FROM generate_series(1, {processed}) n;
                 UPDATE receipt_queue SET processed = true, processed_at = now(), attempts = 1;
                 ANALYZE receipts; ANALYZE receipt_queue;
                 INSERT INTO receipts (image_url) SELECT 'photo-' || n FROM generate_series(1, 1000) n"
            ))
            .await;
        for (name, sql, types, parameters) in [
            ("claim", sql!("claim"), "bigint, bigint, text, integer, timestamptz", &claimed[..]),
            (
                "complete",
                sql!("complete"),
                "bigint[], bigint[], text[], text[], text[], text[], float8[], text[], text[]",
                &settled,
            ),
        ] {
            for mode in ["force_custom_plan", "force_generic_plan"] {
                let plan = plan(&world, types, sql, parameters, mode).await;
                let compared: Vec<_> = nodes(&plan).into_iter().filter(|node| !node["Join Filter"].is_null()).collect();
                assert!(compared.is_empty(), "{name}, {processed} processed, {mode}: {compared:#?}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_asked_of_dead_letters_and_of_the_ledger_has_an_index() {
    let world = World::new().await;
    // The tables are empty: an index is taken where there is one.
    world.execute("SET enable_seqscan = off").await;
    let pairs = [array("bigint", |n| n), array("bigint", |n| n)];
    let digest = ["'aa'".to_owned()];
    for (name, sql, types, parameters, index) in [
        ("settled_before", sql!("settled_before"), "bigint[], bigint[]", &pairs[..], "receipt_queue_dlq_settled_token"),
        ("take_back_lock", sql!("take_back_lock"), "bigint[], bigint[]", &pairs[..], "receipt_queue_dlq_settled_token"),
        ("last_confirmed", sql!("last_confirmed"), "", &[], "receipt_component_changes_confirmed"),
        ("distrusted", sql!("distrusted"), "text", &digest, "receipt_component_changes_trust"),
    ] {
        let plan = plan(&world, types, sql, parameters, "force_generic_plan").await;
        assert!(!uses(&plan, "Index Name", index).is_empty(), "{name}: {plan:#}");
        assert!(uses(&plan, "Node Type", "Seq Scan").is_empty(), "{name}: {plan:#}");
    }
}
