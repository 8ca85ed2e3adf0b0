//! Where the receipts are, and whether a queue can be there: asked before a migration, and by `host doctor`.

use tokio_postgres::types::Type;

use super::error::Elsewhere;
use super::{Connection, QueueError};

const THE_LIKE: &str = include_str!("sql/the_like.sql");
const ELSEWHERE: &str = include_str!("sql/elsewhere.sql");
const KIND: &str = include_str!("sql/receipts_kind.sql");
const STATUS_DEFAULT: &str = include_str!("sql/status_default.sql");
const STRANGERS: &str = include_str!("sql/strangers.sql");
const ROOM: &str = include_str!("sql/connections.sql");

/// Connections that a host may have at a time: one each to claim, to keep leases, to settle and to listen; one for what is
/// asked now and then (the ledger, a look at a component), one to try a result before anything is paid for, and one for
/// results that are slow to write.
pub const HOST_CONNECTIONS: i64 = 7;

/// Where a migration may make a receipts table that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewTable {
    /// Where there is nothing like it in the database.
    Cautious,
    /// Where there is nothing like it in the schema, which somebody named.
    InSchema,
    /// Wherever it is not.
    Anyway,
}

impl NewTable {
    /// What follows from whether somebody named the schema.
    pub fn of(names_schema: bool) -> Self {
        if names_schema { Self::InSchema } else { Self::Cautious }
    }
}

/// Fails where a migration would make an empty receipts table, while the app's is in another schema or has another
/// spelling: its rows would wait for ever.
pub async fn check_place(client: &impl Connection, new_table: NewTable) -> Result<(), QueueError> {
    let problem = |error: tokio_postgres::Error| QueueError::query("a look for the receipts table", &error);
    let schema = client.schema();
    let everywhere = new_table == NewTable::Cautious;
    let name = schema.name();
    let row =
        client.query_typed_one(THE_LIKE, &[(&name, Type::TEXT), (&everywhere, Type::BOOL)]).await.map_err(problem)?;
    let (schema_exists, found): (bool, Vec<String>) =
        row.try_get(0).and_then(|exists| Ok((exists, row.try_get(1)?))).map_err(problem)?;
    if !schema_exists {
        return Err(QueueError::NoSchema { name: schema.clone() });
    }
    check_kind(client).await?;
    if found.is_empty() || new_table == NewTable::Anyway {
        return Ok(());
    }
    let advice = match found.iter().find_map(|table| table.strip_suffix(".receipts")) {
        Some(elsewhere) => format!(
            "If that is the app's, name its schema: --schema '{}' (WORKER_SCHEMA). To have a new, empty table all the same, \
             say so: --schema '{name}'",
            elsewhere.trim_matches('"').replace("\"\"", "\"").replace('\'', "'\\''")
        ),
        None => format!(
            "The worker's table is called receipts: rename the app's (ALTER TABLE {} RENAME TO receipts). To have a new, \
             empty table all the same, say so: --new-table",
            found.first().map_or("", String::as_str)
        ),
    };
    Err(QueueError::TheLike { schema: schema.clone(), found, advice })
}

/// The schemas that have a receipt queue, but for the connection's own.
pub(super) async fn elsewhere(client: &impl Connection) -> Result<Elsewhere, QueueError> {
    let problem = |error: tokio_postgres::Error| QueueError::query("a look for a receipt queue", &error);
    let name = client.schema().name();
    let rows = client.query_typed(ELSEWHERE, &[(&name, Type::TEXT)]).await.map_err(problem)?;
    rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map(Elsewhere).map_err(problem)
}

/// Fails where `receipts` is there and is nothing that a queue can be hung on.
async fn check_kind(client: &impl Connection) -> Result<(), QueueError> {
    let problem = |error: tokio_postgres::Error| QueueError::query("a look at the receipts table", &error);
    let Some(row) = client.query_typed_opt(KIND, &[]).await.map_err(problem)? else { return Ok(()) };
    let kind: String = row.try_get("kind").map_err(problem)?;
    let partitions: Option<String> = row.try_get("partitions").map_err(problem)?;
    let unique: bool = row.try_get("has_unique_id").map_err(problem)?;
    let not_a_table = |kind: &str| {
        format!(
            "a {kind}: the queue needs a table, for its triggers and its foreign key. Call the table itself receipts (and the \
             {kind} something else), or name the schema that it is in with --schema"
        )
    };
    let what = match (kind.as_str(), partitions) {
        ("v", _) => not_a_table("view"),
        ("m", _) => not_a_table("materialized view"),
        ("f", _) => not_a_table("foreign table"),
        (_, Some(key)) if !unique => format!(
            "partitioned by {key}, so that its id is not unique by itself, and a queue row must name one receipt. Partition it \
             by HASH (id) with PRIMARY KEY (id), or keep the receipts in a table without partitions"
        ),
        _ => return Ok(()),
    };
    Err(QueueError::Unfit { table: format!("{}.receipts", client.schema().quoted()), what })
}

/// What a receipt's status is where the app names none, if such receipts are not queued.
pub async fn status_default(client: &impl Connection) -> Result<Option<String>, QueueError> {
    let problem = |error: tokio_postgres::Error| QueueError::query("a look at the status column", &error);
    let row = client.query_typed_opt(STATUS_DEFAULT, &[]).await.map_err(problem)?;
    row.map(|row| row.try_get(0)).transpose().map_err(problem)
}

/// Who else may change the queue's tables, in words.
pub async fn strangers(client: &impl Connection) -> Result<Vec<String>, QueueError> {
    let problem = |error: tokio_postgres::Error| QueueError::query("a look at who may change the queue", &error);
    let rows = client.query_typed(STRANGERS, &[]).await.map_err(problem)?;
    rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(problem)
}

/// A limit of connections that hosts are under.
#[derive(Debug)]
pub struct Room {
    /// Whose: the role's, the database's, the server's.
    pub whose: String,
    pub limit: i64,
    /// By others and by other hosts.
    pub used: i64,
}

/// The limits that this connection is under, the one with the least room first.
pub async fn room(client: &impl Connection) -> Result<Vec<Room>, QueueError> {
    let problem = |error: tokio_postgres::Error| QueueError::query("a look at the limits of connections", &error);
    let rows = client.query_typed(ROOM, &[]).await.map_err(problem)?;
    rows.iter()
        .map(|row| Ok(Room { whose: row.try_get("whose")?, limit: row.try_get("most")?, used: row.try_get("used")? }))
        .collect::<Result<_, _>>()
        .map_err(problem)
}
