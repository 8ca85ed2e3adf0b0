//! The invariants of the design as questions to a database, the artifact bucket and the OCR service. [`look`] may be
//! asked at any moment of a run, [`judge`] when everything is over. A [`Violation`] names the invariant by its number;
//! nothing found is an empty list. Where [`witness`] was called before the work, every single change is judged too, not
//! only what is left in the end.
//!
//! The questions do not use the worker's code. They take the schema as it is, and that a person may do anything but set
//! a receipt to `ocr_done` while it is queued: then it is done and queued by right until its turn comes.

use std::collections::HashMap;
use std::fmt;

use aws_sdk_s3::Client as S3;
use host::ocr::local::LocalTextract;
use tokio_postgres::{Client, Error};

use crate::{ARTIFACTS, World};

const SNAPSHOT: &str = include_str!("oracle/snapshot.sql");
const SETTLED: &str = include_str!("oracle/settled.sql");
const WITNESS: &str = include_str!("oracle/witness.sql");
const TESTIMONY: &str = include_str!("oracle/testimony.sql");

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Its number in the design.
    pub invariant: i32,
    /// What is the matter.
    pub broken: String,
    /// Whose.
    pub receipt: String,
    /// What else is known.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invariant {}, receipt {}: {} ({})", self.invariant, self.receipt, self.broken, self.detail)
    }
}

/// From now on every change to receipts, queue and dead letters is written down. Once for a database, before the work.
pub async fn witness(client: &Client) -> Result<(), Error> {
    client.batch_execute(WITNESS).await
}

/// What is wrong in one snapshot, at any moment. `max_attempts`: the largest limit that a worker was given.
pub async fn look(client: &Client, max_attempts: i32) -> Result<Vec<Violation>, Error> {
    let rows = client.query(SNAPSHOT, &[&max_attempts]).await?;
    rows.iter().map(violation).collect()
}

/// What is wrong when nothing is left to be done: what is wrong at any moment, what still waits, and what the witness saw
/// where there is one.
pub async fn judge(client: &Client, max_attempts: i32) -> Result<Vec<Violation>, Error> {
    let mut violations = look(client, max_attempts).await?;
    let mut questions = vec![SETTLED];
    if client.query_one("SELECT to_regclass('witness.event') IS NOT NULL", &[]).await?.try_get(0)? {
        questions.push(TESTIMONY);
    }
    for question in questions {
        for row in client.query(question, &[]).await? {
            violations.push(violation(&row)?);
        }
    }
    Ok(violations)
}

/// Invariant 5, for everything that is done: its artifact is there, it is of this receipt, and it is byte for byte what
/// the OCR service sent for that image; and no image was paid for more often than it was claimed.
pub async fn judge_artifacts(client: &Client, s3: &S3, textract: &LocalTextract) -> Result<Vec<Violation>, Error> {
    let sql = "SELECT r.id::text, r.ocr_s3_key, q.claims
        FROM public.receipts r
        JOIN public.receipt_queue q ON q.receipt_id = r.id
        WHERE r.status::text = 'ocr_done' AND r.ocr_s3_key IS NOT NULL
        ORDER BY r.id";
    let calls = textract.calls_by_image();
    let mut violations = Vec::new();
    for row in client.query(sql, &[]).await? {
        let (receipt, key, claims): (String, String, i32) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let mut blame = |broken: &str, detail: String| {
            let (broken, receipt) = (broken.to_owned(), receipt.clone());
            violations.push(Violation { invariant: 5, broken, receipt, detail });
        };
        let Some(digest) = image_of(&key, &receipt) else {
            blame("its artifact is another's", key);
            continue;
        };
        let Ok(object) = s3.get_object().bucket(ARTIFACTS).key(&key).send().await else {
            blame("its artifact is missing", key);
            continue;
        };
        let bytes = object.body.collect().await.expect("the local S3 breaks nothing off").into_bytes();
        if textract.body_for(digest).is_none_or(|sent| sent != bytes) {
            blame("its artifact is not what was sent", key.clone());
        }
        let paid = calls.get(digest).copied().unwrap_or_default();
        if paid > u64::try_from(claims).unwrap_or_default() {
            blame("its image was paid for more often than it was claimed", format!("{paid} calls, {claims} claims"));
        }
    }
    Ok(violations)
}

/// Fails with every violation, by name, when a scenario left any. For the end of a test.
pub async fn assert_kept(world: &World, max_attempts: i32) {
    let mut violations = judge(&world.client, max_attempts).await.unwrap();
    violations.extend(judge_artifacts(&world.client, &world.aws.s3, &world.textract).await.unwrap());
    assert!(violations.is_empty(), "{}", told(&violations));
}

/// One line for each; many of a kind are counted, so that a broken run stays readable.
pub fn told(violations: &[Violation]) -> String {
    const SHOWN: usize = 5;
    let mut kinds: HashMap<(i32, &str), Vec<&Violation>> = HashMap::new();
    for violation in violations {
        kinds.entry((violation.invariant, &violation.broken)).or_default().push(violation);
    }
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort();
    let mut lines = Vec::new();
    for ((invariant, broken), all) in kinds {
        lines.extend(all.iter().take(SHOWN).map(ToString::to_string));
        if all.len() > SHOWN {
            lines.push(format!("invariant {invariant}: {broken}: {} in all", all.len()));
        }
    }
    lines.join("\n")
}

/// The SHA-256 of the image that an artifact of this receipt was made from: `ocr/RECEIPT/DIGEST.API.json`.
fn image_of<'a>(key: &'a str, receipt: &str) -> Option<&'a str> {
    key.strip_prefix("ocr/")?.strip_prefix(receipt)?.strip_prefix('/')?.split('.').next()
}

fn violation(row: &tokio_postgres::Row) -> Result<Violation, Error> {
    Ok(Violation {
        invariant: row.try_get("invariant")?,
        broken: row.try_get("broken")?,
        receipt: row.try_get::<_, Option<String>>("receipt")?.unwrap_or_default(),
        detail: row.try_get("detail")?,
    })
}
