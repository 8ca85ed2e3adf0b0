//! What docs/decisions/0014 was decided on: a claim and its settle, by statements with names and without.
//!
//!     cargo test -p tests --test connections -- --ignored --nocapture named_against_unnamed

use std::time::{Duration, Instant, SystemTime};

use tests::TestDatabase;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row, Statement};

const CLAIM: &str = include_str!("../../../host/src/queue/sql/claim.sql");
const COMPLETE: &str = include_str!("../../../host/src/queue/sql/complete.sql");
const CLAIM_TYPES: [Type; 5] = [Type::INT8, Type::INT8, Type::TEXT, Type::INT4, Type::TIMESTAMPTZ];
const COMPLETE_TYPES: [Type; 9] = [
    Type::INT8_ARRAY,
    Type::INT8_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::FLOAT8_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
];
const ROUNDS: usize = 200;

enum Sent {
    Named(Statement),
    Unnamed(&'static str, Vec<Type>),
}

impl Sent {
    async fn query(&self, client: &Client, parameters: &[&(dyn ToSql + Sync)]) -> Vec<Row> {
        match self {
            Self::Named(statement) => client.query(statement, parameters).await.unwrap(),
            Self::Unnamed(sql, types) => {
                let typed: Vec<_> = parameters.iter().copied().zip(types.iter().cloned()).collect();
                client.query_typed(sql, &typed).await.unwrap()
            }
        }
    }
}

/// In turns, so that whatever else the machine does is the same for both; the median of each.
#[tokio::test]
#[ignore = "a measurement"]
async fn named_against_unnamed() {
    let db = TestDatabase::migrated().await;
    let client = db.connect().await;
    let named = [
        Sent::Named(client.prepare_typed(CLAIM, &CLAIM_TYPES).await.unwrap()),
        Sent::Named(client.prepare_typed(COMPLETE, &COMPLETE_TYPES).await.unwrap()),
    ];
    let unnamed = [Sent::Unnamed(CLAIM, CLAIM_TYPES.to_vec()), Sent::Unnamed(COMPLETE, COMPLETE_TYPES.to_vec())];
    let fresh = "INSERT INTO receipts (user_id, status, image_url)
         SELECT 'u', 'pending', 'a.jpg' FROM generate_series(1, 50000);
         VACUUM ANALYZE receipts; VACUUM ANALYZE receipt_queue";
    for sql in fresh.split(';') {
        client.batch_execute(sql).await.unwrap();
    }
    let mut floor = SystemTime::UNIX_EPOCH;
    for batch in [1, 10, 100] {
        let (mut of_named, mut of_unnamed) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            of_named.push(claim_and_settle(&client, &named, batch, &mut floor).await);
            of_unnamed.push(claim_and_settle(&client, &unnamed, batch, &mut floor).await);
        }
        eprintln!("batch {batch:>3}: named {:?}, unnamed {:?}", median(of_named), median(of_unnamed));
    }
}

async fn claim_and_settle(
    client: &Client,
    [claim, complete]: &[Sent; 2],
    batch: i64,
    floor: &mut SystemTime,
) -> Duration {
    let started = Instant::now();
    let rows = claim.query(client, &[&batch, &30_000_i64, &"worker", &5_i32, floor]).await;
    assert_eq!(rows.len(), usize::try_from(batch).unwrap(), "more receipts are needed");
    *floor = rows.iter().map(|row| row.get::<_, SystemTime>("due_at")).max().unwrap();
    let ids: Vec<i64> = rows.iter().map(|row| row.get("id")).collect();
    let tokens: Vec<i64> = rows.iter().map(|row| row.get("lease_token")).collect();
    let of = |text: &'static str| vec![text; ids.len()];
    let confidences = vec![90.0; ids.len()];
    let (vendors, totals, currencies) = (of("Blue Bottle Cafe"), of("4.50"), of("USD"));
    let (days, keys, components) = (of("2024-03-15"), of("ocr/a.json"), of("0"));
    let settled = complete
        .query(client, &[&ids, &tokens, &vendors, &totals, &currencies, &days, &confidences, &keys, &components])
        .await;
    assert!(settled.iter().all(|row| row.get("settled")));
    started.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
