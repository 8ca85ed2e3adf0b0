//! New readings for receipts that an older component read: which they are, and writing them only where nobody was there
//! in between.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::text::{Queryable, Text};
use super::{Client, Completion, Connection as _, Database, Parameter, QueueError};

const PAGE: &str = include_str!("sql/reparse_page.sql");
const WRITE: &str = include_str!("sql/reparse_write.sql");
const SEEN: &str = include_str!("sql/reparse_seen.sql");
const LEFT_OUT: &str = include_str!("sql/reparse_left_out.sql");

/// Somebody has a receipt locked: how often and how soon it is tried again.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(250);

/// Which receipts are meant, of those that carry another component's reading.
#[derive(Debug, Clone, Default)]
pub struct ReparseSelection {
    /// Those created since.
    pub since: Option<SystemTime>,
    /// Those with these ids.
    pub receipts: Option<Vec<String>>,
    /// Those that a component read whose digest begins so.
    pub read_by: Option<String>,
}

/// A receipt as it was seen: it is overwritten only while it is still so.
#[derive(Debug, Clone)]
pub struct Seen {
    pub id: String,
    pub vendor: Option<String>,
    pub total: Option<String>,
    pub currency: Option<String>,
    /// As the column's type writes it.
    pub date: Option<String>,
    /// 0 to 100.
    pub confidence: Option<f64>,
    /// Key of the OCR artifact.
    pub artifact_key: Option<String>,
    /// SHA-256 of the component whose reading it carries.
    pub component: String,
    /// Its place in the order of ids, also where the id is no text.
    pub place: Place,
    /// What is compared, in the database's words.
    state: Vec<u8>,
}

/// An id, as the database stores it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(Vec<u8>);

/// A receipt and its new reading.
#[derive(Debug, Clone)]
pub struct Reread {
    pub seen: Seen,
    pub reading: Completion,
    /// Whether the reading differs; where not, only the digest is written.
    pub changed: bool,
}

/// What became of a new reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    Written,
    /// The receipt is not as it was seen any more; it was left alone.
    Edited,
    /// Somebody has it locked, and kept it locked.
    Locked,
    /// The database refused the reading; why.
    Refused(String),
}

/// The connection, and who reads.
pub struct Reparser {
    client: Client,
    /// SHA-256 of the component that reads now.
    digest: String,
}

impl Reparser {
    /// Connects, for the component with this digest.
    pub async fn connect(database: &Database, digest: &str) -> Result<Self, QueueError> {
        Ok(Self { client: database.connect_checked().await?, digest: digest.to_owned() })
    }

    /// Midnight (UTC) of a day in ISO 8601.
    pub async fn midnight(&self, day: &str) -> Result<SystemTime, QueueError> {
        let sql = "SELECT ($1::text)::date::timestamp AT TIME ZONE 'UTC'";
        let row = self.client.query_typed_one(sql, &[(&day, Type::TEXT)]).await;
        row.and_then(|row| row.try_get(0)).map_err(|error| QueueError::query("the date", &error))
    }

