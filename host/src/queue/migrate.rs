//! Migrations: the files of `migrations/`, embedded. Each is one transaction, idempotent, and records its own version, so
//! that it does not matter whether `host migrate` or `supabase db push` applies it.

use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use super::client::Transaction;
use super::{Connection, Database, Elsewhere, QueueError, describe};

/// A migration: version, name, text.
struct Migration {
    version: i64,
    name: &'static str,
    sql: &'static str,
}

const MIGRATIONS: [Migration; 6] = [
    Migration {
        version: 20_261_101_000_000,
        name: "20261101000000_receipt_queue",
        sql: include_str!("../../../migrations/20261101000000_receipt_queue.sql"),
    },
    Migration {
        version: 20_261_101_000_001,
        name: "20261101000001_receipt_queue_backfill",
        sql: include_str!("../../../migrations/20261101000001_receipt_queue_backfill.sql"),
    },
    Migration {
        version: 20_261_124_000_000,
        name: "20261124000000_receipt_components",
        sql: include_str!("../../../migrations/20261124000000_receipt_components.sql"),
    },
    Migration {
        version: 20_261_124_000_200,
        name: "20261124000200_receipt_worker_pauses",
        sql: include_str!("../../../migrations/20261124000200_receipt_worker_pauses.sql"),
    },
    Migration {
        version: 20_261_125_000_000,
        name: "20261125000000_receipt_queue_growth",
        sql: include_str!("../../../migrations/20261125000000_receipt_queue_growth.sql"),
    },
    Migration {
        version: 20_261_127_000_000,
        name: "20261127000000_receipt_queue_world",
        sql: include_str!("../../../migrations/20261127000000_receipt_queue_world.sql"),
    },
];

/// The newest one is also what mends a database that has drifted.
const NEWEST: &Migration = {
    let [.., newest] = &MIGRATIONS;
    newest
};
/// Before the migration that queues what waits.
const BEFORE_BACKFILL: i64 = 20_261_101_000_000;

/// Any number that no other application is likely to lock on.
const LOCK: i64 = 0x7265_6365_6970_7473;

const THE_LIKE: &str = include_str!("sql/the_like.sql");
const ELSEWHERE: &str = include_str!("sql/elsewhere.sql");

/// Applies what is missing, one migrator at a time. Returns the names of what was applied.
pub async fn migrate(client: &mut impl Connection) -> Result<Vec<&'static str>, QueueError> {
    refuse_where_receipts_are_hidden(client).await?;
    let mut applied = Vec::new();
    for migration in &MIGRATIONS {
        let failed =
            |error: tokio_postgres::Error| QueueError::Migration { name: migration.name, reason: describe(&error) };
        let transaction = client.transaction().await.map_err(failed)?;
        transaction.execute_typed("SELECT pg_advisory_xact_lock($1)", &[(&LOCK, Type::INT8)]).await.map_err(failed)?;
        if has(&transaction, migration.version).await? {
            continue;
        }
        transaction.batch_execute(migration.sql).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        applied.push(migration.name);
    }
    Ok(applied)
}

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
    pub fn of(database: &Database) -> Self {
        if database.names_schema() { Self::InSchema } else { Self::Cautious }
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

/// What waits is queued by a migration: one that row-level security shows an empty table would queue nothing, and say nothing.
async fn refuse_where_receipts_are_hidden(client: &impl Connection) -> Result<(), QueueError> {
    let problem = |error: tokio_postgres::Error| QueueError::query("a look at the policies on receipts", &error);
    let hidden = client.query_typed_opt(include_str!("sql/hidden_receipts.sql"), &[]).await.map_err(problem)?;
    // Asked for the version afterwards: a session remembers for a while that a table was not there.
    match hidden {
        Some(row) if version(client).await? <= BEFORE_BACKFILL => {
            Err(QueueError::HiddenReceipts { role: row.try_get(0).map_err(problem)? })
        }
        _ => Ok(()),
    }
}

/// What the app has changed since, and our objects do not agree with; nothing where nothing has.
pub async fn drift(client: &impl Connection) -> Result<Vec<String>, QueueError> {
    let problem = |error: tokio_postgres::Error| QueueError::query("a comparison of its types and columns", &error);
    let rows = client.query_typed(include_str!("sql/drift.sql"), &[]).await.map_err(problem)?;
    rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(problem)
}

/// Makes our objects follow what the app has changed. Returns what was mended.
pub async fn mend(client: &mut impl Connection) -> Result<Vec<String>, QueueError> {
    let drifted = drift(client).await?;
    if drifted.is_empty() {
        return Ok(drifted);
    }
    let failed = |error: tokio_postgres::Error| QueueError::Migration { name: NEWEST.name, reason: describe(&error) };
    let transaction = client.transaction().await.map_err(failed)?;
    transaction.execute_typed("SELECT pg_advisory_xact_lock($1)", &[(&LOCK, Type::INT8)]).await.map_err(failed)?;
    transaction.batch_execute(NEWEST.sql).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    let left = drift(client).await?;
    if left.is_empty() { Ok(drifted) } else { Err(QueueError::Drifted(left.join("; "))) }
}

/// Fails when the database lacks a migration that this host needs.
pub async fn check(client: &impl Connection) -> Result<(), QueueError> {
    let needed = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    let found = version(client).await?;
    if found >= needed {
        return Ok(());
    }
    let problem = |error: tokio_postgres::Error| QueueError::query("a look for a receipt queue", &error);
    let schema = client.schema().clone();
    let name = schema.name();
    let rows = client.query_typed(ELSEWHERE, &[(&name, Type::TEXT)]).await.map_err(problem)?;
    let elsewhere = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(problem)?;
    Err(QueueError::NotMigrated { schema, found, needed, elsewhere: Elsewhere(elsewhere) })
}

/// The newest migration in the database; 0 when there is none.
pub async fn version(client: &impl Connection) -> Result<i64, QueueError> {
    match client.query_typed_one("SELECT coalesce(max(version), 0) FROM public.receipt_queue_schema", &[]).await {
        Ok(row) => Ok(row.try_get(0).unwrap_or(0)),
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(0),
        Err(error) => Err(QueueError::query("a look at its schema version", &error)),
    }
}

async fn has(transaction: &Transaction<'_>, version: i64) -> Result<bool, QueueError> {
    let problem = |error: tokio_postgres::Error| QueueError::query("a look at its schema version", &error);
    let table = transaction
        .query_typed_one("SELECT to_regclass('public.receipt_queue_schema') IS NOT NULL", &[])
        .await
        .map_err(problem)?;
    if !table.try_get::<_, bool>(0).unwrap_or(false) {
        return Ok(false);
    }
    let row = transaction
        .query_typed_opt("SELECT FROM public.receipt_queue_schema WHERE version = $1", &[(&version, Type::INT8)])
        .await
        .map_err(problem)?;
    Ok(row.is_some())
}