    /// How many receipts there are to read.
    pub async fn count(&self, which: &ReparseSelection) -> Result<u64, QueueError> {
        let problem = |error: tokio_postgres::Error| QueueError::query("to count the receipts to read again", &error);
        let rows =
            self.select(&format!("SELECT count(*) FROM ({PAGE}) AS page"), which, None, None).await.map_err(problem)?;
        let count: i64 = rows.first().map(|row| row.try_get(0)).transpose().map_err(problem)?.unwrap_or(0);
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// The next `limit` receipts by id, after the one with the id `after`.
    pub async fn page(
        &self,
        which: &ReparseSelection,
        after: Option<&Place>,
        limit: usize,
    ) -> Result<Vec<Seen>, QueueError> {
        let problem = |error: tokio_postgres::Error| QueueError::query("to list the receipts to read again", &error);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self.select(PAGE, which, after, Some(limit)).await.map_err(problem)?;
        let columns = ["id", "vendor", "total", "currency", "day", "artifact_key", "component"];
        let texts = Queryable::Client(&self.client).columns(&rows, columns).await?;
        rows.iter().zip(texts).map(|(row, texts)| seen(row, texts)).collect::<Result<_, _>>().map_err(problem)
    }

    /// Of the receipts that were named, those that are not read, and why.
    pub async fn left_out(&self, receipts: &[String]) -> Result<Vec<(String, String)>, QueueError> {
        let problem = |error: tokio_postgres::Error| QueueError::query("a look for the receipts", &error);
        let parameters: [Parameter<'_>; 2] = [(&self.digest, Type::TEXT), (&receipts, Type::TEXT_ARRAY)];
        let rows = self.client.query_typed(LEFT_OUT, &parameters).await.map_err(problem)?;
        let texts = Queryable::Client(&self.client).columns(&rows, ["id", "why"]).await?;
        let shown = |text: Option<Text>| text.map(Text::shown).unwrap_or_default();
        Ok(texts.into_iter().map(|[id, why]| (shown(id), shown(why))).collect())
    }

    /// Writes readings; returns what became of each, in their order.
    pub async fn write(&self, readings: &[Reread]) -> Result<Vec<Written>, QueueError> {
        let mut written = match self.attempt(readings).await {
            Ok(written) => written,
            // One of them is at fault; alone it spoils only itself.
            Err(error) if error.is_about_the_data() => return self.one_by_one(readings).await,
            Err(error) => return Err(error),
        };
        for _ in 1..TRIES {
            let locked: Vec<Reread> = of_fate(readings, &written, &Written::Locked);
            if locked.is_empty() {
                break;
            }
            tokio::time::sleep(PAUSE).await;
            let mut again = self.one_by_one(&locked).await?.into_iter();
            for fate in written.iter_mut().filter(|fate| **fate == Written::Locked) {
                *fate = again.next().unwrap_or(Written::Locked);
            }
        }
        Ok(written)
    }

    async fn one_by_one(&self, readings: &[Reread]) -> Result<Vec<Written>, QueueError> {
        let mut written = Vec::with_capacity(readings.len());
        for reading in readings {
            let one = std::slice::from_ref(reading);
            match self.attempt(one).await {
                Ok(fates) => written.extend(fates),
                Err(error) if error.is_about_the_data() => written.push(Written::Refused(error.to_string())),
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    async fn attempt(&self, readings: &[Reread]) -> Result<Vec<Written>, QueueError> {
        let problem = |error: tokio_postgres::Error| QueueError::query("to write new readings", &error);
        if readings.is_empty() {
            return Ok(Vec::new());
        }
        let read = |field: fn(&Completion) -> Option<&str>| -> Vec<Option<&str>> {
            readings.iter().map(|reread| field(&reread.reading)).collect()
        };
        let ids: Vec<&[u8]> = readings.iter().map(|reread| &*reread.seen.place.0).collect();
        let states: Vec<&[u8]> = readings.iter().map(|reread| &*reread.seen.state).collect();
        let of_seen: [Parameter<'_>; 2] = [(&ids, Type::BYTEA_ARRAY), (&states, Type::BYTEA_ARRAY)];
        let confidences: Vec<f64> = readings.iter().map(|reread| reread.reading.confidence).collect();
        let changed: Vec<bool> = readings.iter().map(|reread| reread.changed).collect();
        let (vendors, totals) = (read(|reading| reading.vendor.as_deref()), read(|reading| reading.total.as_deref()));
        let (currencies, days) = (read(|reading| reading.currency.as_deref()), read(|reading| reading.date.as_deref()));
        let of_reading: [Parameter<'_>; 7] = [
            (&vendors, Type::TEXT_ARRAY),
            (&totals, Type::TEXT_ARRAY),
            (&currencies, Type::TEXT_ARRAY),
            (&days, Type::TEXT_ARRAY),
            (&confidences, Type::FLOAT8_ARRAY),
            (&changed, Type::BOOL_ARRAY),
            (&self.digest, Type::TEXT),
        ];
        let parameters = [&of_seen[..], &of_reading].concat();
        let rows = self.client.query_typed(WRITE, &parameters).await.map_err(problem)?;
        let written = places(&rows).map_err(problem)?;
        let unchanged = if written.len() == readings.len() {
            BTreeSet::new()
        } else {
            let rows = self.client.query_typed(SEEN, &of_seen).await.map_err(problem)?;
            places(&rows).map_err(problem)?
        };
        let fate = |reread: &Reread| match &reread.seen.place {
            place if written.contains(place) => Written::Written,
            place if unchanged.contains(place) => Written::Locked,
            _ => Written::Edited,
        };
        Ok(readings.iter().map(fate).collect())
    }

    async fn select(
        &self,
        statement: &str,
        which: &ReparseSelection,
        after: Option<&Place>,
        limit: Option<i64>,
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        let ReparseSelection { since, receipts, read_by } = which;
        let after = after.map(|Place(id)| id);
        let parameters: [Parameter<'_>; 6] = [
            (&self.digest, Type::TEXT),
            (&after, Type::BYTEA),
            (since, Type::TIMESTAMPTZ),
            (receipts, Type::TEXT_ARRAY),
            (read_by, Type::TEXT),
            (&limit, Type::INT8),
        ];
        self.client.query_typed(statement, &parameters).await
    }
}

fn of_fate(readings: &[Reread], written: &[Written], fate: &Written) -> Vec<Reread> {
    readings.iter().zip(written).filter(|(_, found)| *found == fate).map(|(reread, _)| reread.clone()).collect()
}

fn places(rows: &[Row]) -> Result<BTreeSet<Place>, tokio_postgres::Error> {
    rows.iter().map(|row| row.try_get(0).map(Place)).collect()
}

fn seen(row: &Row, texts: [Option<Text>; 7]) -> Result<Seen, tokio_postgres::Error> {
    let [id, vendor, total, currency, date, artifact_key, component] = texts.map(|text| text.map(Text::shown));
    Ok(Seen {
        id: id.unwrap_or_default(),
        vendor,
        total,
        currency,
        date,
        confidence: row.try_get("confidence")?,
        artifact_key,
        component: component.unwrap_or_default(),
        place: Place(row.try_get("id")?),
        state: row.try_get("state")?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// What was seen and what is there when it is written are compared by the same words: else every receipt would look edited,
    /// or one that a person edited would not.
    #[test]
    fn a_receipt_is_seen_and_compared_in_the_same_words() {
        let words = |sql: &str| sql.split_whitespace().collect::<Vec<_>>().join(" ");
        let page = words(PAGE);
        let (_, state) = page.split_once("by the same words. ").unwrap();
        let (state, _) = state.split_once(" AS state").unwrap();
        assert!(state.starts_with("convert_to( pg_catalog.jsonb_build_array( public.receipt_queue_value("), "{state}");
        for comparing in [WRITE, SEEN] {
            assert!(words(comparing).contains(&format!("AND {state} = o.state")), "{comparing}");
        }
    }
}
